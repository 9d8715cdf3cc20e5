"""Every way there is to have a model compare two replies, by name: what `trueup judge` measures.

    for method in METHODS.values():
        compare = method.make(model)
        preference = await compare(query, first, second)

Some compare the two at once, some score each alone, and some ask no model at all: whoever uses a
model to judge should know what its length, or three lines of code, would have said. A judge that
scores is made to compare by `Pointwise`; the other way round there is no way.

What a method thinks is one number, its `margin`: above zero for the first reply, below for the
second, and the further the surer. Scales differ between methods, which is what calibration is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from trueup.errors import SettingsError
from trueup.judges.checks import Refusal, Relevance, Repetition
from trueup.judges.criteria import POOL, find
from trueup.judges.dynamic import Dynamic
from trueup.judges.guessing import Guessing
from trueup.judges.judge import Judge
from trueup.judges.likelihood import RATING, Likelihood
from trueup.judges.pairwise import (
    LikelihoodPairs,
    PairJudge,
    Preference,
    WrittenPairs,
    by_scores,
    greater,
)
from trueup.judges.perplexity import Perplexity
from trueup.judges.scoring import Checks, Judging, Static
from trueup.models.model import Model
from trueup.types import Query, Verdict

READ = 600
"""Characters of a text that the methods read, its beginning and its end: what a pair costs is
decided by this, and small models lose the thread of more."""
WRITTEN = Judging(selection=(2, 3), attempts=1, max_tokens=320, reason_characters=120,
                  reply_characters=READ)  # fmt: skip
"""How a written judgement is asked for here: brief, and once, so that what is unreadable shows."""


class Pointwise:
    """Scores both replies and prefers the one that scored higher. A `PairJudge`."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def __call__(self, query: Query, first: str, second: str) -> Preference:
        """One verdict a reply; equal rewards are a tie. Fails where one of them failed."""
        # One after the other: the second finds the rules and the query already read.
        return compared(await self._judge(query, first), await self._judge(query, second))


def compared(first: Verdict, second: Verdict) -> Preference:
    """Which of two replies scored higher. Fails where one of them has no score."""
    verdicts = (first, second)
    one, other = first.reward, second.reward
    if one is None or other is None:
        return Preference(None, failed=_failures(verdicts), verdicts=verdicts)
    return replace(by_scores(one, other), verdicts=verdicts)


class Longer:
    """Prefers the longer reply, as people often do. A `PairJudge` without a model."""

    async def __call__(self, query: Query, first: str, second: str) -> Preference:
        one, other = len(first), len(second)
        return Preference(greater(one, other), (one + 1) / (one + other + 2), True)


@dataclass(frozen=True, slots=True)
class Method:
    """A way to compare two replies."""

    name: str
    told: str
    """What it does, in a line."""
    make: Callable[[Model], PairJudge]
    judge: Callable[[Model], Judge] | None = None
    """The judge that scores one reply, where it has one: only such a one can score for `align`."""
    asks: bool = True
    """Whether it asks the model."""
    slow: bool = False
    """Whether it takes much longer than the rest: the model writes, or is asked many times."""
    wording: tuple[str, ...] = ()
    """The files with the words it asks in: other words are another judge."""


def _pointwise(
    name: str,
    told: str,
    judge: Callable[[Model], Judge],
    *wording: str,
    slow: bool = False,
    asks: bool = True,
) -> Method:
    return Method(
        name,
        told,
        lambda model: Pointwise(judge(model)),
        judge,
        asks=asks,
        slow=slow,
        wording=wording,
    )


def _one_question(number: int) -> Method:
    return _pointwise(
        f"yes-no-{number}",
        f"the probability of Yes to question {number} on each reply",
        lambda model: Likelihood(model, only=number, reply_characters=READ),
        *_YES_NO,
    )


_FEW = tuple(one for name in ("Helpfulness", "Clarity", "Factuality") if (one := find(name, POOL)))
_YES_NO = ("likelihood.txt", "yes_no.txt")
_RATING = ("likelihood.txt", "rating.txt")

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        *map(_one_question, (1, 2, 3)),
        _pointwise(
            "yes-no",
            "the probability of Yes over three phrasings of the question",
            lambda model: Likelihood(model, reply_characters=READ),
            *_YES_NO,
        ),
        _pointwise(
            "yes-no-calibrated",
            "the same, less what the model says of a reply that says nothing",
            lambda model: Likelihood(model, neutral="N/A", reply_characters=READ),
            *_YES_NO,
        ),
        _pointwise(
            "rating",
            "the expectation of a mark from 1 to 5, over two phrasings",
            lambda model: Likelihood(model, scale=RATING, reply_characters=READ),
            *_RATING,
        ),
        _pointwise(
            "rating-calibrated",
            "the same, less what the model says of a reply that says nothing",
            lambda model: Likelihood(model, scale=RATING, neutral="N/A", reply_characters=READ),
            *_RATING,
        ),
        _pointwise("perplexity", "how much likelier the query makes each reply", Perplexity),
        _pointwise(
            "information",
            "how many nats the query tells of each reply",
            lambda model: Perplexity(model, total=True),
        ),
        _pointwise(
            "criteria",
            "the probability of Yes on each of the pool's criteria",
            lambda model: Likelihood(model, POOL, reply_characters=READ),
            "likelihood.txt",
            "yes_no_criterion.txt",
            slow=True,
        ),
        _pointwise(
            "guessing",
            "how well the query can be guessed from each reply",
            lambda model: Guessing(model, reply_characters=READ),
            "guess_query.txt",
        ),
        Method(
            "pairs",
            "the probability of A and B, in both orders",
            lambda model: LikelihoodPairs(model, reply_characters=READ),
            wording=("compare.txt", "which.txt"),
        ),
        Method(
            "pairs-swapped",
            "the same in both orders and with the letters exchanged",
            lambda model: LikelihoodPairs(model, swap_labels=True, reply_characters=READ),
            slow=True,
            wording=("compare.txt", "which.txt"),
        ),
        _pointwise(
            "written",
            "three criteria scored from 1 to 5, with reasons",
            lambda model: Static(model, _FEW, WRITTEN),
            "score.txt",
            slow=True,
        ),
        _pointwise(
            "dynamic",
            "criteria chosen for each query, scored with reasons",
            lambda model: Dynamic(model, settings=WRITTEN),
            "select.txt",
            "score.txt",
            slow=True,
        ),
        Method(
            "written-pairs",
            "a reason and a decision, in both orders",
            lambda model: WrittenPairs(model, WRITTEN),
            slow=True,
            wording=("compare.txt", "which_reasoned.txt"),
        ),
        _pointwise(
            "checks",
            "code: refusal, repetition, relevance",
            lambda model: Checks([Refusal(), Repetition(), Relevance()]),
            asks=False,
        ),
        Method("longer", "the longer reply wins", lambda model: Longer(), asks=False),
    )
}


def named(names: str | None) -> tuple[Method, ...]:
    """Methods by their names, comma-separated; None is all that are not slow.

    Raises `SettingsError` for a name there is none of.
    """
    if names is None:
        return tuple(method for method in METHODS.values() if not method.slow)
    if names.strip() == "all":
        return tuple(METHODS.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in METHODS]
    if unknown or not wanted:
        given = ", ".join(map(repr, unknown)) or repr(names)
        raise SettingsError(
            f"{given} is no way to judge. Known are {', '.join(METHODS)}; or write all."
        )
    return tuple(METHODS[name] for name in dict.fromkeys(wanted))


def _failures(verdicts: Sequence[Verdict]) -> str:
    reasons = {verdict.failed or "no score" for verdict in verdicts if verdict.reward is None}
    return "; ".join(sorted(reasons))
