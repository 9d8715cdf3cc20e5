"""Is this judge to be trusted? Its decisions beside those of people.

    decisions = [Decision(pair, await compare(pair.query, pair.first, pair.second)) for pair in ...]
    found = agreement(decisions)
    found.agreement                    # Interval(0.56, low, high, n): ties count half
    found.at_chance                    # whether 0.5 lies within
    found.where_shorter_is_right       # a judge that counts words fails here

A judge is at chance when its interval holds a half: nothing shows that it knows more than a coin. A
verdict that could not be read is no decision; it is left out and counted. People agree with each
other on 65 to 85% of such comparisons (MT-bench, arXiv 2306.05685), so 1 is not to be had.

Here rather than in `judges` because the intervals are: judges know nothing of statistics.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from trueup.evaluation.statistics import Interval, mean_interval, paired_difference, rate_interval
from trueup.judges.pairwise import Preference, by_scores, margin
from trueup.types import Pair, Usage

SHARE = (0.0, 1.0)
FEWEST = 8
"""Decisions that a figure of a part (one length, one model) rests on at least."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A judge's preference beside people's."""

    pair: Pair
    preference: Preference
    usage: Usage = Usage()
    """Of all its calls."""
    seconds: float = 0.0
    """Summed over its calls, as they were when they were paid."""
    again: Preference | None = None
    """The same asked a second time, where it was."""

    @property
    def right(self) -> float | None:
        """1 where it agrees with people, a half for a tie, None where nothing could be read."""
        return _right(self.pair, self.preference)

    @property
    def longer_is_right(self) -> bool | None:
        """Whether people preferred the longer reply; None where both are as long."""
        lengths = len(self.pair.first), len(self.pair.second)
        if lengths[0] == lengths[1]:
            return None
        return (lengths[0] > lengths[1]) == (self.pair.better == "first")


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a judge's decisions are worth. A part with too few of them is None."""

    n: int
    """Comparisons shown to it."""
    agreement: Interval | None
    """With people; ties count half."""
    unreadable: Interval | None
    """Share of comparisons of which no verdict could be read."""
    ties: float | None
    """Share of the readable that it called ties."""
    position: Interval | None
    """How often an asking favoured the reply shown first: 0.5 is no liking for a place."""
    one_order: Interval | None
    """Agreement when only the first order is asked: what both orders mend."""
    consistent: Interval | None
    """Share of comparisons on which both orders favoured the same reply."""
    where_longer_is_right: Interval | None
    where_shorter_is_right: Interval | None
    longer: Interval | None
    """How often it favoured the longer reply, people's share subtracted: above 0 it likes length
    more than they do."""
    length_balanced: Interval | None
    """The mean of the two: a judge that only counts words has 0.5."""
    length_controlled: Interval | None
    """Agreement after what length predicts of its margins was taken out, without labels."""
    own: dict[str, Interval]
    """By model: how much oftener than people it favoured that model's replies."""
    retest: Interval | None
    """Share of decisions that were the same when asked again."""
    tokens_in: float
    """A comparison, like what follows."""
    tokens_out: float
    cached: float
    """Share of the input tokens that the server did not compute again."""
    seconds: float

    @property
    def at_chance(self) -> bool:
        """Whether nothing shows that it knows more than a coin."""
        return self.agreement is None or self.agreement.low <= 0.5

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for name in found:
            value = getattr(self, name)
            if isinstance(value, Interval):
                found[name] = value.to_dict()
        found["own"] = {name: interval.to_dict() for name, interval in self.own.items()}
        return found | {"at_chance": self.at_chance}


def agreement(decisions: Sequence[Decision], *, by_set: bool = False) -> Agreement:
    """The figures. `by_set` weighs each source of the pairs the same, however many it gave."""
    strata = [one.pair.query.source for one in decisions] if by_set else None
    read = [one for one in decisions if one.right is not None]
    parts = [one.pair.query.source for one in read] if by_set else None
    longer = [one for one in read if one.longer_is_right is True]
    shorter = [one for one in read if one.longer_is_right is False]
    askings = [one for one in read if len(one.preference.askings) > 1]
    tokens = sum((one.usage for one in decisions), Usage())
    n = max(1, len(decisions))
    return Agreement(
        n=len(decisions),
        agreement=_mean([one.right for one in read], parts),
        unreadable=rate_interval([one.right is None for one in decisions], strata=strata),
        ties=sum(one.preference.better == "tie" for one in read) / len(read) if read else None,
        position=_mean([_shown_first(one.preference) for one in askings]),
        one_order=_mean([_first_order(one) for one in askings]),
        consistent=rate_interval([one.preference.consistent for one in askings]),
        where_longer_is_right=_part(longer),
        where_shorter_is_right=_part(shorter),
        longer=_likes_length(read),
        length_balanced=_length_balanced(longer, shorter),
        length_controlled=_mean(_without_length(read)) if len(read) >= FEWEST else None,
        own=_own(read),
        retest=_retest(decisions),
        tokens_in=tokens.tokens_in / n,
        tokens_out=tokens.tokens_out / n,
        cached=tokens.cached / tokens.tokens_in if tokens.tokens_in else 0.0,
        seconds=sum(one.seconds for one in decisions) / n,
    )


def by_criterion(decisions: Sequence[Decision]) -> dict[str, list[Decision]]:
    """The decisions that each criterion of a scoring judge would have made alone."""
    found: defaultdict[str, list[Decision]] = defaultdict(list)
    for one in decisions:
        if one.preference.verdicts is None:
            continue
        first, second = (
            {score.criterion: score.value for score in verdict.scores}
            for verdict in one.preference.verdicts
        )
        for name in [name for name in first if name in second]:
            alone = by_scores(first[name], second[name])
            found[name].append(replace(one, preference=alone, again=None))
    return dict(found)


def _right(pair: Pair, preference: Preference) -> float | None:
    if preference.failed is not None or preference.better is None:
        return None
    return 0.5 if preference.better == "tie" else float(preference.better == pair.better)


def _mean(values: Sequence[float | None], strata: Sequence[str] | None = None) -> Interval | None:
    return mean_interval(values, strata=strata, bounds=SHARE) if values else None


def _part(decisions: Sequence[Decision]) -> Interval | None:
    return _mean([one.right for one in decisions]) if len(decisions) >= FEWEST else None


def _shown_first(preference: Preference) -> float:
    """The share of askings that favoured what they showed first; half of one for a tie."""
    # Askings come as p(first is better): first shown first, then second shown first, and so on.
    favoured = [
        0.5 if p == 0.5 else float((p > 0.5) == (at % 2 == 0))
        for at, p in enumerate(preference.askings)
    ]
    return sum(favoured) / len(favoured)


def _first_order(decision: Decision) -> float:
    p = decision.preference.askings[0]
    return 0.5 if p == 0.5 else float((p > 0.5) == (decision.pair.better == "first"))


def _length_balanced(longer: Sequence[Decision], shorter: Sequence[Decision]) -> Interval | None:
    if min(len(longer), len(shorter)) < FEWEST:
        return None
    both = [*longer, *shorter]
    strata = [one.longer_is_right for one in both]
    return mean_interval([one.right for one in both], strata=strata, bounds=SHARE)


def _likes_length(decisions: Sequence[Decision]) -> Interval | None:
    unequal = [one for one in decisions if one.longer_is_right is not None]
    if len(unequal) < FEWEST:
        return None
    people = [float(one.longer_is_right is True) for one in unequal]
    judge = [
        right if wanted else 1 - right
        for wanted, right in ((one.longer_is_right, one.right or 0.0) for one in unequal)
    ]
    return paired_difference(people, judge, bounds=SHARE)


def _without_length(decisions: Sequence[Decision]) -> list[float | None]:
    """Right or wrong once each margin is less what length alone predicts of it.

    Least squares through the origin of the margin on the log ratio of lengths: exchanging the
    replies turns both round. No label is looked at.
    """
    margins = np.array([margin(one.preference) or 0.0 for one in decisions])
    lengths = np.array([length_ratio(one.pair) for one in decisions])
    square = float(lengths @ lengths)
    rest = margins - (float(lengths @ margins) / square if square else 0.0) * lengths
    first = [one.pair.better == "first" for one in decisions]
    return [
        0.5 if abs(value) < 1e-12 else float((value > 0) == wanted)
        for value, wanted in zip(rest.tolist(), first, strict=True)
    ]


def length_ratio(pair: Pair) -> float:
    """The natural logarithm of how many times longer the first reply is."""
    return math.log((len(pair.first) + 20) / (len(pair.second) + 20))


def _own(decisions: Sequence[Decision]) -> dict[str, Interval]:
    """By model: the judge's share of preferences for its replies, less people's."""
    judge: defaultdict[str, list[float]] = defaultdict(list)
    people: defaultdict[str, list[float]] = defaultdict(list)
    for one in decisions:
        if one.pair.models is None or one.pair.models[0] == one.pair.models[1]:
            continue
        right = one.right or 0.0
        for at, model in enumerate(one.pair.models):
            wanted = (one.pair.better == "first") == (at == 0)
            people[model].append(float(wanted))
            judge[model].append(right if wanted else 1 - right)
    found = {}
    for model in sorted(judge):
        gap = paired_difference(people[model], judge[model], bounds=SHARE)
        if gap is not None and gap.n >= FEWEST:
            found[model] = gap
    return found


def _retest(decisions: Sequence[Decision]) -> Interval | None:
    twice = [one for one in decisions if one.again is not None]
    return rate_interval(
        [one.again is not None and one.again.better == one.preference.better for one in twice]
    )


def pooled(decisions: Iterable[Sequence[Decision]]) -> list[Decision]:
    """Several sets' decisions as one list."""
    return [one for some in decisions for one in some]


def curve(
    decisions: Sequence[Decision], calibrated: Callable[[float], float], bins: int = 5
) -> list[dict[str, float]]:
    """Said against true: decisions in `bins` of equal size by how sure the judge was said to be."""
    sure = []
    for one in decisions:
        if (found := margin(one.preference)) is not None and one.right is not None:
            p = calibrated(found)
            sure.append((max(p, 1 - p), one.right))
    sure.sort(key=lambda one: one[0])
    parts = np.array_split(np.array(sure), min(bins, len(sure))) if sure else []
    return [
        {"said": float(part[:, 0].mean()), "true": float(part[:, 1].mean()), "n": len(part)}
        for part in parts
    ]
