"""A confidence sequence stays true however often it is looked at."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import SettingsError
from trueup.evaluation.sequential import ConfidenceSequence


def looked_at_throughout(values: np.ndarray) -> list[tuple[float, float]]:
    sequence = ConfidenceSequence(-1, 1)
    seen = []
    for value in values:
        sequence.add(float(value))
        seen.append((sequence.interval.low, sequence.interval.high))
    return seen


@pytest.mark.parametrize("changed", [0.6, 0.1])
def test_false_alarms_are_few_under_continuous_peeking(changed: float) -> None:
    rng = np.random.default_rng(0)
    draws = rng.choice([-1.0, 0.0, 1.0], p=[changed / 2, 1 - changed, changed / 2], size=(150, 200))
    alarms = sum(any(low > 0 or high < 0 for low, high in looked_at_throughout(d)) for d in draws)
    assert alarms / len(draws) <= 0.05 + 0.03  # and less than two standard errors of chance


def test_a_difference_is_found_and_the_interval_closes_in() -> None:
    draws = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], p=[0.1, 0.5, 0.4], size=400)
    seen = looked_at_throughout(draws)
    low, high = seen[-1]
    assert 0 < low < 0.3 < high < 0.5
    assert all(one[0] <= two[0] and one[1] >= two[1] for one, two in pairwise(seen))


def test_zero_is_excluded_when_the_gambler_has_twenty_times_the_stake() -> None:
    sequence = ConfidenceSequence(-1, 1)
    half_stake, spread, n = 0.5, 0.25, 0
    while half_stake < 20:
        assert not sequence.interval.excludes(0)
        sequence.add(1.0)
        bet = math.sqrt(2 * math.log(40) / (spread / (n + 1) * (n + 1) * math.log(n + 2)))
        half_stake *= 1 + min(bet, 1.0) * 0.5  # against a mean half way up the scale
        n += 1
        spread += (1 - (0.5 + n) / (n + 1)) ** 2
    assert sequence.interval.excludes(0)


@given(st.lists(st.none() | st.floats(1, 5), max_size=60))
def test_the_interval_stays_on_the_scale(values: list[float | None]) -> None:
    sequence = ConfidenceSequence(1, 5)
    for value in values:
        sequence.add(value)
    there = [value for value in values if value is not None]
    found = sequence.interval
    assert 1 <= found.low < found.high <= 5
    assert (found.n, found.missing) == (len(there), len(values) - len(there))
    assert found.value == pytest.approx(np.mean(there) if there else 3.0)


def test_wrong_use_is_said() -> None:
    with pytest.raises(SettingsError, match="low < high"):
        ConfidenceSequence(1, 1)
    with pytest.raises(SettingsError, match="outside -1 to 1"):
        ConfidenceSequence(-1, 1).add(2)
