"""Intervals hold what they promise, tests err as seldom as they say, missing values are missing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trueup.errors import SettingsError
from trueup.evaluation.formulas import student_quantile
from trueup.evaluation.statistics import (
    Interval,
    WinsTiesLosses,
    bootstrap_interval,
    differences,
    holm,
    mean_interval,
    paired_difference,
    permutation_p,
    proportion_interval,
    rate_interval,
    sample_size,
    wins_ties_losses,
)

SCORES = st.lists(st.sampled_from([1.0, 2.0, 3.5, 4.0, 5.0]), min_size=2, max_size=40)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4.5, 9, 29, 99, 399, 1e5])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.9995, 0.025])
def test_students_quantile_is_scipys(freedom: float, probability: float) -> None:
    assert student_quantile(probability, freedom) == pytest.approx(
        stats.t.ppf(probability, freedom), rel=1e-9
    )


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_is_scipys(counts: tuple[int, int]) -> None:
    ours = proportion_interval(*counts)
    theirs = stats.binomtest(*counts).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_symmetric_values_get_students_interval() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    low, high = stats.t.interval(0.95, 4, loc=3, scale=np.std(values, ddof=1) / math.sqrt(5))
    assert mean_interval(values) == Interval(
        3.0, pytest.approx(low), pytest.approx(high), 5, 0, "skewed t"
    )


def test_strata_of_symmetric_values_get_welchs_interval() -> None:
    first, second = [1.0, 2.0, 3.0], [10.0, 14.0, 18.0, 22.0]
    theirs = stats.ttest_ind(second, [-x for x in first], equal_var=False).confidence_interval()
    ours = mean_interval(first + second, strata=[0] * 3 + [1] * 4)
    assert ours is not None
    assert (ours.value, 2 * ours.low, 2 * ours.high) == pytest.approx(
        (9.0, theirs.low, theirs.high)
    )


def test_skewed_values_get_halls_interval() -> None:
    """Two strata of the same values: half the variance, and half the skewness squared."""
    values = np.array([1.0, 1, 1, 2, 2, 3, 5, 9])
    for parts, strata in ((1, None), (2, [0] * 8 + [1] * 8)):
        error = stats.sem(values) / math.sqrt(parts)
        skew = stats.skew(values) * (7 / 8) ** 1.5 / math.sqrt(8 * parts)

        def studentised(t: float, skew: float = skew) -> float:
            """Hall's statistic, which is close to Student's t."""
            return t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6

        found = mean_interval(np.tile(values, parts), strata=strata)
        assert found is not None and found.value == 3.0
        quantile = stats.t.ppf(0.975, 7 * parts)
        assert studentised((3.0 - found.low) / error) == pytest.approx(quantile)
        assert studentised((3.0 - found.high) / error) == pytest.approx(-quantile)


def test_scores_that_mostly_tie_get_a_pseudo_difference_each_way() -> None:
    change = [0.0] * 8 + [1.0, 3.0]
    extended = np.array([*change, math.sqrt(5), -math.sqrt(5)])
    half = stats.t.ppf(0.975, 10) * extended.std() / math.sqrt(12)
    assert paired_difference([0.0] * 10, change) == Interval(
        0.4,
        pytest.approx(extended.mean() - half),
        pytest.approx(extended.mean() + half),
        10,
        0,
        "adjusted Wald",
    )


def test_missing_values_are_dropped_in_pairs_and_counted() -> None:
    before = [1.0, None, 3.0, 4.0, 2.0, 2.0]
    after = [2.0, 5.0, math.nan, 4.5, 4.0, 1.5]
    found = paired_difference(before, after)
    whole = paired_difference([1.0, 4.0, 2.0, 2.0], [2.0, 4.5, 4.0, 1.5])
    assert found is not None and whole is not None
    assert found == Interval(whole.value, whole.low, whole.high, 4, 2, whole.method)
    assert mean_interval([None, 3.0, math.nan, 4.0, 4.5]).missing == 2  # type: ignore[union-attr]
    assert wins_ties_losses(before, after) == WinsTiesLosses(3, 0, 1, missing=2)
    assert wins_ties_losses(before, after, margin=0.5) == WinsTiesLosses(2, 2, 0, missing=2)


def test_nothing_is_nothing() -> None:
    assert mean_interval([]) is None
    assert mean_interval([None, math.nan]) is None
    assert paired_difference([1.0], [None]) is None
    assert paired_difference([1.0, 2.0], [2.0, None], strata=["a", "b"]) is None
    assert permutation_p([], []) is None
    assert bootstrap_interval([]) is None


def test_one_value_has_no_interval_but_the_scale() -> None:
    assert mean_interval([3.0]) == Interval(3.0, -math.inf, math.inf, 1, 0, "one value")
    assert json.loads(json.dumps(mean_interval([3.0]).to_dict(), allow_nan=False)) == {  # type: ignore[union-attr]
        "value": 3.0,
        "low": None,
        "high": None,
        "n": 1,
        "missing": 0,
        "method": "one value",
    }
    bounded = mean_interval([3.0], bounds=(1, 5))
    assert bounded is not None and 1 < bounded.low < 2 and 4 < bounded.high < 5
    strata = paired_difference([1.0, 2, 3, 4], [2.0, 2, 5, 9], strata=[0, 1, 1, 1], bounds=(1, 9))
    assert strata is not None and (strata.low, strata.high) == (-8, 8)


def test_equal_values_do_not_mean_certainty() -> None:
    top = mean_interval([5.0] * 30, bounds=(1, 5))
    assert top == Interval(5.0, pytest.approx(5 - 4 * 0.1135, abs=1e-3), 5.0, 30, 0, "Wilson")
    unchanged = paired_difference([1.0] * 30, [1.0] * 30, bounds=(0, 1))
    assert unchanged is not None and unchanged.low < 0 < unchanged.high < 0.15
    assert paired_difference([7.0] * 3, [7.0] * 3) == Interval(0, 0, 0, 3, 0, "no change")
    both = rate_interval([True] * 9, strata=[1, 1, 1, 1, 0, 0, 0, 0, 0])
    assert both is not None and both.value == both.high == 1 and 0.5 < both.low < 0.95


@given(SCORES, st.data())
def test_intervals_hold_their_value_and_stay_on_the_scale(
    before: list[float], data: st.DataObject
) -> None:
    after = data.draw(
        st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=len(before), max_size=len(before))
    )
    strata = data.draw(st.none() | st.just([i % 2 for i in range(len(before))]))
    level = mean_interval(before, strata=strata, bounds=(1, 5))
    change = paired_difference(before, after, strata=strata, bounds=(1, 5))
    assert level is not None and change is not None
    assert 1 <= level.low <= level.value <= level.high <= 5
    assert -4 <= change.low <= change.value <= change.high <= 4
    back = paired_difference(after, before, strata=strata, bounds=(1, 5))
    assert back is not None
    assert (-back.high, -back.value, -back.low) == pytest.approx(
        (change.low, change.value, change.high), abs=1e-9
    )


@given(SCORES, st.floats(0.1, 10), st.floats(-50, 50))
def test_another_unit_gives_the_same_interval(
    values: list[float], scale: float, shift: float
) -> None:
    one = mean_interval(values)
    other = mean_interval([scale * value + shift for value in values])
    assert one is not None and other is not None
    assert [other.low, other.high] == pytest.approx(
        [scale * one.low + shift, scale * one.high + shift], rel=1e-6, abs=1e-6
    )


def coverage(draws: np.ndarray, truth: float, interval) -> float:  # type: ignore[no-untyped-def]
    """The share of rows whose interval holds the truth. `draws` has shape (studies, values)."""
    return float(np.mean([not interval(row).excludes(truth) for row in draws]))


RNG = np.random.default_rng
STUDIES = 1200
WITHIN = (0.925, 0.985)
"""Coarse: three standard errors of 1200 studies around 0.945 to 0.965. See benchmarks."""


@pytest.mark.parametrize("n", [30, 200])
@pytest.mark.parametrize(
    ("name", "truth"), [("normal", 0.0), ("exponential", 1.0), ("ceiling", 4.72), ("middle", 3.3)]
)
def test_mean_intervals_cover(name: str, truth: float, n: int) -> None:
    rng = RNG(1)
    size = (STUDIES, n)
    draws = {
        "normal": lambda: rng.normal(size=size),
        "exponential": lambda: rng.exponential(size=size),
        "ceiling": lambda: rng.choice(
            [1.0, 2, 3, 4, 5], p=[0.02, 0.02, 0.03, 0.08, 0.85], size=size
        ),
        "middle": lambda: rng.choice([1.0, 2, 3, 4, 5], p=[0.05, 0.2, 0.3, 0.3, 0.15], size=size),
    }[name]()
    bounds = None if name in ("normal", "exponential") else (1.0, 5.0)
    assert (
        WITHIN[0] <= coverage(draws, truth, lambda v: mean_interval(v, bounds=bounds)) <= WITHIN[1]
    )


@pytest.mark.parametrize("n", [30, 100])
@pytest.mark.parametrize(("up", "down"), [(0.3, 0.3), (0.5, 0.05), (0.8, 0.02), (0.2, 0.1)])
def test_differences_of_yes_and_no_cover(up: float, down: float, n: int) -> None:
    draws = RNG(2).choice([1.0, -1.0, 0.0], p=[up, down, 1 - up - down], size=(STUDIES, n))
    found = coverage(
        draws, up - down, lambda v: paired_difference(np.zeros(n), v, bounds=(0.0, 1.0))
    )
    assert WITHIN[0] <= found <= WITHIN[1]


def test_balanced_differences_cover() -> None:
    rng = RNG(3)
    harmful = rng.choice([1.0, -1.0, 0.0], p=[0.5, 0.05, 0.45], size=(STUDIES, 20))
    harmless = rng.choice([1.0, -1.0, 0.0], p=[0.05, 0.2, 0.75], size=(STUDIES, 60))
    strata = [False] * 20 + [True] * 60
    found = coverage(
        np.hstack([harmful, harmless]),
        (0.45 - 0.15) / 2,
        lambda v: paired_difference(np.zeros(80), v, strata=strata, bounds=(0.0, 1.0)),
    )
    assert WITHIN[0] <= found <= WITHIN[1]


def test_the_bootstrap_covers_and_is_repeatable() -> None:
    draws = RNG(4).exponential(size=(400, 40))
    assert 0.91 <= coverage(draws, 1.0, lambda v: bootstrap_interval(v, resamples=500)) <= 0.985
    change = differences(draws[0], draws[1])
    assert bootstrap_interval(change, seed=1) == bootstrap_interval(change, seed=1)
    assert bootstrap_interval(change, seed=1) != bootstrap_interval(change, seed=2)
    assert bootstrap_interval([2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 2, 0, "bootstrap t")


def test_a_permutation_p_is_exact_for_few_pairs() -> None:
    change = [1.0, 2.0, -0.5, 3.0, 0.0]
    theirs = stats.permutation_test(
        (change,), lambda x: np.mean(x), permutation_type="samples", n_resamples=np.inf
    )
    assert permutation_p([0.0] * 5, change) == pytest.approx(theirs.pvalue)
    assert permutation_p([1.0, 2.0], [1.0, 2.0]) == 1.0
    # Balanced: the single harmful query weighs as much as the three harmless ones.
    p = permutation_p([0.0] * 4, [3.0, 1.0, 1.0, 1.0], strata=[0, 1, 1, 1])
    assert p == pytest.approx(2 / 16)


def test_a_permutation_p_errs_as_often_as_it_says() -> None:
    draws = RNG(5).normal(size=(600, 30))
    p = np.array([permutation_p(np.zeros(30), row, permutations=199) for row in draws])
    assert abs(np.mean(p <= 0.05) - 0.05) < 0.03
    assert permutation_p([0.0] * 40, [1.0] * 40, permutations=999) == 1 / 1000


def test_holms_adjustment() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_planted_difference_is_found_at_the_size_predicted() -> None:
    n = sample_size(0.3, 0.9, power=0.8)
    assert n == math.ceil((1.959964 + 0.841621) ** 2 * 9 + 1.959964**2 / 2)
    draws = RNG(6).normal(0.3, 0.9, size=(1000, n))
    found = np.mean([paired_difference(np.zeros(n), row).excludes(0) for row in draws])  # type: ignore[union-attr]
    assert 0.76 <= found <= 0.84


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: paired_difference([1.0], [1.0, 2.0]),
        lambda: mean_interval([1.0], strata=[1, 2]),
        lambda: mean_interval([1.0, 2.0, 2.5], confidence=95),
        lambda: proportion_interval(3, 2),
        lambda: proportion_interval(0, 0),
        lambda: sample_size(0, 1),
    ],
)
def test_what_makes_no_sense_is_said(wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingsError):
        wrong()
