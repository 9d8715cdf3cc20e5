"""Answers that can be read and yet look broken: asked for again before they are believed.

    doubts = Doubts()                       # one for each request
    doubts.settled(reply, request)          # raises `Again`, to have another attempt
    doubts.settled(reply, request)          # the same for the third time: so be it

A reply that ended for its length before it had it, one that a filter cut, log-probabilities that
are missing or no numbers: some servers do that now and then under load, and a search would learn
from it. Who means it says it again. What was said three times alike, or a fourth time, is taken.
(Twice alike was not enough: at 30% faults one search in twenty ended with another prompt.) All of
them were paid for, so the reply that is taken has the cost of those that were not.
"""

from __future__ import annotations

from dataclasses import replace

from trueup.models.line import Again
from trueup.models.wire import FLOOR, HALF_CHARACTER
from trueup.types import Choice, Reply, Request

MOST, ALIKE = 3, 2
"""Answers to one request that may be doubted, and how many of them may be the same."""


class Doubts:
    """What was doubted of the answers to one request."""

    def __init__(self) -> None:
        self._doubted: list[Reply] = []

    def settled(self, reply: Reply, request: Request) -> Reply:
        """The reply with the cost of those doubted before it. Raises `Again` to doubt this one."""
        why = doubtful(reply, request)
        alike = sum(one.choices == reply.choices for one in self._doubted)
        if why is not None and len(self._doubted) < MOST and alike < ALIKE:
            self._doubted.append(reply)
            raise Again(why, doubted=True)
        usage = sum((one.usage for one in self._doubted), reply.usage)
        seconds = sum((one.seconds for one in self._doubted), reply.seconds)
        return replace(reply, usage=usage, seconds=seconds)


def doubtful(reply: Reply, request: Request) -> str | None:
    """What is strange about an answer, as a phrase; None for most."""
    out = reply.usage.tokens_out
    for choice in reply.choices:
        if choice.finish == "filter":
            return "a filter cut the answer"
        if choice.finish == "length" and 0 < out < request.sampling.max_tokens:
            return f"the answer ended for its length after {out} tokens"
        if request.top_logprobs > 0 and keeps_silent(choice):
            return "the answer has no log-probabilities"
        if choice.logprobs and all(token.logprob == FLOOR for token in choice.logprobs):
            return "no log-probability is a number"
    return None


def keeps_silent(choice: Choice) -> bool:
    """Whether log-probabilities are missing.

    Half a character that the limit cut off comes without one (llama.cpp): that is no sign of a
    server that has none, and asking again would bring the same.
    """
    return not choice.logprobs and choice.text.strip(HALF_CHARACTER) != ""
