"""The arithmetic under the intervals: t with skewness, adjusted Wald, Student's quantile.

    low, high = skewed_t([values], 0.95)
    low, high = adjusted_wald([harmful, harmless], -1, 1, pseudo=0.5, confidence=0.95)

A sample comes as a list of its strata, none of them empty, and what is estimated is the mean of
the strata's means. `statistics` chooses which of these to use and says what is missing. Student's
quantile is written out because scipy is a large thing to install for one number.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trueup.errors import SettingsError

Floats = NDArray[np.float64]


def skewed_t(parts: list[Floats], confidence: float) -> tuple[float, float]:
    """t interval of the mean of means with Hall's cubic correction for skewness."""
    share = 1 / len(parts)
    centre, error = mean_of_means(parts), standard_error(parts)
    if error == 0:
        return centre, centre
    skew = sum(share**3 * float(np.mean((p - p.mean()) ** 3)) / len(p) ** 2 for p in parts)
    skew /= error**3
    q = student_quantile(upper_tail(confidence), _freedom(parts))

    def corrected(t: float) -> float:
        if abs(skew) < 1e-6:
            return t
        return float(np.cbrt(1 + skew * (t - skew / 6)) - 1) * 3 / skew

    return centre - error * corrected(q), centre - error * corrected(-q)


def adjusted_wald(
    parts: list[Floats],
    low: float,
    high: float,
    pseudo: float,
    confidence: float,
    freedom: float = math.inf,
) -> tuple[float, float]:
    """Interval after adding `pseudo` observations at `low` and at `high` to each part.

    Normal for yes and no, whose spread follows from the share; with `freedom` Student's where the
    spread was estimated.
    """
    centre, variance = 0.0, 0.0
    for part in parts:
        n = len(part) + 2 * pseudo
        mean = (float(part.sum()) + pseudo * (low + high)) / n
        square = (float((part**2).sum()) + pseudo * (low**2 + high**2)) / n
        centre += mean / len(parts)
        variance += max(0.0, square - mean**2) / n / len(parts) ** 2
    known = math.isinf(freedom)
    tail = upper_tail(confidence)
    quantile = NormalDist().inv_cdf(tail) if known else student_quantile(tail, freedom)
    half = quantile * math.sqrt(variance)
    return centre - half, centre + half


def mean_of_means(parts: list[Floats]) -> float:
    """The mean of the strata's means: `parts` are the strata, each weighing the same."""
    return float(np.mean([part.mean() for part in parts]))


def standard_error(parts: list[Floats]) -> float:
    """Of `mean_of_means`; 0.0, for not known, where a stratum has fewer than two values."""
    if any(len(part) < 2 for part in parts):
        return 0.0
    return math.sqrt(sum(float(part.var(ddof=1)) / len(part) for part in parts)) / len(parts)


def _freedom(parts: list[Floats]) -> float:
    """Welch and Satterthwaite's degrees of freedom."""
    errors = [float(part.var(ddof=1)) / len(part) for part in parts]
    return sum(errors) ** 2 / sum(e**2 / (len(p) - 1) for e, p in zip(errors, parts, strict=True))


def normal_quantile(confidence: float) -> float:
    """Half the width of a two-sided normal interval, in standard errors."""
    return NormalDist().inv_cdf(upper_tail(confidence))


def upper_tail(confidence: float) -> float:
    """The probability below the upper end of a two-sided interval: 0.975 for 0.95."""
    if not 0 < confidence < 1:
        raise SettingsError(f"A confidence of {confidence} is none. Give one between 0 and 1.")
    return (1 + confidence) / 2


@lru_cache(maxsize=4096)
def student_quantile(probability: float, freedom: float) -> float:
    """The t below which a Student variable with `freedom` degrees stays with `probability`."""
    if probability < 0.5:
        return -student_quantile(1 - probability, freedom)
    low, high = 0.0, 1.0
    while _student_tail(high, freedom) > 1 - probability and high < 1e12:
        low, high = high, high * 2
    for _ in range(80):
        middle = (low + high) / 2
        if _student_tail(middle, freedom) > 1 - probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _student_tail(t: float, freedom: float) -> float:
    """P(T > t) for t >= 0, through the incomplete beta function."""
    return 0.5 * _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised, by its continued fraction (DLMF 8.17.22) evaluated from the front."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 1000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + step * d), 1 + step / c
            fraction *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return front * fraction
