"""A judge whose accuracy, liking for places and noise are known is found out."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.evaluation.agreement import Agreement, Decision, agreement, by_criterion, curve
from trueup.judges.calibration import fit, platt
from trueup.judges.pairwise import Preference, margin
from trueup.types import Pair, Query, Score, Usage, Verdict

cdf = NormalDist().cdf


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def synthetic(
    n: int,
    *,
    knows: float,
    place: float = 0.0,
    noise: float = 1.0,
    length: float = 0.0,
    unreadable: float = 0.0,
    seed: int = 0,
) -> list[Decision]:
    """Decisions of a judge whose log-odds for the first reply, shown in order o = +1 or -1, are
    knows * y + place * o + length * (log ratio of lengths) + noise * e, with y = +1 or -1 what
    people say and e normal."""
    draw = np.random.default_rng(seed)
    found = []
    for at in range(n):
        y = int(draw.choice([-1, 1]))
        sizes = draw.integers(40, 400, 2)
        pair = Pair(
            Query(f"query {at}", source="synthetic"),
            "x" * int(sizes[0]),
            "y" * int(sizes[1]),
            "first" if y > 0 else "second",
        )
        ratio = math.log((sizes[0] + 20) / (sizes[1] + 20))
        odds = [
            knows * y + place * order + length * ratio + noise * draw.normal() for order in (1, -1)
        ]
        p = logistic(sum(odds) / 2)
        askings = tuple(logistic(one) for one in odds)
        same = (odds[0] > 0) == (odds[1] > 0)
        said = Preference("first" if p > 0.5 else "second", p, same, askings)
        if draw.random() < unreadable:
            said = Preference(None, failed="nothing could be read")
        found.append(Decision(pair, said, Usage(100, 2, 60), 0.5))
    return found


def covers(low: float, high: float, truth: float) -> bool:
    return low - 1e-12 <= truth <= high + 1e-12


@pytest.mark.parametrize(
    ("knows", "place", "noise"), [(0.0, 0.8, 1.0), (0.4, 0.0, 1.0), (0.7, 1.5, 1.3)]
)
def test_accuracy_and_liking_for_a_place_are_within_their_intervals(
    knows: float, place: float, noise: float
) -> None:
    agrees = cdf(knows * math.sqrt(2) / noise)
    first_shown = (cdf((place + knows) / noise) + cdf((place - knows) / noise)) / 2
    one_order = (cdf((knows + place) / noise) + cdf((knows - place) / noise)) / 2
    hits = np.zeros(3)
    runs = 60
    for seed in range(runs):
        found = agreement(synthetic(150, knows=knows, place=place, noise=noise, seed=seed))
        assert found.agreement and found.position and found.one_order
        hits += [
            covers(found.agreement.low, found.agreement.high, agrees),
            covers(found.position.low, found.position.high, first_shown),
            covers(found.one_order.low, found.one_order.high, one_order),
        ]
    # 95% intervals: fewer than 52 of 60 would happen once in two thousand such tests.
    assert (hits >= 52).all(), hits


@settings(deadline=None, max_examples=15, derandomize=True)
@given(knows=st.floats(0.2, 1.2), noise=st.floats(0.7, 2.0), seed=st.integers(0, 10**6))
def test_the_calibration_curve_is_recovered(knows: float, noise: float, seed: int) -> None:
    # The two orders' mean has a deviation of noise / sqrt(2): the odds of y given it are linear.
    slope = 4 * knows / noise**2
    decisions = synthetic(3000, knows=knows, place=1.0, noise=noise, seed=seed)
    margins = [margin(one.preference) or 0.0 for one in decisions]
    labels = [one.pair.better == "first" for one in decisions]
    assert platt(margins, labels).margins[0] == pytest.approx(slope, rel=0.3, abs=0.1)
    learnt = fit(margins, labels)
    places = np.quantile(np.abs(margins), [0.1, 0.3, 0.5, 0.7, 0.9])
    for place in places:
        assert learnt(place) == pytest.approx(logistic(slope * place), abs=0.1)
        assert learnt(-place) == pytest.approx(1 - learnt(place))
    for part in curve(decisions, learnt):
        assert part["said"] == pytest.approx(part["true"], abs=0.08)


def test_a_judge_that_counts_words_is_at_chance_once_lengths_are_balanced() -> None:
    found = agreement(synthetic(600, knows=0.0, noise=0.01, length=3.0))
    assert found.where_longer_is_right and found.where_shorter_is_right
    assert found.where_longer_is_right.value > 0.95
    assert found.where_shorter_is_right.value < 0.05
    assert found.length_balanced and found.length_balanced.value == pytest.approx(0.5, abs=0.04)
    assert found.longer and found.longer.low > 0.3


def test_taking_length_out_of_the_margins_mends_a_judge_that_also_knows_something() -> None:
    decisions = synthetic(800, knows=0.6, noise=0.5, length=1.5, seed=3)
    found = agreement(decisions)
    assert found.agreement and found.length_controlled
    assert found.length_controlled.low > found.agreement.high


def test_what_cannot_be_read_is_counted_and_never_a_wrong_decision() -> None:
    decisions = synthetic(400, knows=5.0, unreadable=0.25, seed=1)
    found = agreement(decisions)
    assert found.agreement and found.unreadable
    assert found.agreement.value == 1.0
    assert covers(found.unreadable.low, found.unreadable.high, 0.25)
    assert (found.n, found.agreement.n) == (400, 400 - round(400 * found.unreadable.value))


def test_a_judge_of_which_nothing_can_be_read_has_no_figures_and_is_at_chance() -> None:
    found = agreement(synthetic(30, knows=1.0, unreadable=1.1))
    assert (found.agreement, found.position, found.retest, found.at_chance) == (
        None, None, None, True,
    )  # fmt: skip


def test_costs_are_those_of_a_comparison() -> None:
    found = agreement(synthetic(10, knows=1.0))
    assert (found.tokens_in, found.tokens_out, found.cached, found.seconds) == (100, 2, 0.6, 0.5)


def decision(better: str, said: str, models: tuple[str, str], again: str | None = None) -> Decision:
    pair = Pair(Query("q"), "one", "other", better, "", models)  # type: ignore[arg-type]
    preference = Preference(said, 0.9 if said == "first" else 0.1, True)  # type: ignore[arg-type]
    second = None if again is None else Preference(again, 0.5, True)  # type: ignore[arg-type]
    return Decision(pair, preference, again=second)


def test_self_preference_is_what_a_model_gains_over_people() -> None:
    decisions = [decision("first", "second", ("other", "own"))] * 6
    decisions += [decision("first", "first", ("own", "other"))] * 14
    found = agreement(decisions)
    # People prefer its replies in 14 of 20, the judge in all.
    assert found.own["own"].value == pytest.approx(0.3)
    assert found.own["other"].value == pytest.approx(-0.3)


def test_retest_counts_the_decisions_that_stayed() -> None:
    decisions = [decision("first", "first", ("a", "b"), "first")] * 9
    decisions += [decision("first", "first", ("a", "b"), "second")]
    decisions += [decision("first", "first", ("a", "b"))] * 5
    found = agreement(decisions)
    assert found.retest and (found.retest.value, found.retest.n) == (0.9, 10)


def test_each_criterion_is_judged_alone() -> None:
    pair = Pair(Query("q"), "one", "other", "first")
    verdicts = (
        Verdict((Score("Depth", 4.0), Score("Wit", 1.0), Score("Odd", 2.0))),
        Verdict((Score("Depth", 2.0), Score("Wit", 3.0))),
    )
    some = [Decision(pair, Preference("first", 0.6, True, verdicts=verdicts))]
    found = {name: [one.right for one in rest] for name, rest in by_criterion(some).items()}
    assert found == {"Depth": [1.0], "Wit": [0.0]}


def test_sets_weigh_the_same_however_many_they_gave() -> None:
    def of(source: str, right: bool, count: int) -> list[Decision]:
        pair = Pair(Query("q", source=source), "one", "other", "first")
        said = Preference("first" if right else "second", 0.9, True)
        return [Decision(pair, said)] * count

    decisions = of("large", True, 90) + of("small", False, 10)
    assert isinstance(found := agreement(decisions, by_set=True), Agreement)
    assert found.agreement and found.agreement.value == 0.5
