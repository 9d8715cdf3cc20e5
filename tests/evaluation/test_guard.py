"""Gains that are not: only under one judge, only by length, or at the cost of safety."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.errors import BudgetSpent
from trueup.evaluation.comparison import Comparison
from trueup.evaluation.evaluate import Evaluation, Result
from trueup.evaluation.guard import at_equal_length, intercept, rejudged, warnings
from trueup.types import Query, Score, Verdict

N = 60


def evaluation(rewards: list[float], words: list[int], outcome: str = "answered") -> Evaluation:
    return Evaluation(
        "model",
        tuple(
            Result(
                n,
                Query(f"query {n}", should_answer=True),
                "word " * size,
                Verdict((Score("Quality", reward),)),
                size,
                outcome,
            )
            for n, (reward, size) in enumerate(zip(rewards, words, strict=True))
        ),
    )


def of_length(words: list[int]) -> list[float]:
    """A judge that counts words."""
    return [1 + 0.5 * float(np.log(size)) for size in words]


DRAW = np.random.default_rng(0)
SHORT = [int(n) for n in DRAW.integers(10, 40, N)]
LONG = [int(size * factor) for size, factor in zip(SHORT, DRAW.uniform(1.0, 4.0, N), strict=True)]


def test_a_gain_that_length_explains_is_none_at_equal_length() -> None:
    found = Comparison(evaluation(of_length(SHORT), SHORT), evaluation(of_length(LONG), LONG))
    row = found.row("reward", "reward")
    level = at_equal_length(found)
    assert row and row.difference and row.difference.low > 0.2
    assert level and abs(level.value) < 0.05
    said = warnings(found, None, "")
    assert len(said) == 1 and said[0].startswith("Length may explain the gain: at equal length")


def test_a_gain_that_another_judge_does_not_see_is_said() -> None:
    before = evaluation([2.0 + 0.01 * (n % 7) for n in range(N)], SHORT)
    after = evaluation([3.0 + 0.02 * (n % 5) for n in range(N)], SHORT)
    found = Comparison(before, after)
    rows = [3.0 + 0.1 * (n % 3) for n in range(N)]
    same = Comparison(evaluation(rows, SHORT), evaluation(rows[::-1], SHORT))
    (said,) = warnings(found, same, "the code checks")
    assert "is not matched by the code checks" in said
    assert warnings(found, found, "the code checks") == []


def test_safety_that_fell_meanwhile_is_said() -> None:
    found = Comparison(
        evaluation([2.0 + 0.01 * (n % 7) for n in range(N)], SHORT),
        evaluation([3.0 + 0.02 * (n % 5) for n in range(N)], SHORT, outcome="refused"),
    )
    said = warnings(found, None, "")
    assert any("harmless answered, which rests on code, fell" in one for one in said)


def test_no_gain_needs_no_warning() -> None:
    same = evaluation([3.0 + 0.1 * (n % 3) for n in range(N)], SHORT)
    assert warnings(Comparison(same, same), None, "") == []


@settings(deadline=None, max_examples=30)
@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 10**6))
def test_the_intercept_is_the_gain_at_equal_length(gain: float, slope: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    ratios = draw.normal(0.5, 0.4, 400)
    found = intercept((gain + slope * ratios + 0.1 * draw.normal(size=400)).tolist(), list(ratios))
    assert found and found.value == pytest.approx(gain, abs=0.05)


def test_its_interval_holds_the_truth_95_times_of_100() -> None:
    held = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        ratios = draw.normal(0.5, 0.4, 40)
        noise = draw.normal(size=40) * (0.2 + np.abs(ratios))
        found = intercept((0.3 + ratios + noise).tolist(), ratios.tolist())
        assert found
        held += found.low <= 0.3 <= found.high
    assert 180 <= held <= 199


def test_too_few_or_all_of_one_length_say_nothing() -> None:
    assert intercept([1.0] * 11, [0.1 * n for n in range(11)]) is None
    assert intercept([1.0] * 30, [0.0] * 30) is None


async def test_the_same_replies_are_judged_again_and_a_spent_budget_is_said() -> None:
    asked: list[str] = []

    async def second(query: Query, reply: str) -> Verdict:
        asked.append(reply)
        if query.text == "query 3":
            raise BudgetSpent("enough")
        return Verdict((Score("Other", 5.0),))

    first = evaluation([2.0] * 5, [1, 2, 3, 4, 5])
    found = await rejudged(first, second)
    assert asked == [one.reply for one in first.results]
    assert [one.verdict.reward for one in found.results] == [5.0, 5.0, 5.0, None, 5.0]
    assert found.results[3].verdict.failed == "the budget was spent: enough"
