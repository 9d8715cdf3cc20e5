"""What a judge's margins are worth: from how sure it says it is to how often people agree.

    calibration = fit(margins, first_was_better)      # margins as `methods.margin` gives them
    calibration(0.7)                                  # the probability that people prefer the first
    weights = fit_weights(margins_NM, first_was_better)

A judge's own probabilities are no probabilities: a small model says 0.9 and is right half of the
time. Calibration is a rising curve through zero, since exchanging the two replies must exchange the
answer: f(-m) = 1 - f(m). With many labels it is isotonic regression (pool adjacent violators;
Zadrozny and Elkan 2002), with few Platt's logistic slope (1999), without an intercept for the same
reason. A judge that knows nothing gets the flat line at a half.

Both are written out: they are thirty lines of numpy, and scikit-learn, which has them, brings a
hundred megabytes. The tests compare with it where it is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trueup.errors import DataError

Floats = NDArray[np.float64]

ENOUGH_FOR_ISOTONIC = 300
"""Labels from which the curve may have any rising shape; fewer would be fitted, not learnt."""
RIDGE = 1.0
"""Pull towards weights of zero, in labels: as if one more had said nothing."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A rising curve from margins to probabilities."""

    kind: Literal["platt", "isotonic"]
    margins: tuple[float, ...]
    """Where the curve bends, upwards from the half that it is at 0; for Platt the slope alone."""
    shares: tuple[float, ...] = ()
    """The probability at each bend, from a half up; straight lines between."""
    n: int = 0
    """How many labels it rests on."""

    def __call__(self, margin: float) -> float:
        """The probability that people prefer the first reply."""
        if self.kind == "platt":
            return float(1 / (1 + np.exp(-np.clip(self.margins[0] * margin, -30, 30))))
        size = float(np.interp(abs(margin), (0.0, *self.margins), (0.5, *self.shares)))
        return size if margin >= 0 else 1 - size

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": self.kind, "margins": self.margins, "shares": self.shares, "n": self.n}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Calibration:
        """What `to_dict` gave. Raises `DataError`."""
        try:
            kind = found["kind"]
            margins = tuple(float(one) for one in found["margins"])
            shares = tuple(float(one) for one in found["shares"])
            usable = len(margins) == (1 if kind == "platt" else len(shares)) and margins
            if kind not in ("platt", "isotonic") or not usable:
                raise ValueError(kind)
            return cls(kind, margins, shares, int(found["n"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"A calibration cannot be read ({error!r}): measure again with `trueup judge`."
            ) from error


def fit(margins: Sequence[float], first_was_better: Sequence[bool]) -> Calibration:
    """The calibration of these decisions: isotonic with many, Platt with few."""
    if len(margins) >= ENOUGH_FOR_ISOTONIC:
        return isotonic(margins, first_was_better)
    return platt(margins, first_was_better)


def platt(margins: Sequence[float], first_was_better: Sequence[bool]) -> Calibration:
    """A logistic curve; its slope is never negative, for a judge that errs is not an oracle."""
    column = np.asarray(margins, dtype=np.float64).reshape(-1, 1)
    slope = float(fit_weights(column, first_was_better)[0]) if len(column) else 0.0
    return Calibration("platt", (max(0.0, slope),), n=len(column))


def isotonic(margins: Sequence[float], first_was_better: Sequence[bool]) -> Calibration:
    """The rising curve that fits best, by squares. Margins of either sign tell of both."""
    m = np.asarray(margins, dtype=np.float64)
    right = np.where(m >= 0, first_was_better, np.logical_not(first_was_better)).astype(float)
    right = np.where(m == 0, 0.5, right)
    order = np.argsort(np.abs(m), kind="stable")
    xs, means = _rising(np.abs(m)[order], right[order])
    shares = np.maximum(0.5, means)
    return Calibration("isotonic", tuple(xs.tolist()), tuple(shares.tolist()), len(m))


def _rising(xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
    """Pool adjacent violators: the ends of each level stretch, and the mean on it."""
    # Equal places are one observation to begin with.
    places, where = np.unique(xs, return_inverse=True)
    sizes = np.bincount(where).astype(float)
    sums = np.bincount(where, weights=ys)
    blocks: list[list[float]] = []  # first place, last place, sum, size
    for place, total, size in zip(places, sums, sizes, strict=True):
        blocks.append([place, place, total, size])
        while len(blocks) > 1 and blocks[-2][2] * blocks[-1][3] >= blocks[-1][2] * blocks[-2][3]:
            _, last, total, size = blocks.pop()
            blocks[-1][1] = last
            blocks[-1][2] += total
            blocks[-1][3] += size
    ends, means = [], []
    for first, last, total, size in blocks:
        for place in dict.fromkeys((first, last)):
            ends.append(place)
            means.append(total / size)
    return np.asarray(ends), np.asarray(means)


def fit_weights(
    margins_NM: Floats,
    first_was_better: Sequence[bool],
    ridge: float = RIDGE,
) -> Floats:
    """How much each judge's margin counts in log-odds: ridge logistic regression by Newton's steps.

    `margins_NM` has a row for each comparison and a column for each judge; a margin that is missing
    is 0, which says nothing. No intercept: exchanging the replies must exchange the answer. Weights
    are pulled towards zero in units of each judge's own spread, so that scales do not matter.
    """
    x = np.nan_to_num(np.asarray(margins_NM, dtype=np.float64))
    y = np.asarray(first_was_better, dtype=np.float64)
    spread = np.sqrt(np.mean(x**2, axis=0)) if len(x) else np.ones(x.shape[1])
    spread = np.where(spread > 0, spread, 1.0)
    z = x / spread
    weights = np.zeros(z.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(z @ weights, -30, 30)))
        slope = z.T @ (y - p) - ridge * weights
        bend = (z * (p * (1 - p))[:, None]).T @ z + ridge * np.eye(len(weights))
        step = np.linalg.solve(bend, slope)
        weights = weights + step
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    return np.asarray(weights / spread)


def log_loss(shares: Sequence[float], first_was_better: Sequence[bool]) -> float:
    """Mean surprise at what people said, in nats; a coin's is 0.693."""
    p = np.clip(np.asarray(shares, dtype=np.float64), 1e-6, 1 - 1e-6)
    y = np.asarray(first_was_better, dtype=bool)
    return float(-np.mean(np.log(np.where(y, p, 1 - p))))
