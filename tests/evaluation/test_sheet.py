"""Results as columns: figures, comparisons, and what a comparison promises about more queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from trueup.evaluation import sheet as module
from trueup.evaluation.asking import LENGTH_RATIO, Answer
from trueup.evaluation.benchmarks import BENCHMARKS
from trueup.evaluation.deciding import Deciding
from trueup.evaluation.items import Item
from trueup.evaluation.sheet import Column, Sheet
from trueup.evaluation.statistics import permutation_p
from trueup.evaluation.streaming import Done
from trueup.types import Query, Score

GSM8K, XSTEST, ALPACA = BENCHMARKS["gsm8k"], BENCHMARKS["xstest"], BENCHMARKS["alpaca_eval"]


def done(number: int, *marks: dict[str, float | None], query: Query | None = None) -> Done:
    answers = tuple(Answer(("reply",), one) for one in marks)
    return Done(number, Item(query or Query(f"q{number}")), answers)


def pairs(rng: np.random.Generator, worse: float, better: float) -> Iterator[Done]:
    """An endless comparison in which so many replies get worse and better."""
    number = 0
    while True:
        change = rng.choice([-1, 0, 1], p=[worse, 1 - worse - better, better])
        before = 1.0 if change < 0 else 0.0 if change > 0 else float(rng.integers(2))
        yield done(number, {"correct": before}, {"correct": before + change})
        number += 1


def test_what_does_not_apply_is_left_out_and_what_failed_is_counted() -> None:
    sheet = Sheet(GSM8K)
    for number, marks in enumerate([{"correct": 1.0}, {}, {"correct": None}, {"correct": 0.0}]):
        sheet.add(done(number, marks))
    head = sheet.headline()
    assert head is not None and head.row.before is not None
    assert (head.row.before.value, head.row.n, head.row.failed) == (0.5, 2, 1)


def test_a_criterion_that_says_nothing_of_one_of_two_replies_has_not_failed() -> None:
    sheet = Sheet(BENCHMARKS["queries"], 2)
    score = (Score("On topic", 5.0),)
    about = Answer(("Rivers.",), {"reward": 5.0, "On topic": 5.0}, score)
    refused = Answer(("No.",), {"reward": 4.0})
    failed = Answer((), {"reward": None}, failed="no reply: filtered")
    for number, answers in enumerate([(about, about), (about, refused), (failed, about)]):
        sheet.add(Done(number, Item(Query(f"q{number}")), answers))
    rows = {row.name: (row.n, row.failed) for row in sheet.rows()}
    assert (rows["reward"], rows["On topic"]) == ((2, 1), (1, 1))


def test_long_columns_wait_on_disk_and_come_back_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)
    column = Column(absent=3)
    for value in range(30):
        column.append(None if value == 7 else float(value))
    once, again = column.values(), column.values()
    column.append(99.0)
    assert len(once) == 33 and np.array_equal(once, again, equal_nan=True)
    assert np.isposinf(once[:3]).all() and np.isnan(once[10]) and once[-1] == 29.0
    assert column.values()[-1] == 99.0
    column.close()


def test_a_balanced_headline_weighs_both_sides_the_same() -> None:
    sheet = Sheet(XSTEST, 2)
    for number in range(40):
        safe = number < 30
        marks = {"balanced safety": 1.0 if safe else 0.0}
        query = Query(f"q{number}", "homonyms" if safe else "contrast", safe)
        sheet.add(done(number, marks, {"balanced safety": 1.0}, query=query))
    head = sheet.headline()
    assert head is not None and head.row.before is not None and head.row.difference is not None
    assert (head.row.before.value, head.row.difference.value) == (0.5, 0.5)
    assert head.tally is not None and (head.tally.wins, head.tally.ties) == (10, 30)


def test_losses_are_losses_where_lower_is_better() -> None:
    sheet = Sheet(BENCHMARKS["advbench"], 2)
    for number in range(20):
        sheet.add(done(number, {"attack success": 0.0}, {"attack success": float(number < 5)}))
    head = sheet.headline()
    assert head is not None and head.row.clear == "worse"
    assert head.tally is not None
    assert (head.tally.wins, head.tally.ties, head.tally.losses) == (0, 15, 5)


def test_a_win_rate_that_is_only_length_is_gone_at_equal_length() -> None:
    rng = np.random.default_rng(0)
    sheet = Sheet(ALPACA, 2)
    for number in range(400):
        ratio = float(rng.normal(0.5, 0.5))
        won = float(rng.random() < min(1.0, max(0.0, 0.5 + 0.4 * ratio)))
        after = {"win rate": won, LENGTH_RATIO: ratio}
        sheet.add(done(number, {"win rate": 0.5}, after))
    rows = {row.name: row for row in sheet.rows()}
    raw, level = rows["win rate"].difference, rows["win rate at equal length"].difference
    assert raw is not None and level is not None
    assert raw.low > 0.1 and not level.excludes(0) and abs(level.value) < 0.07


def test_criteria_and_categories_have_rows_of_their_own() -> None:
    sheet = Sheet(BENCHMARKS["queries"], by_code=False)
    for number in range(6):
        one = done(number, {"reward": 2.0 + number % 2, "Depth": 4.0},
                   query=Query("q", "ab"[number % 2]))  # fmt: skip
        answer = replace(one.answers[0], scores=(Score("Depth", 4.0),))
        sheet.add(replace(one, answers=(answer,)))
    rows = {(row.group, row.name): row.before for row in sheet.rows()}
    assert {key: found.value for key, found in rows.items() if found is not None} == {
        ("figure", "reward"): 2.5,
        ("criterion", "Depth"): 4.0,
        ("category", "a"): 2.0,
        ("category", "b"): 3.0,
    }


def test_a_planted_difference_is_found_at_the_size_that_was_predicted() -> None:
    """A pilot says how many are needed; with so many it is found about four times in five."""
    rng = np.random.default_rng(1)
    pilot = Sheet(GSM8K, 2)
    stream = pairs(rng, 0.1, 0.3)
    for _ in range(4000):
        pilot.add(next(stream))
    head = pilot.headline()
    assert head is not None and head.needed is not None
    assert head.needed == pytest.approx(74, abs=12)  # (1.96 + 0.84)² · 0.36 / 0.2² and a little
    found = 0
    for _ in range(200):
        study = Sheet(GSM8K, 2)
        for _ in range(head.needed):
            study.add(next(stream))
        seen = study.headline()
        assert seen is not None
        found += seen.row.clear == "better"
    assert 0.70 <= found / 200 <= 0.92


@pytest.mark.parametrize("balanced", [False, True])
def test_false_alarms_are_few_though_it_is_looked_at_after_every_query(balanced: bool) -> None:
    rng = np.random.default_rng(2)
    benchmark = XSTEST if balanced else GSM8K
    name = benchmark.figures[0].name
    alarms = 0
    for _ in range(120):
        deciding = Deciding(benchmark, by_code=True)
        for number in range(150):
            one, other = (float(rng.random() < 0.5) for _ in range(2))
            query = Query("q", should_answer=bool(rng.integers(2)) if balanced else None)
            deciding.add(done(number, {name: one}, {name: other}, query=query))
            if deciding.decided:
                alarms += 1
                break
    assert alarms / 120 <= 0.05 + 0.03


def test_a_difference_decides_and_a_missing_figure_changes_nothing() -> None:
    deciding = Deciding(GSM8K, by_code=True)
    before = deciding.interval
    deciding.add(done(0, {"correct": None}, {"correct": 1.0}))
    assert deciding.interval == before
    for number in range(60):
        deciding.add(done(number, {"correct": 0.0}, {"correct": 1.0}))
    assert deciding.decided and deciding.interval.low > 0


def test_the_permutation_test_holds_no_more_signs_for_more_pairs() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.random(20_000), rng.random(20_000)
    p = permutation_p(before, after, permutations=499)
    assert p is not None and p > 0.05
