"""How much likelier a reply became by the query: relative perplexity, for models too weak to judge.

    judge = Perplexity(model)
    verdict = await judge(query, reply)

A weak model cannot say whether a reply is good, but it knows how surprised it is by one. The
reply's perplexity is taken twice, after the query and after an empty one, and the score is the
share of it that the query took away:

    r = clip(1 - ppl(reply | query) / ppl(reply), -1, 1) = 1 - exp(-mean_t v_t)

with v_t the gain in log-probability of each token: the self-aligned reward of SAR (arXiv
2509.05489), which has the same conversation with an empty user turn for "no query". -1 to 1 become
1 to 5. Replies that could stand after any query score 3, whatever their length; ones of which the
query decides every word score close to 5.

With `total` the gains are added up instead of averaged: what query and reply tell of each other, in
nats. A reply that says little that fits loses by it and not, as by the mean, one that says much; on
labels people gave it is the less one-sided of the two (`docs/judges.md`). tanh(nats / 50) becomes
1 to 5.

What is different here: only the first `tokens` tokens are read, since each is written out by the
model that is made to say them; nothing else of a model behind llama.cpp tells the probabilities of
a text it did not choose. It measures fit, not truth: a fluent wrong answer fits as well.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trueup.errors import JudgeError, ModelError, ModelUnavailable
from trueup.judges.ask import Failure
from trueup.judges.criteria import Check, Criterion
from trueup.judges.once import Once
from trueup.judges.scoring import checked, coded, usable
from trueup.models.model import Model
from trueup.types import (
    HIGHEST_SCORE,
    LOWEST_SCORE,
    Message,
    Query,
    Request,
    Sampling,
    Score,
    Verdict,
    conversation,
)

TOKENS = 32
"""Of a reply that are read. Most of what the query decides is decided early."""


NATS = 50.0
"""Of information at which the scale bends: 32 tokens seldom gain more."""
FIT = Criterion("Fit", good="is a reply to this query and not to any", always=True)
"""What relative perplexity scores."""
_LEAST = -1000.0
"""A log-probability below stands for none: servers write -9999 there, or the least float."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """What a reply cost the model with and without the query."""

    given_query: float
    """Mean log-probability of a token after the query; natural logarithm, at most 0."""
    alone: float
    """The same after an empty user turn."""
    tokens: int

    @property
    def reward(self) -> float:
        """SAR's relative drop in perplexity, -1 to 1."""
        return max(-1.0, 1 - math.exp(min(50.0, self.alone - self.given_query)))

    @property
    def information(self) -> float:
        """What the query told of the tokens that were read, in nats; below 0 it misled."""
        return (self.given_query - self.alone) * self.tokens


class Perplexity:
    """Scores replies by how much likelier the query made them. A `Judge`."""

    def __init__(
        self,
        model: Model,
        *,
        tokens: int = TOKENS,
        total: bool = False,
        checks: Sequence[Criterion | Check] = (),
        name: str = FIT.name,
    ) -> None:
        """`checks` are scored by code beside it. Raises `JudgeError` for no tokens, for criteria
        that are not code, or two of one name.
        """
        if tokens < 1:
            raise JudgeError(f"{tokens} tokens of a reply say nothing; read 1 or more.")
        self._checks = coded(checks)
        usable((replace(FIT, name=name), *self._checks))
        self._model = model
        self._tokens = tokens
        self._total = total
        self._name = name
        self._alone: Once[str, list[float] | Failure] = Once()

    async def __call__(self, query: Query, reply: str) -> Verdict:
        """Score a reply. Fails where the model cannot be made to say it."""
        fit = await self._fit(query, reply)
        if isinstance(fit, Failure):
            # The checks alone would be another reward than that of the reply's siblings.
            return Verdict(failed=fit.reason)
        scores, dropped = await checked(self._checks, query, reply)
        return Verdict((fit, *scores), dropped=tuple(dropped))

    async def _fit(self, query: Query, reply: str) -> Score | Failure:
        if not reply.strip():
            # Failed, it would be left out, and to say nothing would cost a policy nothing.
            return Score(self._name, LOWEST_SCORE, "The reply is empty.")
        found = await self.read(query, reply)
        if isinstance(found, Failure):
            return found
        middle = (LOWEST_SCORE + HIGHEST_SCORE) / 2
        reward = math.tanh(found.information / NATS) if self._total else found.reward
        value = middle + (HIGHEST_SCORE - middle) * reward
        told = (
            f"{found.given_query:.2f} a token after the query, {found.alone:.2f} after none, "
            f"{found.tokens} tokens"
        )
        return Score(self._name, value, told)

    async def read(self, query: Query, reply: str) -> Surprise | Failure:
        """What the reply's tokens cost with and without the query."""
        if not reply.strip():
            return Failure("the reply is empty, so no token of it can be likely", 0)
        after, alone = await asyncio.gather(
            said(self._model, conversation(query), reply, self._tokens),
            self._alone(
                reply,
                lambda: said(self._model, (Message("user", ""),), reply, self._tokens),
            ),
        )
        if isinstance(after, Failure):
            return after
        if isinstance(alone, Failure):
            return alone
        n = min(len(after), len(alone))
        return Surprise(sum(after[:n]) / n, sum(alone[:n]) / n, n)


async def said(
    model: Model, turns: tuple[Message, ...], text: str, tokens: int
) -> list[float] | Failure:
    """The log-probability of each of a text's first tokens, had the model replied with it.

    Raises `BudgetSpent` and `ModelUnavailable`; every other trouble becomes a `Failure`.
    """
    # Far more letters than the tokens can hold would only be sent in vain.
    sampling = Sampling(max_tokens=tokens)
    request = Request(turns, sampling, top_logprobs=1, forced=text[: 32 * tokens])
    try:
        answer = await model.reply(request)
    except ModelUnavailable:
        raise
    except ModelError as error:
        return Failure(f"the model failed: {error}", 1)
    found = answer.choices[0].logprobs or ()
    if not found:
        return Failure("the model gave no log-probabilities of the text", 1)
    if all(token.logprob == 0.0 for token in found):
        return Failure("the model tells its probabilities after it was made to say the text", 1)
    unknown = sum(not _LEAST < token.logprob < math.inf for token in found)
    if unknown:
        return Failure(
            f"the model gave no log-probability for {unknown} of {len(found)} tokens of the text", 1
        )
    return [min(0.0, token.logprob) for token in found]
