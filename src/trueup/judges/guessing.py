"""Could the query be guessed from the reply? For models too weak to judge.

    judge = Guessing(model)
    verdict = await judge(query, reply)

The other way round from `perplexity`: the model reads the reply and is made to say the query. What
the reply tells of it is the gain in the query's log-probability over reading a reply that says
nothing, in nats. Both replies of a comparison are measured on the same few words, so how long they
are has no part in it, and a fluent answer to a neighbouring question does not pass for one to this.
Query likelihood ranked documents before there were chat models (Ponte and Croft, SIGIR 1998).

tanh(nats / 20) becomes 1 to 5. It measures whether the reply is to the query, not whether it is
right. Needs a model that can be made to say a text: see `perplexity`.
"""

from __future__ import annotations

import asyncio
import math

from trueup.errors import JudgeError
from trueup.judges.ask import Failure
from trueup.judges.once import Once
from trueup.judges.perplexity import TOKENS, said
from trueup.judges.template import Template, fenced, shortened
from trueup.models.model import Model
from trueup.types import HIGHEST_SCORE, LOWEST_SCORE, Query, Score, Verdict

NOTHING = "(no answer)"
"""The reply that tells nothing of the query."""
NATS = 20.0
"""Of information at which the scale bends."""


class Guessing:
    """Scores replies by what they tell of the query. A `Judge`."""

    def __init__(
        self,
        model: Model,
        *,
        tokens: int = TOKENS,
        reply_characters: int = 12_000,
        name: str = "To the point",
    ) -> None:
        """Reads the first `tokens` tokens of the query. Raises `JudgeError` for none."""
        if tokens < 1:
            raise JudgeError(f"{tokens} tokens of a query say nothing; read 1 or more.")
        self._model = model
        self._tokens = tokens
        self._reply_characters = reply_characters
        self._name = name
        self._template = Template.from_file("guess_query.txt", beside=__file__)
        self._alone: Once[str, list[float] | Failure] = Once()

    async def __call__(self, query: Query, reply: str) -> Verdict:
        """Score a reply. Fails where the model cannot be made to say the query."""
        found = await self.read(query, reply)
        if isinstance(found, Failure):
            return Verdict(failed=found.reason)
        middle = (LOWEST_SCORE + HIGHEST_SCORE) / 2
        value = middle + (HIGHEST_SCORE - middle) * math.tanh(found / NATS)
        return Verdict((Score(self._name, value, f"{found:.2f} nats of the query"),))

    async def read(self, query: Query, reply: str) -> float | Failure:
        """What the reply tells of the query's beginning, in nats; below 0 it misleads."""
        after, alone = await asyncio.gather(
            self._guessed(query, reply),
            self._alone(query.text, lambda: self._guessed(query, NOTHING)),
        )
        if isinstance(after, Failure):
            return after
        if isinstance(alone, Failure):
            return alone
        n = min(len(after), len(alone))
        return sum(after[:n]) - sum(alone[:n])

    async def _guessed(self, query: Query, reply: str) -> list[float] | Failure:
        texts = fenced(answer=shortened(reply, self._reply_characters))
        return await said(self._model, self._template.messages(**texts), query.text, self._tokens)
