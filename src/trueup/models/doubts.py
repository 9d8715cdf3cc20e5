"""Answers that can be read and yet look broken: asked for again before they are believed.

    doubts = Doubts()                       # one for each request
    doubts.settle(reply, request)           # raises `Unreadable`, to have another attempt
    doubts.settle(reply, request)           # the same for the third time: so be it

A reply that ended for its length before it had it, one that a filter cut, log-probabilities that
are no numbers: some servers do that now and then under load, and a search would learn from it. Who
means it says it again. What was said three times alike, or a fourth time, is taken. (Twice alike
was not enough: at 30% faults one search in twenty ended with another prompt.)
"""

from __future__ import annotations

from trueup.models.wire import FLOOR, Unreadable
from trueup.types import Choice, Reply, Request

MOST, ALIKE = 3, 2
"""Answers to one request that may be doubted, and how many of them may be the same."""


class Doubts:
    """What was doubted of the answers to one request."""

    def __init__(self) -> None:
        self._doubted: list[tuple[Choice, ...]] = []

    def settle(self, reply: Reply, request: Request) -> None:
        """Raise `Unreadable` for a doubtful answer, unless it was given before."""
        why = doubtful(reply, request)
        if why is None or len(self._doubted) >= MOST or self._doubted.count(reply.choices) >= ALIKE:
            return
        self._doubted.append(reply.choices)
        raise Unreadable(why)


def doubtful(reply: Reply, request: Request) -> str | None:
    """What is strange about an answer, as a phrase; None for most."""
    out = reply.usage.tokens_out
    for choice in reply.choices:
        if choice.finish == "filter":
            return "a filter cut the answer"
        if choice.finish == "length" and 0 < out < request.sampling.max_tokens:
            return f"the answer ended for its length after {out} tokens"
        if choice.logprobs and all(token.logprob == FLOOR for token in choice.logprobs):
            return "no log-probability is a number"
    return None
