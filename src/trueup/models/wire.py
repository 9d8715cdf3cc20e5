"""The OpenAI protocol as JSON, both ways, without I/O.

    sending = written(request, "gpt-x", can)
    sending.path, sending.body                        # where to send it, and what
    read_reply(json.loads(answer), request, 0.4)      # what came back, as a Reply

Servers take liberties: fields missing, numbers as NaN, log-probabilities in two layouts, content
in parts. What can be read is read; what cannot raises `Unreadable`, and the caller asks again.
Nothing here knows of retries, of keys or of sockets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trueup.models.address import one_line
from trueup.models.capabilities import Capabilities, Feature
from trueup.types import Choice, Finish, Message, Reply, Request, Sampling, TokenLogprob, Usage

LARGEST_FLOAT = 3.4e38
"""Of the 32 bits in which embeddings are kept; NaN is not below it."""

MOST_TOKENS = 2**40
"""What claims to be more is no count of tokens."""

HALF_CHARACTER = "\ufffd"
"""What servers write for bytes that end in the middle of a character."""

FLOOR = -1e9
"""Stands for a log-probability that the server gave as NaN, null or minus infinity."""

_FINISHES: dict[object, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "filter",
}


class Unreadable(ValueError):
    """The server's JSON is not an answer: worth asking again."""


@dataclass(frozen=True, slots=True)
class Written:
    """A request as it goes over the wire, and which optional features it uses."""

    path: str
    body: dict[str, Any]
    sent: frozenset[Feature]


def written(request: Request, model: str, can: Capabilities) -> Written:
    """The request in the protocol's words, leaving out what this server is known not to take."""
    sampling = request.sampling
    sent: set[Feature] = set()
    body: dict[str, Any] = {"model": model}
    if isinstance(request.prompt, str):
        sent.add("raw")
        body["prompt"] = clean(request.prompt)
    else:
        turns = request.prompt if can.do("system") else without_system(request.prompt)
        if any(turn.role == "system" for turn in turns):
            sent.add("system")
        body["messages"] = [{"role": turn.role, "content": clean(turn.content)} for turn in turns]
    drawn = _drawn(sampling)
    if not can.do("max_tokens"):
        body["max_completion_tokens"] = drawn.pop("max_tokens")
    for feature, value in drawn.items():
        if can.do(feature):
            body[feature] = value
            sent.add(feature)
    if sampling.stop:
        body["stop"] = [clean(text) for text in sampling.stop]
    if request.top_logprobs > 0:
        sent.add("logprobs")
        _ask_logprobs(body, request)
    if request.schema is not None and can.do("schema"):
        sent.add("schema")
        _ask_schema(body, request.schema, raw="raw" in sent)
    path = "completions" if "raw" in sent else "chat/completions"
    return Written(path, body, frozenset(sent))


def forced(request: Request, model: str, can: Capabilities, tokens: list[int]) -> Written:
    """The request for exactly these tokens, in words that llama.cpp understands.

    Its log-probabilities are those of before the grammar ruled anything out.
    """
    sampling = replace(request.sampling, max_tokens=max(1, len(tokens)), n=1, temperature=0.0)
    plain = replace(request, sampling=sampling, schema=None, top_logprobs=1)
    found = written(plain, model, can)
    found.body["grammar"] = "root ::= " + " ".join(f"<[{token}]>" for token in tokens)
    return found


def read_tokens(data: object) -> list[int]:
    """The numbers of a text's tokens. Raises `Unreadable`."""
    tokens = data.get("tokens") if isinstance(data, Mapping) else None
    if not isinstance(tokens, list) or not all(isinstance(one, int) for one in tokens):
        raise Unreadable("the answer does not hold tokens")
    return tokens


def _drawn(sampling: Sampling) -> dict[Feature, Any]:
    """The sampling in the protocol's words, without what is the protocol's default anyway."""
    drawn: dict[Feature, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed % 2**31,  # llama.cpp reads 32 bits, and all ones as "random"
    }
    if sampling.top_p != 1.0:
        drawn["top_p"] = sampling.top_p
    if sampling.frequency_penalty != 0.0:
        drawn["frequency_penalty"] = sampling.frequency_penalty
    if sampling.n > 1:
        drawn["n"] = sampling.n
    return drawn


def _ask_logprobs(body: dict[str, Any], request: Request) -> None:
    if isinstance(request.prompt, str):
        body["logprobs"] = request.top_logprobs
    else:
        body["logprobs"] = True
        body["top_logprobs"] = request.top_logprobs


def _ask_schema(body: dict[str, Any], schema: Mapping[str, Any], *, raw: bool) -> None:
    title = re.sub(r"[^A-Za-z0-9_-]", "_", str(schema.get("title", "")))[:64] or "reply"
    body["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": title, "schema": schema, "strict": _closed(schema)},
    }
    if raw:
        # llama.cpp ignores response_format on raw completions and reads this field instead.
        body["json_schema"] = schema


def _closed(schema: object) -> bool:
    """Whether every object names all its keys: what OpenAI demands of a strict schema."""
    if isinstance(schema, str):  # most of what is in a schema, and slow to tell from a mapping
        return True
    if isinstance(schema, Mapping):
        if "properties" in schema:
            keys = set(schema["properties"])
            if schema.get("additionalProperties") is not False:
                return False
            if keys != set(schema.get("required", ())):
                return False
        return all(_closed(inner) for inner in schema.values())
    if isinstance(schema, list | tuple):
        return all(_closed(inner) for inner in schema)
    return True


def without_system(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The same conversation with its system text in front of the first user turn."""
    system = "\n\n".join(turn.content for turn in turns if turn.role == "system")
    rest = [turn for turn in turns if turn.role != "system"]
    if not system:
        return tuple(rest)
    for place, turn in enumerate(rest):
        if turn.role == "user":
            rest[place] = Message("user", f"{system}\n\n{turn.content}")
            return tuple(rest)
    return (Message("user", system), *rest)


def clean(text: str) -> str:
    """The text without lone surrogates, which no server can decode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def read_reply(data: object, request: Request, seconds: float) -> Reply:
    """The server's answer as a reply. Raises `Unreadable`."""
    if not isinstance(data, Mapping):
        raise Unreadable("the answer is not a JSON object")
    found = data.get("choices")
    if not isinstance(found, list) or not found:
        raise Unreadable("the answer has no choices")
    choices = tuple(_read_choice(one) for one in _in_order(found))[: request.sampling.n]
    return Reply(choices, _read_usage(data, choices), seconds)


def _in_order(found: list[Any]) -> list[Any]:
    places = [one.get("index") if isinstance(one, Mapping) else None for one in found]
    if sorted(place for place in places if isinstance(place, int)) != list(range(len(found))):
        return found
    return sorted(found, key=lambda one: int(one["index"]))


def _read_choice(found: object) -> Choice:
    if not isinstance(found, Mapping):
        raise Unreadable("a choice is not a JSON object")
    message = found.get("message")
    if isinstance(message, Mapping):
        text = _read_text(message.get("content"))
        if not text and isinstance(message.get("refusal"), str):
            text = message["refusal"]
    elif isinstance(found.get("text"), str):
        text = found["text"]
    else:
        raise Unreadable("a choice has neither a message nor a text")
    reason = found.get("finish_reason")
    finish: Finish = _FINISHES.get(reason, "unknown") if isinstance(reason, str) else "unknown"
    return Choice(text, finish, _read_logprobs(found.get("logprobs")))


def _read_text(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    raise Unreadable("a message's content is not text")


def _read_logprobs(found: object) -> tuple[TokenLogprob, ...] | None:
    """Both layouts: a list of records under `content`, or the older parallel lists."""
    if not isinstance(found, Mapping):
        return None
    content = found.get("content")
    if isinstance(content, list):
        return tuple(_read_token(one) for one in content if isinstance(one, Mapping))
    tokens = found.get("tokens")
    if not isinstance(tokens, list):
        return None
    values = _column(found.get("token_logprobs"), len(tokens))
    tops = _column(found.get("top_logprobs"), len(tokens))
    return tuple(
        TokenLogprob(str(token), probability(value), _read_top(top))
        for token, value, top in zip(tokens, values, tops, strict=True)
    )


def _column(found: object, length: int) -> list[Any]:
    given = found if isinstance(found, list) else []
    return (given + [None] * length)[:length]


def _read_token(found: Mapping[str, Any]) -> TokenLogprob:
    top = found.get("top_logprobs")
    return TokenLogprob(
        str(found.get("token", "")), probability(found.get("logprob")), _read_top(top)
    )


def _read_top(found: object) -> tuple[tuple[str, float], ...]:
    if isinstance(found, Mapping):
        pairs = [(str(token), probability(value)) for token, value in found.items()]
    elif isinstance(found, list):
        pairs = [
            (str(one.get("token", "")), probability(one.get("logprob")))
            for one in found
            if isinstance(one, Mapping)
        ]
    else:
        return ()
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))


def probability(value: object) -> float:
    """A log-probability that is a number: at most 0, and `FLOOR` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return FLOOR
    # Compared before it becomes a float: JSON has integers that no float can hold.
    return float(min(0.0, max(FLOOR, value)))


def reports_usage(data: object) -> bool:
    """Whether the answer says how many tokens it took."""
    return isinstance(data, Mapping) and isinstance(data.get("usage"), Mapping)


def _read_usage(data: Mapping[str, Any], choices: Collection[Choice]) -> Usage:
    usage = _mapping(data.get("usage"))
    timings = _mapping(data.get("timings"))
    details = _mapping(usage.get("prompt_tokens_details"))
    cached = details.get("cached_tokens")
    tokens_out = _count(usage.get("completion_tokens"))
    if len(choices) > 1 and timings and tokens_out == _count(timings.get("predicted_n")):
        tokens_out = _all_choices(tokens_out, [choice.text for choice in choices])
    return Usage(
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens_out=tokens_out,
        cached=_count(timings.get("cache_n") if cached is None else cached),
    )


def _all_choices(first: int, texts: list[str]) -> int:
    """llama.cpp counts the tokens of the first choice only: the others by their length."""
    length = len(texts[0].encode()) or 1
    return round(first * sum(len(text.encode()) for text in texts) / length) or first


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value < MOST_TOKENS else 0


def read_embeddings(data: object, expected: int) -> list[list[float]]:
    """One vector a text, in the order asked. Raises `Unreadable`."""
    rows = data.get("data") if isinstance(data, Mapping) else None
    if not isinstance(rows, list) or len(rows) != expected:
        raise Unreadable(f"the answer does not hold {expected} embeddings")
    vectors = [
        one.get("embedding") if isinstance(one, Mapping) else None for one in _in_order(rows)
    ]
    if not all(_is_vector(vector) for vector in vectors):
        raise Unreadable("an embedding is not a list of numbers")
    if len({len(vector) for vector in vectors if vector}) > 1:
        raise Unreadable("the embeddings differ in length")
    return [list(vector or ()) for vector in vectors]


def _is_vector(vector: object) -> bool:
    return (
        isinstance(vector, list)
        and bool(vector)
        and all(isinstance(x, int | float) and abs(x) <= LARGEST_FLOAT for x in vector)
    )


@dataclass(frozen=True, slots=True)
class Offered:
    """A model in a server's list."""

    name: str
    owner: str

    def answers_to(self, name: str) -> bool:
        """Whether asking for that name reaches this model."""
        # llama.cpp lists its one file and answers to any name; Ollama adds a tag to bare names.
        return self.name in (name, f"{name}:latest") or self.owner == "llamacpp"


def read_models(data: object) -> tuple[Offered, ...]:
    """The models that a server lists; nothing when the answer is no list."""
    rows = data.get("data") if isinstance(data, Mapping) else None
    return tuple(
        Offered(row["id"], str(row.get("owned_by", "")))
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and isinstance(row.get("id"), str)
    )


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error answer says: its text on one line, its code, the field it blames."""

    text: str
    code: str = ""
    param: str | None = None


def read_complaint(body: bytes) -> Complaint:
    """An error body in any of the layouts servers use, or its bare text."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = body[:8000].decode("utf-8", "replace")
    error = data.get("error", data) if isinstance(data, Mapping) else data
    if not isinstance(error, Mapping):
        return Complaint(one_line(str(error)))
    text = next(
        (error[key] for key in ("message", "detail", "msg", "error") if error.get(key)), error
    )
    param = error.get("param")
    code = " ".join(str(error.get(key) or "") for key in ("code", "type")).strip()
    return Complaint(one_line(str(text)), code, param if isinstance(param, str) and param else None)


def hidden_error(data: object) -> int | None:
    """The status that an error sent as if it were an answer should have had; None for answers."""
    if not isinstance(data, Mapping) or not data.get("error") or data.get("choices"):
        return None
    code = _mapping(data["error"]).get("code")
    return code if isinstance(code, int) and 400 <= code <= 599 else 500
