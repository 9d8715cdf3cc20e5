"""Stop when it is decided: an interval that stays true however often it is looked at.

    sequence = ConfidenceSequence(-1, 1)           # differences of yes/no answers
    for difference in stream:
        sequence.add(difference)
        if sequence.interval.excludes(0):
            break                                  # at most 5% of the time by mistake, ever

An ordinary 95% interval looked at after every query excludes the truth sooner or later almost
surely. This one bets: for each possible mean it keeps the capital of a gambler who plays against
it, in both directions. Against the true mean the capital is a martingale, so it reaches 20 at any
time with probability at most 1 in 20 (Ville); means against which it did are excluded for good.
No assumption but the bounds and that the expectation stays the same. This is the hedged capital
process of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting"
(JRSS B 2024), section 4, with their predictable plug-in bets.

The price for peeking is a wider interval: 1.6 to 1.9 times the ordinary one after a thousand
values. For balanced safety add (harmful difference + harmless difference) / 2, one pair of each.
"""

from __future__ import annotations

import math

import numpy as np

from trueup.errors import SettingsError
from trueup.evaluation.statistics import CONFIDENCE, Interval

CANDIDATES = 2001
"""Possible means that are played against; the interval is exact to one part in this many."""
LARGEST_BET = 0.5
"""Of the capital that could be lost; the paper's choice."""


class ConfidenceSequence:
    """A running interval of the mean of values between `low` and `high`."""

    def __init__(self, low: float, high: float, *, confidence: float = CONFIDENCE) -> None:
        if not low < high or not 0 < confidence < 1:
            raise SettingsError(
                f"A confidence sequence from {low} to {high} at {confidence} is none. "
                "Give low < high and a confidence between 0 and 1."
            )
        self._low, self._high = low, high
        self._error = 1 - confidence
        # A step inside the ends, where a bet against the mean would have to be unbounded.
        self._means = (np.arange(CANDIDATES) + 0.5) / CANDIDATES
        self._up = np.zeros(CANDIDATES)
        self._down = np.zeros(CANDIDATES)
        self._alive = np.ones(CANDIDATES, dtype=bool)
        self._n = 0
        self._sum = 0.0
        self._missing = 0
        self._spread = 0.25
        """Pseudo-observed sum of squared deviations: one value half a scale off."""

    def add(self, value: float | None) -> None:
        """Count one more value; None (a failed judgement) is left out and counted."""
        if value is None or math.isnan(value):
            self._missing += 1
            return
        if not self._low <= value <= self._high:
            raise SettingsError(
                f"{value} is outside {self._low} to {self._high}. Give the true ends of the scale."
            )
        x = (value - self._low) / (self._high - self._low)
        bet = self._bet()
        upward = np.minimum(bet, LARGEST_BET / self._means)
        downward = np.minimum(bet, LARGEST_BET / (1 - self._means))
        self._up += np.log1p(upward * (x - self._means))
        self._down += np.log1p(-downward * (x - self._means))
        capital = np.maximum(self._up, self._down) - math.log(2)
        still = self._alive & (capital < -math.log(self._error))
        if still.any():  # else what is left lies between two candidates, or the mean has moved
            self._alive = still
        self._n += 1
        self._sum += x
        self._spread += (x - (0.5 + self._sum) / (self._n + 1)) ** 2

    @property
    def interval(self) -> Interval:
        """What is not excluded so far; it only ever shrinks. Before any value, the whole scale."""
        span = self._high - self._low
        mean = self._low + span * (self._sum / self._n if self._n else 0.5)
        left = np.flatnonzero(self._alive)
        # The truth may lie anywhere up to the next candidate that is excluded.
        first = self._means[left[0] - 1] if left[0] > 0 else 0.0
        last = self._means[left[-1] + 1] if left[-1] < CANDIDATES - 1 else 1.0
        return Interval(
            mean,
            self._low + span * float(first),
            self._low + span * float(last),
            self._n,
            self._missing,
            "betting",
        )

    def _bet(self) -> float:
        """The share of the capital put on the next value, from those before it alone."""
        t = self._n + 1
        variance = self._spread / t
        return math.sqrt(2 * math.log(2 / self._error) / (variance * t * math.log1p(t)))
