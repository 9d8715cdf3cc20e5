"""How values are written in the database: plain JSON, with a checksum where it matters.

    text = reply_to_json(reply)
    reply_from_json(text) == reply          # for every reply there is

JSON so that anyone can read a run with any SQLite tool. SQLite does not notice when a bit flips
inside a text, so each reply carries a checksum of its own and of its address: a damaged reply is
found when it is read, and never mistaken for what the model said.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from trueup.types import Choice, Reply, TokenLogprob, Usage


def to_json(value: Any) -> str:
    """Compact JSON, readable in any language, that SQLite can always store."""
    return storable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def storable(text: str) -> str:
    """JSON text as it is, or with escapes where it holds half a surrogate pair.

    A model cut off in the middle of an emoji can produce such halves; UTF-8 has no room for them.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), separators=(",", ":"))
    return text


def reply_to_json(reply: Reply) -> str:
    """The whole reply."""
    usage = reply.usage
    return to_json(
        {
            "choices": [
                {
                    "text": choice.text,
                    "finish": choice.finish,
                    "logprobs": None
                    if choice.logprobs is None
                    else [(one.token, one.logprob, one.top) for one in choice.logprobs],
                }
                for choice in reply.choices
            ],
            "usage": (usage.tokens_in, usage.tokens_out, usage.cached),
            "seconds": reply.seconds,
        }
    )


def reply_from_json(text: str) -> Reply:
    """The reply that was written. Raises ValueError, KeyError or TypeError on anything else."""
    record = json.loads(text)
    return Reply(
        choices=tuple(
            Choice(one["text"], one["finish"], _logprobs(one["logprobs"]))
            for one in record["choices"]
        ),
        usage=Usage(*record["usage"]),
        seconds=record["seconds"],
    )


def _logprobs(rows: list[Any] | None) -> tuple[TokenLogprob, ...] | None:
    if rows is None:
        return None
    return tuple(
        TokenLogprob(token, logprob, tuple((other, value) for other, value in top))
        for token, logprob, top in rows
    )


def checksum(address: str, content: bytes) -> int:
    """Of a stored content under its address: 32 bits."""
    return zlib.crc32(content, zlib.crc32(address.encode()))
