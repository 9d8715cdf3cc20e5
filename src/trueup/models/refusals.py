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
_NO_CREDIT = re.compile(
    r"insufficient[ _](quota|credits?|balance|funds)|exceeded your current quota", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What to make of an error answer: one of the fields is set, or two with `of_all`."""

    again: bool = False
    lacks: Feature | None = None
    unknown_model: bool = False
    refused_key: int | None = None
    """The status with which it was."""
    final: str | None = None
    """What happened and what to do next, without the address."""
    of_all: bool = False
    """Whether no other request would fare better until that is done: the work ends here."""


def understood(
    status: int, complaint: Complaint, sent: Collection[Feature], *, before: bool = False
) -> Meaning:
    """The meaning of an answer with that status, to a request that used those features.

    `before`: the like was answered before, so the address is right, and the key was.
    """
    said = f"{complaint.code} {complaint.text}"
    if status == 402 or (status in (403, 429) and _NO_CREDIT.search(said)):
        return Meaning(
            final=f"says that the account has no credit left ({complaint.text}): top it up",
            of_all=True,
        )
    about_key = any(map(_ABOUT_KEYS.search, (complaint.text, complaint.code or complaint.text)))
    if status == 401 or (status == 403 and about_key):
        # A 403 may be about this one prompt, and quote it: only its code is believed of all.
        coded = bool(complaint.code and _ABOUT_KEYS.search(complaint.code))
        return Meaning(refused_key=status, of_all=before and (status == 401 or coded))
    if status == 404 and not before and _UNKNOWN_MODEL.search(said):
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
    # What was there before comes back: a gateway restarts, or a model is loaded anew.
    gone = before and status in (404, 405)
    if gone or status in AGAIN or (status >= 500 and status != 501):
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
