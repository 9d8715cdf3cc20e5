"""What a server's error answers mean: which feature it lacks, whether to try again, what to say.

    meaning = understood(429, complaint, sent)
    meaning.again         # True: worth another attempt
    meaning.lacks         # or the feature that the server does not have
    meaning.final         # or the sentence for the user, with the remedy

The table of statuses is the protocol's; the texts are those that OpenAI, vLLM, SGLang, llama.cpp,
Ollama and OpenRouter were seen to send. No answer's text is repeated for a refused key, because
servers quote keys.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from trueup.models.capabilities import Feature, blamed
from trueup.models.wire import Complaint

AGAIN = frozenset({408, 409, 425, 429})
UNKNOWN_PATH = frozenset({400, 404, 405, 422, 501})
"""With which servers answer a path that only others have."""
_MAY_BLAME = frozenset({400, 404, 405, 422, 500, 501})
_UNKNOWN_MODEL = re.compile(
    r"model[^.]{0,120}(not[ _]found|does ?n.t exist|does not exist|unknown|not available|no such)"
    r"|(unknown|no such|invalid|not a valid) model|model_not_found|try pulling it",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[ _](length|size|window)|exceed_context|maximum context|too many tokens|too long",
    re.IGNORECASE,
)
_ABOUT_KEYS = re.compile(
    r"^$|\bkeys?\b|api_?key|token|auth|credential|permission|forbidden|log ?in", re.IGNORECASE
)
_NO_CREDIT = re.compile(r"insufficient_quota|exceeded your current quota", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What to make of an error answer: exactly one of the fields is set."""

    again: bool = False
    lacks: Feature | None = None
    unknown_model: bool = False
    refused_key: int | None = None
    """The status with which it was."""
    final: str | None = None
    """What happened and what to do next, without the address."""


def understood(status: int, complaint: Complaint, sent: Collection[Feature]) -> Meaning:
    """The meaning of an answer with that status, to a request that used those features."""
    said = f"{complaint.code} {complaint.text}"
    about_key = any(map(_ABOUT_KEYS.search, (complaint.text, complaint.code or complaint.text)))
    if status == 401 or (status == 403 and about_key):
        return Meaning(refused_key=status)
    if status == 402 or (status == 429 and _NO_CREDIT.search(said)):
        return Meaning(
            final=f"says that the account has no credit left ({complaint.text}): top it up"
        )
    if status == 404 and _UNKNOWN_MODEL.search(said):
        return Meaning(unknown_model=True)
    if status in _MAY_BLAME:
        if _TOO_LONG.search(said):
            return Meaning(
                final=f"says the prompt is too long ({complaint.text}): shorten it, show fewer "
                "demonstrations, or give the server a larger context"
            )
        if feature := blamed(said, complaint.param, sent):
            return Meaning(lacks=feature)
    if status in (404, 405, 501) and "raw" in sent:
        return Meaning(lacks="raw")
    if status in AGAIN or (status >= 500 and status != 501):
        return Meaning(again=True)
    if _UNKNOWN_MODEL.search(said):
        return Meaning(unknown_model=True)
    return Meaning(
        final=f"answered {status} ({complaint.text or 'no reason given'}): {_next(status)}"
    )


def _next(status: int) -> str:
    if status == 403:
        return "change what is asked, or ask whoever runs the server to allow it"
    if status in (404, 405):
        return "check that the URL is that of an OpenAI-compatible server, up to and including /v1"
    if status == 413:
        return "shorten the prompt"
    return "change the request's settings or use another server"
