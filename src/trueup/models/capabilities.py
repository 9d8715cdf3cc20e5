"""What a server turned out not to do: found out once, said once, remembered.

    can = Capabilities("http://localhost:8000/v1")
    can.lacks("seed", "it answered 400 to a seed")
    can.do("seed")                            # False from now on
    can.lacks("n", "it refused one", 8)       # so many, and no other number
    can.missed("schema", "it wrote prose")    # said to the user, and nothing else
    can.quirks            # ("http://localhost:8000/v1 takes no seed (...): ...",)

Servers that speak the same protocol differ in what they understand, and none says so in advance.
So everything is tried, and an answer that refuses a field is kept here: it holds for every request
with that field, whichever came first. What an answer silently leaves out says nothing of the next
one. It is made good for that request alone, or replies would depend on the order of arrival, and
on what was asked before a run was cut off. `blamed` reads refusals. How a lack is worked around is
the endpoint's business.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Hashable
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
    "schema": "does not obey every JSON schema: then the shape is asked for in words, and again",
    "logprobs": "reports no token log-probabilities: likelihood judges cannot use it",
    "n": "draws one reply at a time: several replies are several requests",
    "seed": "takes no seed: its replies are repeatable only from the store",
    "system": "has no system role: system text goes in front of the first user turn",
    "max_tokens": "wants max_completion_tokens: that name is used instead of max_tokens",
    "temperature": "takes no temperature: it samples as it likes",
    "top_p": "takes no top_p: it samples as it likes",
    "frequency_penalty": "takes no frequency penalty: its replies may repeat themselves more",
    "usage": "reports no token usage: budgets go by letters, reports say zero tokens",
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
        self._lacking: set[tuple[Feature, Hashable]] = set()
        self._said: dict[Feature, str] = {}
        self._proven: set[Feature] = set()

    def do(self, feature: Feature, value: Hashable = None) -> bool:
        """Whether the feature, or that value of it, is still believed in."""
        return (feature, value) not in self._lacking

    def lacks(self, feature: Feature, because: str, value: Hashable = None) -> None:
        """Remember a lack, of that value where only the value was refused, and warn of it."""
        self._lacking.add((feature, value))
        self.missed(feature, because)

    def missed(self, feature: Feature, because: str) -> None:
        """Warn of what one answer left out; only the first time."""
        if feature not in self._said:
            self._said[feature] = f"{self._server} {_WITHOUT[feature]} ({because})."
            log.warning(self._said[feature])

    def did(self, features: Collection[Feature]) -> None:
        """Remember what the server was seen to do."""
        self._proven.update(features)

    def proven(self, feature: Feature) -> bool:
        """Whether the server was seen to do it: a later failure is then no lack."""
        return feature in self._proven

    @property
    def quirks(self) -> tuple[str, ...]:
        """One plain sentence per feature, in the order found."""
        return tuple(self._said.values())


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
