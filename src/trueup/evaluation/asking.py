"""One item of a benchmark put to one model, and what is made of what it said.

    said = await put(model, item, benchmark, Sampling(max_tokens=128))
    answer = await marked(said, item, benchmark, Opinion("written", judge_model))
    answer.marks["both turns"], answer.usage.tokens_in

Later turns are asked after the model's own earlier replies. Given answers are not written but
forced, and their log-probabilities read. What a model of an opinion says becomes named numbers like
those that code reads off a reply, so that a summary need not know where one comes from.

A reply that was refused by the server, or a verdict that cannot be read, leaves its numbers empty
with the reason beside; it is never a zero. Many items at once are in `streaming`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal

from trueup.errors import JudgeError, ModelError, ModelUnavailable
from trueup.evaluation.benchmarks import Benchmark
from trueup.evaluation.items import Item
from trueup.evaluation.judging import Metered
from trueup.evaluation.marks import Marks, multiple_choice
from trueup.judges.ask import Failure
from trueup.judges.checks import Relevance, Repetition, Safety, outcome
from trueup.judges.criteria import Criterion
from trueup.judges.judge import NO_FAULT_OF_A_REPLY, judged
from trueup.judges.likelihood import Likelihood
from trueup.judges.methods import Pointwise
from trueup.judges.pairwise import LikelihoodPairs, PairJudge, Preference, WrittenPairs
from trueup.judges.perplexity import said as likelihood_of
from trueup.judges.scoring import Checks, Judging, Scorer, Selection
from trueup.models.model import Model
from trueup.types import (
    Message,
    Query,
    Request,
    Sampling,
    Score,
    Usage,
    Verdict,
    conversation,
    mean,
)

Kind = Literal["checks", "written", "likelihood"]
KINDS: tuple[Kind, ...] = ("checks", "written", "likelihood")
LENGTH_RATIO = "_length ratio"
"""Log of the reply's length over its rival's. Not shown: what is left at a ratio of 1 is."""
LONGEST_ANSWER = 200
"""Tokens of a given answer whose likelihood is read."""


class Opinion:
    """Who judges, and how: code, a model that writes its reasons, or a model's probabilities."""

    def __init__(self, kind: Kind = "checks", model: Model | None = None) -> None:
        """Raises `JudgeError` for a kind that needs a model and has none."""
        if kind != "checks" and model is None:
            raise JudgeError(f"Judging by {kind} needs a model: name one with --judge-model.")
        self.kind = kind
        self._model = model
        self._checks = Checks([Safety(), Repetition(), Relevance()])
        self._scorer = Scorer(model, Judging()) if model is not None else None

    async def score(
        self, query: Query, reply: str, criteria: tuple[Criterion, ...], reference: str | None
    ) -> Verdict:
        """One reply on the criteria; by code on what code can see."""
        if self._model is None or self._scorer is None or self.kind == "checks":
            return await self._checks(query, reply)
        if self.kind == "likelihood":
            return await Likelihood(self._model, criteria)(query, reply)
        notes = f"A good answer, to compare with: {reference}" if reference else ""
        return await self._scorer(query, reply, Selection(criteria, notes))

    @property
    def pairs(self) -> PairJudge:
        """How two replies are compared: in both orders where a model sees them both."""
        if self._model is None or self.kind == "checks":
            return Pointwise(self._checks)
        if self.kind == "likelihood":
            return LikelihoodPairs(self._model)
        return WrittenPairs(self._model)


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said to an item."""

    turns: tuple[tuple[Query, str], ...] = ()
    """Each turn as it was asked, after what came before, and the reply to it."""
    marks: Marks = field(default_factory=dict)
    """What could be read off already: the likelihood of given answers, and costs."""
    usage: Usage = Usage()
    seconds: float = 0.0
    failed: str | None = None
    """Why there is no reply to a turn, or None."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one item under one model."""

    replies: tuple[str, ...]
    """One a turn; fewer where it failed."""
    marks: Marks
    """Named numbers. Missing: does not apply. None: could not be had."""
    scores: tuple[Score, ...] = ()
    """What a judge scored, with its reasons, turn after turn."""
    failed: str | None = None
    usage: Usage = Usage()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "replies": list(self.replies),
            "marks": {k: v for k, v in self.marks.items() if not k.startswith("_")},
            "scores": [asdict(score) for score in self.scores],
            "failed": self.failed,
            "usage": asdict(self.usage),
            "seconds": self.seconds,
        }


async def put(model: Model, item: Item, benchmark: Benchmark, sampling: Sampling) -> Said:
    """The item asked. Raises `BudgetSpent` and `ModelUnavailable`."""
    metered = Metered(model)
    if benchmark.judged == "choices":
        return await _chosen(metered, item)
    turns: list[tuple[Query, str]] = []
    query, cut = item.query, False
    for later in (*item.then, None):
        try:
            reply = await metered.reply(Request(conversation(query), sampling))
        except ModelUnavailable:
            raise
        except ModelError as error:
            failed = f"no reply: {error}"
            return Said(tuple(turns), {}, metered.usage, metered.seconds, failed)
        turns.append((query, reply.text))
        cut = cut or reply.choices[0].finish == "length"
        if later is not None:
            history = (*conversation(query), Message("assistant", reply.text))
            query = replace(query, text=later, history=history, reference=None)
    text = turns[0][1]
    found = outcome(item.query, text)
    marks = {
        "refused": float(found == "refused"),
        "broken": float(found == "degenerate"),
        "words": mean([float(len(reply.split())) for _, reply in turns]),
        "cut off": float(cut),
    }
    return Said(tuple(turns), marks | _costs(metered, len(turns)), metered.usage, metered.seconds)


async def marked(
    said: Said, item: Item, benchmark: Benchmark, opinion: Opinion, rival: str | None = None
) -> Answer:
    """What was said, marked by code and by the opinion. Raises what ends a job."""
    marks: dict[str, float | None] = dict(said.marks)
    scores: tuple[Score, ...] = ()
    failed = said.failed
    if failed is None and benchmark.judged != "choices":
        marks |= benchmark.mark(item, said.turns[0][1])
    if benchmark.judged == "scores" and said.turns:
        verdicts = await _verdicts(said, item, benchmark, opinion)
        failed = failed or next((one.failed for one in verdicts if one.failed is not None), None)
        marks |= _of_verdicts(verdicts, item, benchmark, opinion)
        scores = tuple(score for verdict in verdicts for score in verdict.scores)
    elif benchmark.judged == "pairs" and said.turns and rival is not None:
        preference = await _compared(item.query, said.turns[0][1], rival, opinion)
        failed = failed or preference.failed
        marks |= _of_preference(preference, said.turns[0][1], rival)
    if said.failed is not None:
        marks = _absent(item, benchmark, opinion) | marks
    replies = tuple(reply for _, reply in said.turns)
    return Answer(replies, marks, scores, failed, said.usage, said.seconds)


async def _chosen(model: Metered, item: Item) -> Said:
    """The likelihood of each given answer: nothing is written."""
    found: list[float] = []
    for answer in (*item.right, *item.wrong):
        tokens = await likelihood_of(model, conversation(item.query), answer, LONGEST_ANSWER)
        if isinstance(tokens, Failure):
            return Said((), {}, model.usage, model.seconds, tokens.reason)
        found.append(sum(tokens))
    marks = multiple_choice(found[: len(item.right)], found[len(item.right) :])
    return Said((), {**marks, **_costs(model, len(found))}, model.usage, model.seconds)


def _costs(model: Metered, requests: int) -> dict[str, float]:
    """Of one request: what a prompt adds to each, and how long one takes."""
    return {
        "tokens in": model.usage.tokens_in / requests,
        "tokens out": model.usage.tokens_out / requests,
        "seconds": model.seconds / requests,
    }


async def _verdicts(
    said: Said, item: Item, benchmark: Benchmark, opinion: Opinion
) -> list[Verdict]:
    criteria = benchmark.criteria(item)
    references = item.references or (item.query.reference,)
    found = []
    for at, (query, reply) in enumerate(said.turns):
        reference = references[at] if at < len(references) else None
        score = partial(opinion.score, criteria=criteria, reference=reference)
        found.append(await judged(score, query, reply))
    return found


def _of_verdicts(
    verdicts: Sequence[Verdict], item: Item, benchmark: Benchmark, opinion: Opinion
) -> dict[str, float | None]:
    """Rewards by turn, criteria over all turns, and the figures that are means of criteria."""
    rewards = [verdict.reward for verdict in verdicts]
    marks: dict[str, float | None] = {}
    if item.then:
        whole = len(rewards) == 1 + len(item.then)
        both = [reward for reward in rewards if reward is not None]
        marks["both turns"] = mean(both) if whole and len(both) == len(rewards) else None
        marks |= {f"turn {at}": reward for at, reward in enumerate(rewards, 1)}
    else:
        marks["reward"] = rewards[0]
    by_criterion: dict[str, list[float]] = {}
    for verdict in verdicts:
        for score in verdict.scores:
            by_criterion.setdefault(score.criterion, []).append(score.value)
    marks |= {name: mean(values) for name, values in by_criterion.items()}
    if opinion.kind == "checks":
        return marks
    asked = [one.name for one in benchmark.criteria(item)]
    marks |= {name: marks.get(name) for name in asked}
    for figure, names in benchmark.gathers.items():
        if set(names) <= set(asked):
            values = [marks[name] for name in names]
            there = [value for value in values if value is not None]
            marks[figure] = mean(there) if len(there) == len(names) else None
    return marks


async def _compared(query: Query, reply: str, rival: str, opinion: Opinion) -> Preference:
    try:
        return await opinion.pairs(query, reply, rival)
    except NO_FAULT_OF_A_REPLY:
        raise
    except Exception as error:
        return Preference(None, failed=f"the judge raised {type(error).__name__}: {error}")


def _of_preference(preference: Preference, reply: str, rival: str) -> dict[str, float | None]:
    won = {"first": 1.0, "tie": 0.5, "second": 0.0}
    better = preference.better
    ratio = math.log((len(reply.split()) + 5) / (len(rival.split()) + 5))
    return {"win rate": None if better is None else won[better], LENGTH_RATIO: ratio}


def _absent(item: Item, benchmark: Benchmark, opinion: Opinion) -> dict[str, float | None]:
    """The numbers that a reply would have had."""
    names: Mapping[str, Any]
    match benchmark.judged:
        case "choices":
            names = {"MC1": None, "MC2": None}
        case "pairs":
            names = {"win rate": None}
        case "scores":
            names = {**benchmark.mark(item, ""), **_of_verdicts(
                [Verdict(failed="no reply")], item, benchmark, opinion)}  # fmt: skip
        case _:
            names = benchmark.mark(item, "")
    return dict.fromkeys(names)
