"""Scores read off token probabilities, for models too weak or too terse to write a critique.

    judge = Likelihood(model)                                   # "Is this a good answer?"
    judge = Likelihood(model, POOL[:3], scale=RATING, neutral="N/A")
    verdict = await judge(query, reply)

A closed question is asked and one token is drawn. What counts is not the token but how the
probability is spread over the options: `p` is the mean of the options' values (No 0, Yes 1; or 1 to
5 as 0 to 1) weighted by their share, and the score is 1 + 4p. So an answer costs one token, is
graded, and is never unparseable (the measure of RAIN's self-evaluation, arXiv 2309.07124).

Three refinements. Spellings of an option (" Yes", "yes", "YES.") are added up, and `coverage` tells
how much of the whole probability the options had: little of it means that the model was not
answering. Several phrasings are averaged as log-odds. And a model's leaning towards an option
can be taken out by dividing by what it says of a neutral reply (contextual calibration, arXiv
2102.09690): `neutral="N/A"` asks one question more per query and phrasing.

The question comes last, after query and answer, so the questions on one reply share their prefix.
Whether such a judge agrees with people is another matter: for small models often it does not.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from trueup.errors import JudgeError, ModelError, ModelUnavailable
from trueup.judges.ask import Failure
from trueup.judges.criteria import Criterion
from trueup.judges.once import Once
from trueup.judges.scoring import checked, shown, usable
from trueup.judges.template import Template, fenced, shortened
from trueup.models.model import Model
from trueup.types import (
    Message,
    Query,
    Request,
    Sampling,
    Score,
    TokenLogprob,
    Verdict,
    grade,
)

TOP_LOGPROBS = 20
"""The most that OpenAI-compatible servers report."""

_NEVER = 1e-6
"""The share of an option that was not among the reported tokens: small, and its log finite."""


@dataclass(frozen=True, slots=True)
class Option:
    """One possible answer to a closed question."""

    spellings: tuple[str, ...]
    """In lower case, without spaces and punctuation."""
    value: float
    """What it says of the reply, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The options of a closed question, and the files with its phrasings."""

    options: tuple[Option, ...]
    overall: str
    """Wording file, one phrasing a line, without slots."""
    by_criterion: str
    """Wording file, one phrasing a line; may use the slots name, good, worst and best."""


YES_NO = Scale((Option(("yes",), 1.0), Option(("no",), 0.0)), "yes_no.txt", "yes_no_criterion.txt")
RATING = Scale(
    tuple(
        Option((str(number), word), (number - 1) / 4)
        for number, word in enumerate(("one", "two", "three", "four", "five"), 1)
    ),
    "rating.txt",
    "rating_criterion.txt",
)


@dataclass(frozen=True, slots=True)
class Weights:
    """How a model spreads its probability over the options of one question."""

    shares: tuple[float, ...]
    """Of each option, adding up to 1."""
    coverage: float
    """What all options together had of the whole probability, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model holds of one reply on one criterion."""

    p: float
    """0 (worst) to 1 (best)."""
    coverage: float
    """The lowest coverage among the phrasings that were read."""
    phrasings: int
    """How many were read."""

    @property
    def score(self) -> float:
        """`p` on the scale of 1 to 5."""
        return grade(self.p)


OVERALL = Criterion("Quality", good="answers the query well")
"""What is scored where no criteria are given."""


class Likelihood:
    """Scores replies by the probability of the options to a closed question. A `Judge`."""

    def __init__(
        self,
        model: Model,
        criteria: Sequence[Criterion] = (),
        *,
        scale: Scale = YES_NO,
        phrasings: int | None = None,
        only: int | None = None,
        neutral: str | None = None,
        least_coverage: float = 0.01,
        reply_characters: int = 12_000,
    ) -> None:
        """Without criteria one score, "Quality", is given.

        `phrasings` limits how many of the wording's phrasings are asked, `only` asks one of them,
        counted from 1; `neutral` is the reply to calibrate by. Raises `JudgeError` for criteria of
        one name or no phrasings.
        """
        if phrasings is not None and phrasings < 1:
            raise JudgeError(f"{phrasings} phrasings ask nothing; give 1 or more, or leave it out.")
        usable(criteria or (OVERALL,))
        self._model = model
        self._criteria = tuple(criteria)
        self._scale = scale
        self._neutral = neutral
        self._least_coverage = least_coverage
        self._reply_characters = reply_characters
        self._template = Template.from_file("likelihood.txt", beside=__file__)
        self._overall, self._by_criterion = (
            _some(Template.lines_from_file(wording, beside=__file__), phrasings, only)
            for wording in (scale.overall, scale.by_criterion)
        )
        self._leanings: Once[tuple[str, str], Weights | Failure] = Once()

    async def __call__(self, query: Query, reply: str) -> Verdict:
        """Score a reply on every criterion, all questions at once."""
        scores, dropped = await checked(self._criteria, query, reply)
        written = [one for one in self._criteria or (OVERALL,) if one.check is None]
        readings = await asyncio.gather(*(self.read(query, reply, one) for one in written))
        for criterion, reading in zip(written, readings, strict=True):
            if isinstance(reading, Failure):
                dropped.append(f"{criterion.name}: {reading.reason}")
            else:
                told = (
                    f"p = {reading.p:.3f}, coverage {reading.coverage:.3f}, "
                    f"phrasings {reading.phrasings}"
                )
                scores.append(Score(criterion.name, reading.score, told))
        if written and all(isinstance(reading, Failure) for reading in readings):
            return Verdict(failed="; ".join(dropped), dropped=tuple(dropped))
        return Verdict(tuple(scores), dropped=tuple(dropped))

    async def read(
        self, query: Query, reply: str, criterion: Criterion = OVERALL
    ) -> Reading | Failure:
        """What the model holds of a reply, over all phrasings. Failed if none can be read."""
        # What is measured as a judge without criteria is asked in the same words among others.
        phrasings = self._overall if criterion == OVERALL else self._by_criterion
        questions = [_question(phrasing, criterion) for phrasing in phrasings]
        # One after the other: each finds query and reply already read. Asked at once they go to
        # several of a server's slots, and each reads them anew.
        weighed = [await self._weigh(query, reply, one) for one in questions]
        read = [weights for weights in weighed if isinstance(weights, Weights)]
        if not read:
            return next(failure for failure in weighed if isinstance(failure, Failure))
        shares = pooled([weights.shares for weights in read])
        values = [option.value for option in self._scale.options]
        p = sum(share * value for share, value in zip(shares, values, strict=True))
        return Reading(min(1.0, p), min(weights.coverage for weights in read), len(read))

    async def _weigh(self, query: Query, reply: str, question: str) -> Weights | Failure:
        weights = await self._asked(query, reply, question)
        if self._neutral is None or isinstance(weights, Failure):
            return weights
        neutral = self._neutral
        leaning = await self._leanings(
            (shown(query), question), lambda: self._asked(query, neutral, question)
        )
        if isinstance(leaning, Failure):
            return Failure(f"of the neutral reply: {leaning.reason}", leaning.attempts)
        return Weights(calibrated(weights.shares, leaning.shares), weights.coverage)

    async def _asked(self, query: Query, reply: str, question: str) -> Weights | Failure:
        limit = self._reply_characters
        texts = fenced(query=shortened(shown(query), limit), answer=shortened(reply, limit))
        messages = self._template.messages(question=question, **texts)
        weights = await weigh(self._model, messages, self._scale.options)
        if isinstance(weights, Weights) and weights.coverage < self._least_coverage:
            return Failure(
                f"the options had {weights.coverage:.2%} of the probability: "
                "the model was not answering the question",
                1,
            )
        return weights


async def weigh(
    model: Model, messages: Sequence[Message], options: Sequence[Option]
) -> Weights | Failure:
    """How the model spreads its first token over the options; one request of one token.

    Raises `BudgetSpent` and `ModelUnavailable`; every other trouble becomes a `Failure`.
    """
    request = Request(tuple(messages), Sampling(max_tokens=1), top_logprobs=TOP_LOGPROBS)
    try:
        reply = await model.reply(request)
    except ModelUnavailable:
        raise
    except ModelError as error:
        return Failure(f"the model failed: {error}", 1)
    tokens = reply.choices[0].logprobs
    if tokens == ():
        return Failure("the model said nothing whose likelihood it could tell", 1)
    if tokens is None:
        return Failure(
            "the model reports no log-probabilities; use a judge that writes (Dynamic), "
            "or a server that reports top_logprobs",
            1,
        )
    masses = _masses(tokens[0], options)
    coverage = sum(masses)
    if coverage <= 0.0:
        return Failure("no option was among the likeliest tokens", 1)
    return Weights(tuple(mass / coverage for mass in masses), min(1.0, coverage))


def _masses(token: TokenLogprob, options: Sequence[Option]) -> list[float]:
    """Each option's probability, all its spellings added up."""
    likely = {token.token: token.logprob, **dict(token.top)}
    masses = [0.0] * len(options)
    for text, logprob in likely.items():
        spelling = text.strip(" \t\n▁ĠĊ.,:;!\"'`*()[]").casefold()
        for at, option in enumerate(options):
            if spelling in option.spellings and not math.isnan(logprob):
                masses[at] += math.exp(min(0.0, logprob))
    return masses


def pooled(shares_P: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The shares of several phrasings as one: log-probabilities averaged, then made to add to 1."""
    columns = zip(*shares_P, strict=True)
    logs = [sum(_log(share) for share in column) / len(shares_P) for column in columns]
    return _normalised(logs)


def calibrated(shares: Sequence[float], leaning: Sequence[float]) -> tuple[float, ...]:
    """The shares divided by what the model gives each option for no reason (arXiv 2102.09690)."""
    return _normalised(
        [_log(share) - _log(bias) for share, bias in zip(shares, leaning, strict=True)]
    )


def _log(share: float) -> float:
    return math.log(max(share, _NEVER))


def _normalised(logs: Sequence[float]) -> tuple[float, ...]:
    top = max(logs)
    weights = [math.exp(log - top) for log in logs]
    return tuple(weight / sum(weights) for weight in weights)


def _some(
    phrasings: tuple[Template, ...], limit: int | None, only: int | None
) -> tuple[Template, ...]:
    if only is None:
        return phrasings[:limit]
    if only < 1:
        raise JudgeError(f"There is no phrasing number {only}; they are counted from 1.")
    # Criteria have fewer phrasings: the last stands in.
    return phrasings[min(only, len(phrasings)) - 1 :][:1]


def _question(phrasing: Template, criterion: Criterion) -> str:
    words = {
        "name": criterion.name,
        "good": criterion.good,
        "worst": criterion.worst,
        "best": criterion.best,
    }
    return phrasing.fill(**{slot: words[slot] for slot in phrasing.slots})
