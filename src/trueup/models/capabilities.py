"""What a server turned out not to do: found out once, said once, remembered.

    can = Capabilities("http://localhost:8000/v1")
    can.lacks("seed", "it answered 400 to a seed")
    can.do("seed")        # False from now on
    can.quirks            # ("http://localhost:8000/v1 takes no seed (...): ...",)

Servers that speak the same protocol differ in what they understand, and none says so in advance.
So everything is tried, and an answer that blames one field (or silently leaves something out) is
kept here. `blamed` reads such answers. How a lack is worked around is the endpoint's business.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Literal

log = logging.getLogger("trueup")

Feature = Literal[
    "raw",
    "schema",
    "logprobs",
    "n",
    "seed",
    "system",
    "max_tokens",
    "temperature",
    "top_p",
    "frequency_penalty",
    "usage",
    "forced",
]

_WITHOUT: dict[Feature, str] = {
    "raw": "continues no raw text: only conversations can be asked",
    "schema": "obeys no JSON schema: the shape is asked for in words, read and asked for again",
    "logprobs": "reports no token log-probabilities: likelihood judges cannot use it",
    "n": "draws one reply at a time: several replies are several requests",
    "seed": "takes no seed: its replies are repeatable only from the store",
    "system": "has no system role: system text goes in front of the first user turn",
    "max_tokens": "wants max_completion_tokens: that name is used instead of max_tokens",
    "temperature": "takes no temperature: it samples as it likes",
    "top_p": "takes no top_p: it samples as it likes",
    "frequency_penalty": "takes no frequency penalty: its replies may repeat themselves more",
    "usage": "reports no token usage: tokens count as zero in budgets and reports",
    "forced": "cannot be made to give a certain reply: judges by perplexity cannot use it",
}

_SPEAKS_OF: tuple[tuple[Feature, str], ...] = (
    ("schema", r"response_format|json_schema|structured|grammar|guided"),
    ("logprobs", r"logprob|log.prob"),
    ("max_tokens", r"max_completion_tokens"),
    ("system", r"system[ -]?(role|message|prompt|instruction)|role[^.]{0,40}system|must alternate"),
    ("temperature", r"\btemperature\b"),
    ("top_p", r"\btop_p\b"),
    ("frequency_penalty", r"frequency_penalty"),
    ("seed", r"\bseed\b"),
    (
        "n",
        r"['\"`]n['\"`]|\bn\s*(=|>|must|should|is)|multiple (choices|completions)|best_of|n_cmpl",
    ),
)

_REFUSES = re.compile(
    r"support|unrecogni[sz]ed|unknown|invalid|not permitted|not allowed|not implemented|forbidden"
    r"|unexpected|extra|only|must|cannot|can't|unavailable|instead|disabled",
    re.IGNORECASE,
)

_TOO_MUCH = re.compile(
    r"less than|at most|<=|≤|maximum|exceed|too (many|large|high)|greater than|range|between",
    re.IGNORECASE,
)


class Capabilities:
    """What one server can do, as far as known: everything, until it is seen to fail."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._lacking: dict[Feature, str] = {}
        self._proven: set[Feature] = set()

    def do(self, feature: Feature) -> bool:
        """Whether the feature is still believed in."""
        return feature not in self._lacking

    def lacks(self, feature: Feature, because: str) -> None:
        """Remember a lack and warn of it; only the first time."""
        if feature in self._lacking:
            return
        self._lacking[feature] = f"{self._server} {_WITHOUT[feature]} ({because})."
        log.warning(self._lacking[feature])

    def did(self, features: Collection[Feature]) -> None:
        """Remember what the server was seen to do."""
        self._proven.update(features)

    def proven(self, feature: Feature) -> bool:
        """Whether the server was seen to do it: a later failure is then no lack."""
        return feature in self._proven

    @property
    def quirks(self) -> tuple[str, ...]:
        """One plain sentence per lack, in the order found."""
        return tuple(self._lacking.values())


def blamed(message: str, param: str | None, sent: Collection[Feature]) -> Feature | None:
    """Which of the features sent the server's refusal is about, if it is about one.

    A value that was merely too large ("top_logprobs must be at most 20") blames no feature.
    """
    if not _REFUSES.search(message) and param is None:
        return None
    for text in [param, message] if param else [message]:
        for feature, pattern in _SPEAKS_OF:
            if feature in sent and re.search(pattern, text, re.IGNORECASE):
                return None if _only_too_much(feature, message) else feature
        if text == param and param in sent:
            return _named(param, sent)
    return None


def _only_too_much(feature: Feature, message: str) -> bool:
    return feature == "logprobs" and _TOO_MUCH.search(message) is not None


def _named(param: str, sent: Collection[Feature]) -> Feature | None:
    return next((feature for feature in sent if feature == param), None)
