"""How sure: intervals, tests and sample sizes for scores and rates, before against after.

    mean_interval([4.0, 3.5, None, 5.0], bounds=(1, 5))     # Interval(4.17, low, high, n=3, ...)
    paired_difference(before, after)                        # the same queries, in the same order
    paired_difference(before, after, strata=should_answer)  # mean of the strata's differences

A missing value (None or NaN: a judgement that failed) is left out, in pairs where there are pairs,
and counted; it is never a zero. Nothing to say is None, not a number.

Which interval is chosen by what the values look like, because no one interval holds its 95% on
all of them; `benchmarks/intervals.py` measures each where it is used:

    yes or no             Wilson's score interval (1927)
    yes or no, strata     adjusted Wald: Agresti and Caffo's pseudo-counts (2000)
    yes/no differences    adjusted Wald: one pseudo-difference each way (Bonett and Price 2012),
                          shared out among the strata; also for scores that mostly tie
    anything else         t, corrected for skewness by Hall's transformation (JRSS B 1992)

The percentile-t bootstrap is here too (`bootstrap_interval`). It covered no better than Hall's
closed form and much worse at a ceiling of the scale, where a sample has hardly two values.
Plain t intervals covered 87 to 94% there and on skewed values.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trueup.errors import SettingsError
from trueup.evaluation.formulas import (
    Floats,
    adjusted_wald,
    mean_of_means,
    normal_quantile,
    skewed_t,
    standard_error,
    upper_tail,
)

CONFIDENCE = 0.95
SPARSE = 0.5
"""Share of differences that are exactly zero from which they are treated like yes/no ones."""

MOST_SIGNS = 4_000_000
"""Random signs held at a time: what the test takes of memory does not grow with the pairs."""

Values = Sequence[float | None] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the range that holds the truth in 95 of 100 such studies."""

    value: float
    low: float
    high: float
    n: int
    """How many values (or pairs) it rests on."""
    missing: int = 0
    """How many were left out because a value was missing."""
    method: str = ""

    def excludes(self, number: float) -> bool:
        """Whether the number lies outside: for a difference, `excludes(0)` is 'clearly changed'."""
        return number < self.low or number > self.high

    def to_dict(self) -> dict[str, Any]:
        """For JSON: an end that is not known (one value alone) is null."""
        fields = asdict(self)
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in fields.items()
        }


@dataclass(frozen=True, slots=True)
class WinsTiesLosses:
    """Wins, ties and losses of `after` over `before`."""

    wins: int
    ties: int
    losses: int
    missing: int = 0


def mean_interval(
    values: Values,
    *,
    strata: Sequence[Hashable] | None = None,
    bounds: tuple[float, float] | None = None,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """The mean of the values, or of the means of their strata, each stratum weighing the same.

    `bounds` are the ends of the scale, if it has any: what lets a sample of equal values have an
    interval, and one of nothing but ends be taken for yes and no. One of them may be infinite: then
    the interval keeps to the other, and no more. None where there are no values, or none in one of
    the strata.
    """
    parts, missing = _parts(values, strata)
    if parts is None:
        return None
    everything = np.concatenate(parts)
    low, high = bounds or (-math.inf, math.inf)
    scale = (low, high) if math.isfinite(high - low) else None
    if scale is not None and np.isin(everything, scale).all():
        if len(parts) > 1:
            ends = adjusted_wald(parts, low, high, 2 / len(parts), confidence)
            return _clipped(ends, parts, missing, low, high, "adjusted Wald")
        share = proportion_interval(int((everything == high).sum()), len(everything), confidence)
        return _on_scale(share, low, high, missing)
    if np.ptp(everything) == 0:
        return _constant(float(everything[0]), len(everything), missing, scale, confidence)
    ends = skewed_t(parts, confidence)
    return _clipped(ends, parts, missing, low, high, "skewed t")


def rate_interval(
    values: Sequence[bool | None],
    *,
    strata: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """The share of true values, or the mean of the strata's shares."""
    numbers = [None if value is None else float(value) for value in values]
    return mean_interval(numbers, strata=strata, bounds=(0.0, 1.0), confidence=confidence)


def proportion_interval(
    successes: int, n: int, confidence: float = CONFIDENCE, missing: int = 0
) -> Interval:
    """Wilson's score interval of a share. `n` at least 1."""
    if not 0 <= successes <= n or n < 1:
        raise SettingsError(f"{successes} of {n} is no share. Give 0 <= successes <= n, n >= 1.")
    z = normal_quantile(confidence)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(share, low, high, n, missing, "Wilson")


def paired_difference(
    before: Values,
    after: Values,
    *,
    strata: Sequence[Hashable] | None = None,
    bounds: tuple[float, float] | None = None,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """Mean of after minus before over the same queries, or the mean over the strata of that.

    `bounds` are the ends of the scale both were measured on. A pair with a missing value is left
    out and counted. None where no pair is left, or none in one of the strata.
    """
    parts, missing = _parts(differences(before, after), strata)
    if parts is None:
        return None
    span = bounds[1] - bounds[0] if bounds else math.inf
    everything = np.concatenate(parts)
    changed = everything[everything != 0]
    sizes = np.unique(np.abs(changed))
    alike = all(len(np.unique(part)) == 1 for part in parts)
    if len(sizes) <= 1 or alike or np.mean(everything == 0) >= SPARSE:
        # Yes/no answers, or so few changes that their number is what is uncertain.
        typical = float(np.sqrt(np.mean(changed**2))) if len(changed) else span
        if not math.isfinite(typical):  # nothing changed at all, on a scale without ends
            return Interval(0.0, 0.0, 0.0, len(everything), missing, "no change")
        freedom = len(everything) if len(sizes) > 1 else math.inf
        ends = adjusted_wald(parts, -typical, typical, 1 / len(parts), confidence, freedom)
        return _clipped(ends, parts, missing, -span, span, "adjusted Wald")
    return _clipped(skewed_t(parts, confidence), parts, missing, -span, span, "skewed t")


def differences(before: Values, after: Values) -> Floats:
    """After minus before, NaN where either is missing."""
    first, second = _floats(before), _floats(after)
    if len(first) != len(second):
        raise SettingsError(
            f"{len(first)} values before and {len(second)} after are not pairs. "
            "Give both for the same queries in the same order."
        )
    return second - first


def bootstrap_interval(
    values: Values,
    *,
    strata: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Percentile-t bootstrap of the mean (of the strata's means), resampled within strata.

    For a paired bootstrap give it `differences(before, after)`.
    """
    parts, missing = _parts(values, strata)
    if parts is None:
        return None
    rng = np.random.default_rng(seed)
    means, variances = [], []
    for part in parts:
        drawn = part[rng.integers(0, len(part), (resamples, len(part)))]
        means.append(drawn.mean(axis=1))
        variances.append(drawn.var(axis=1, ddof=min(1, len(part) - 1)) / len(part))
    centre, error = mean_of_means(parts), standard_error(parts)
    errors = np.sqrt(np.sum(variances, axis=0)) / len(parts)
    usable = errors > 0
    if error == 0 or not usable.any():
        return _clipped((centre, centre), parts, missing, -math.inf, math.inf, "bootstrap t")
    ratios = (np.mean(means, axis=0)[usable] - centre) / errors[usable]
    tail = upper_tail(confidence)
    upper, lower = np.quantile(ratios, [tail, 1 - tail])
    ends = (centre - float(upper) * error, centre - float(lower) * error)
    return _clipped(ends, parts, missing, -math.inf, math.inf, "bootstrap t")


def permutation_p(
    before: Values,
    after: Values,
    *,
    strata: Sequence[Hashable] | None = None,
    permutations: int = 9999,
    seed: int = 0,
) -> float | None:
    """Two-sided p value of 'before and after are exchangeable', by flipping signs of pairs.

    Exact for up to 13 changed pairs, else by `permutations` random flips; never zero.
    """
    parts, _ = _parts(differences(before, after), strata)
    if parts is None:
        return None
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts])
    changes = np.concatenate(parts) * weights
    changes = changes[changes != 0]
    seen = abs(changes.sum()) - 1e-12 * np.abs(changes).sum()
    if len(changes) <= 13:
        codes = np.arange(2 ** len(changes))[:, None] >> np.arange(len(changes)) & 1
        return float(np.mean(np.abs((1 - 2 * codes) @ changes) >= seen))
    rng = np.random.default_rng(seed)
    extreme = 0
    at_once = max(1, min(1000, MOST_SIGNS // len(changes)))
    for start in range(0, permutations, at_once):
        count = min(at_once, permutations - start)
        signs = rng.integers(0, 2, (count, len(changes))) * 2 - 1
        extreme += int((np.abs(signs @ changes) >= seen).sum())
    return (extreme + 1) / (permutations + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for there being several (Holm 1979), in the order given."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = largest
    return adjusted


def wins_ties_losses(before: Values, after: Values, margin: float = 0.0) -> WinsTiesLosses:
    """How often after beats before by more than `margin`, and the other way round."""
    change = differences(before, after)
    there = change[~np.isnan(change)]
    wins, losses = int((there > margin).sum()), int((there < -margin).sum())
    return WinsTiesLosses(wins, len(there) - wins - losses, losses, len(change) - len(there))


def sample_size(
    difference: float, deviation: float, *, power: float = 0.8, confidence: float = CONFIDENCE
) -> int:
    """Pairs needed so that a true difference is seen (interval clear of zero) with this power.

    `deviation` is the standard deviation of the paired differences. The normal formula with the
    usual allowance for estimating the deviation (Guenther 1981).
    """
    if difference == 0 or deviation < 0 or not 0 < power < 1:
        raise SettingsError(
            "A sample size needs a difference other than zero, a deviation from zero up and a "
            "power between 0 and 1."
        )
    z = normal_quantile(confidence)
    wanted = ((z + NormalDist().inv_cdf(power)) * deviation / difference) ** 2 + z * z / 2
    return max(2, math.ceil(wanted))


def _on_scale(share: Interval, low: float, high: float, missing: int) -> Interval:
    """A share of the upper of two values, as their mean."""
    value, bottom, top = (low + (high - low) * x for x in (share.value, share.low, share.high))
    return Interval(value, bottom, top, share.n, missing, share.method)


def _constant(
    value: float,
    n: int,
    missing: int,
    bounds: tuple[float, float] | None,
    confidence: float,
) -> Interval:
    """All values equal: how many others may there be, and how far away on the scale?"""
    if bounds is None:
        known = n > 1
        ends = (value, value) if known else (-math.inf, math.inf)
        return Interval(value, *ends, n, missing, "no spread" if known else "one value")
    others = proportion_interval(0, n, confidence).high
    low = value - (value - bounds[0]) * others
    return Interval(value, low, value + (bounds[1] - value) * others, n, missing, "Wilson")


def _clipped(
    ends: tuple[float, float],
    parts: list[Floats],
    missing: int,
    low: float,
    high: float,
    method: str,
) -> Interval:
    n = sum(len(part) for part in parts)
    centre = mean_of_means(parts)
    if method == "skewed t" and any(len(part) < 2 for part in parts):
        ends, method = (-math.inf, math.inf), "one value"
    return Interval(
        centre,
        min(centre, max(low, ends[0])),
        max(centre, min(high, ends[1])),
        n,
        missing,
        method,
    )


def _floats(values: Values) -> Floats:
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _parts(values: Values, strata: Sequence[Hashable] | None) -> tuple[list[Floats] | None, int]:
    """The values that are there per stratum, and how many are missing; None if a part is empty."""
    numbers = _floats(values)
    there = ~np.isnan(numbers)
    missing = int((~there).sum())
    if strata is None:
        return ([numbers[there]] if there.any() else None), missing
    if len(strata) != len(numbers):
        raise SettingsError(
            f"{len(numbers)} values but {len(strata)} strata. Give each value its stratum."
        )
    members: dict[Hashable, list[int]] = {}
    for i, stratum in enumerate(strata):
        members.setdefault(stratum, []).append(i)
    parts = [numbers[rows][there[rows]] for rows in members.values()]
    return (parts if parts and all(len(part) for part in parts) else None), missing
