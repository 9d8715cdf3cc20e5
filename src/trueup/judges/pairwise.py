"""Which of two replies is better: asked in both orders, because models favour a place.

    compare = LikelihoodPairs(model)         # one token per order, read off its probabilities
    compare = WrittenPairs(model)            # a reason and a decision per order
    preference = await compare(query, first, second)
    preference.better, preference.p, preference.consistent

Every pair is asked at least twice, each reply once in each place. The orders' probabilities are
averaged as log-odds, so that a liking for a place, or for the letter A, cancels out; `consistent`
says whether all askings agreed. With `swap_labels` each order is also asked with the letters
exchanged, which tells a liking for the letter from a liking for the place (as RAIN does for its
self-evaluation, arXiv 2309.07124). A written decision that flips with the order is a tie.

A preference that could not be read has failed, with the reason; it is not a tie.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from trueup.judges.ask import Failure, Said, Unreadable, ask
from trueup.judges.criteria import Criterion
from trueup.judges.likelihood import Option, weigh
from trueup.judges.scoring import Judging, exactly, shown
from trueup.judges.template import Template, fenced, shortened
from trueup.models.model import Model
from trueup.types import HIGHEST_SCORE, LOWEST_SCORE, Message, Query, Verdict

Better = Literal["first", "second", "tie"]


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two replies is better, and how sure that is."""

    better: Better | None
    """None when the comparison failed."""
    p: float | None = None
    """The probability that the first is better, 0 to 1; a half is a tie."""
    consistent: bool = False
    """Whether every asking favoured the same reply, or none favoured any."""
    askings: tuple[float, ...] = ()
    """`p` of each asking: first shown first, second shown first, then the same, letters swapped."""
    failed: str | None = None
    """Why there is no preference, or None."""
    verdicts: tuple[Verdict, Verdict] | None = None
    """What was said of each reply, where each was scored alone."""


class PairJudge(Protocol):
    """Compares two replies to a query."""

    async def __call__(self, query: Query, first: str, second: str) -> Preference: ...


def greater(one: float, other: float) -> Better:
    """Which of two numbers is the greater."""
    return "tie" if one == other else "first" if one > other else "second"


def by_scores(one: float, other: float) -> Preference:
    """What two scores on the scale say of two replies: as far apart as can be is certain."""
    p = 0.5 + (one - other) / (2 * (HIGHEST_SCORE - LOWEST_SCORE))
    return Preference(greater(one, other), p, True)


def margin(preference: Preference) -> float | None:
    """What a preference thinks, as log-odds of `p`; None where it failed. A tie is 0."""
    if preference.p is None or preference.failed is not None:
        return None
    return 0.0 if preference.better == "tie" else _log_odds(preference.p)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One way to put the pair before the judge."""

    first_is_shown_first: bool = True
    first_is_a: bool = True


ORDERS = (Arrangement(True, True), Arrangement(False, False))
"""Each reply once in each place; the one shown first is always A."""
SWAPPED = (Arrangement(True, False), Arrangement(False, True))
"""The same with the letters exchanged: the one shown first is B."""


class LikelihoodPairs:
    """Compares by the probability of the letters. A `PairJudge`."""

    def __init__(
        self,
        model: Model,
        criterion: Criterion | None = None,
        *,
        swap_labels: bool = False,
        tie_within: float = 0.0,
        reply_characters: int = 12_000,
    ) -> None:
        """`tie_within` is how far from a half `p` may be and still be called a tie."""
        self._model = model
        self._arrangements = ORDERS + SWAPPED if swap_labels else ORDERS
        self._tie_within = tie_within
        self._limit = reply_characters
        self._template = Template.from_file("compare.txt", beside=__file__)
        if criterion is None:
            self._question = Template.from_file("which.txt", beside=__file__).text
        else:
            which = Template.from_file("which_criterion.txt", beside=__file__)
            self._question = which.fill(good=criterion.good)

    async def __call__(self, query: Query, first: str, second: str) -> Preference:
        """Ask in every arrangement, and average."""
        # One after the other: what they have in common, rules and query, is then read once.
        askings = [await self._asked(query, first, second, one) for one in self._arrangements]
        read = [asking for asking in askings if not isinstance(asking, Failure)]
        if len(read) < len(askings):  # one order alone would be position bias
            return _failed(askings)
        p = _from_log_odds(sum(_log_odds(one) for one in read) / len(read))
        return _preference(p, read, self._tie_within)

    async def _asked(
        self, query: Query, first: str, second: str, arrangement: Arrangement
    ) -> float | Failure:
        messages = _messages(
            self._template, self._question, query, first, second, arrangement, self._limit
        )
        options = (Option(("a",), 1.0), Option(("b",), 0.0))
        weights = await weigh(self._model, messages, options)
        if isinstance(weights, Failure):
            return weights
        return weights.shares[0 if arrangement.first_is_a else 1]


class WrittenPairs:
    """Compares by a reasoned decision, once per order. A `PairJudge`."""

    def __init__(self, model: Model, settings: Judging = Judging()) -> None:  # noqa: B008
        self._model = model
        self._settings = settings
        self._template = Template.from_file("compare.txt", beside=__file__)
        self._question = Template.from_file("which_reasoned.txt", beside=__file__).text

    async def __call__(self, query: Query, first: str, second: str) -> Preference:
        """Ask in both orders at once; decisions that contradict each other make a tie."""
        askings = await asyncio.gather(
            *(self._asked(query, first, second, order) for order in ORDERS)
        )
        read = [asking for asking in askings if not isinstance(asking, Failure)]
        if len(read) < len(askings):
            return _failed(askings)
        return _preference(sum(read) / len(read), read, 0.0)

    async def _asked(
        self, query: Query, first: str, second: str, arrangement: Arrangement
    ) -> float | Failure:
        limit = self._settings.reply_characters
        messages = _messages(
            self._template, self._question, query, first, second, arrangement, limit
        )
        schema = exactly(
            {
                "reason": {"type": "string", "maxLength": self._settings.reason_characters},
                "better": {"type": "string", "enum": ["A", "B", "tie"]},
            }
        )
        letter = await ask(
            self._model,
            messages,
            schema,
            _read_letter,
            attempts=self._settings.attempts,
            sampling=self._settings.sampling,
        )
        if isinstance(letter, Failure):
            return letter
        if letter == "tie":
            return 0.5
        return 1.0 if (letter == "a") == arrangement.first_is_a else 0.0


def _messages(
    template: Template,
    question: str,
    query: Query,
    first: str,
    second: str,
    arrangement: Arrangement,
    limit: int,
) -> tuple[Message, ...]:
    labels = ("answer_a", "answer_b") if arrangement.first_is_a else ("answer_b", "answer_a")
    texts = list(zip(labels, (shortened(first, limit), shortened(second, limit)), strict=True))
    if not arrangement.first_is_shown_first:
        texts.reverse()
    parts = fenced(query=shortened(shown(query), limit), **dict(texts))
    return template.messages(
        query=parts["query"],
        shown_first=parts[texts[0][0]],
        shown_second=parts[texts[1][0]],
        question=question,
    )


class _Decision(BaseModel):
    reason: Said = ""
    better: Said


def _read_letter(data: Any) -> Literal["a", "b", "tie"]:
    said = _Decision.model_validate(data).better.casefold().strip(" .\"'*")
    match said.removeprefix("answer").strip():
        case "a":
            return "a"
        case "b":
            return "b"
        case "tie" | "equal" | "neither" | "both":
            return "tie"
    raise Unreadable('"better" was neither "A" nor "B" nor "tie"')


def _preference(p: float, askings: Sequence[float], tie_within: float) -> Preference:
    better: Better = "first" if p > 0.5 else "second"
    if math.isclose(p, 0.5) or abs(p - 0.5) <= tie_within:
        better = "tie"
    sides = {(one > 0.5) - (one < 0.5) for one in askings}
    return Preference(better, p, len(sides) == 1, tuple(askings))


def _failed(askings: Sequence[float | Failure]) -> Preference:
    reasons = {asking.reason for asking in askings if isinstance(asking, Failure)}
    return Preference(None, failed="; ".join(sorted(reasons)))


def _log_odds(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def _from_log_odds(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
