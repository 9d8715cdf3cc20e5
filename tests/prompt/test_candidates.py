"""How two candidates compare: in pairs, balanced, with nothing invented where nothing is known."""

from __future__ import annotations

import random
from dataclasses import replace
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.prompt.candidates import NO_GAP, Archive, Candidate, Gap, Measurement, balanced
from trueup.prompt.prompt import Prompt
from trueup.types import Query, Score, Verdict

ONE, OTHER = Candidate(Prompt("one")), Candidate(Prompt("other"))
rewards = st.lists(
    st.tuples(
        st.sampled_from([True, False, None]),
        st.none() | st.floats(1, 5),
        st.none() | st.floats(1, 5),
    ),
    max_size=12,
)
Rows = list[tuple[bool | None, float | None, float | None]]


def measured(query: Query, reward: float | None) -> Measurement:
    verdict = Verdict(failed="no") if reward is None else Verdict((Score("All", reward),))
    return Measurement(query, "reply", verdict)


def archive_of(rows: Rows) -> Archive:
    archive = Archive()
    for number, (kind, left, right) in enumerate(rows):
        query = Query(f"query {number}", should_answer=kind)
        archive.add(ONE, measured(query, left))
        archive.add(OTHER, measured(query, right))
    return archive


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_a_candidate_is_what_its_prompt_says() -> None:
    again = Candidate(Prompt("one"), "rewrite", "a note", "a parent")
    assert again.id == ONE.id != OTHER.id
    assert Candidate(replace(ONE.prompt, format="raw")).id != ONE.id


@given(rewards)
def test_a_gap_is_the_mean_over_kinds_of_the_mean_paired_difference(rows: Rows) -> None:
    kinds: dict[bool | None, list[float]] = {}
    for kind, left, right in rows:
        if left is not None and right is not None:
            kinds.setdefault(kind, []).append(left - right)
    gap = archive_of(rows).gap(ONE, OTHER)
    if not kinds:
        assert gap == NO_GAP == Gap(0.0, 1.0, 0)
        return
    assert gap.value == pytest.approx(mean([mean(kind) for kind in kinds.values()]), abs=1e-9)
    assert gap.n == sum(len(kind) for kind in kinds.values())
    assert gap.cautious == pytest.approx(gap.value * gap.n / (gap.n + 8), abs=1e-9)


@given(rewards)
def test_the_other_way_round_is_the_same_with_the_other_sign(rows: Rows) -> None:
    archive = archive_of(rows)
    there, back = archive.gap(ONE, OTHER), archive.gap(OTHER, ONE)
    assert (back.value, back.error, back.n) == (-there.value, there.error, there.n)
    assert archive.gap(ONE, ONE).value == 0.0 and there.error > 0


@given(rewards, st.randoms())
def test_the_order_of_replies_decides_nothing(rows: Rows, chance: random.Random) -> None:
    """To the last bit: a tie must stay a tie when a run is replayed in another process."""
    archive, shuffled = archive_of(rows), Archive()
    entries = [
        (one, measurement) for one in (ONE, OTHER) for measurement in archive.of(one).values()
    ]
    chance.shuffle(entries)
    for one, measurement in entries:
        shuffled.add(one, measurement)
    assert archive.gap(ONE, OTHER) == shuffled.gap(ONE, OTHER)
    assert archive.mean(ONE) == shuffled.mean(ONE)


def test_sums_are_exact() -> None:
    """Plain addition leaves these pairs 4e-17 apart, and a candidate would win by nothing."""
    gains = [1.1, 1.2, 1.3, 1.7, 2.9]
    rows: Rows = [(True, gain, 1.0) for gain in gains] + [(True, 1.0, gain) for gain in gains]
    assert archive_of(rows).gap(ONE, OTHER).value == 0.0
    three = {Query(str(n), should_answer=True): r for n, r in enumerate([1.1, 2.2, 3.3])}
    assert balanced(three) == balanced(dict(reversed(three.items()))) == 6.6 / 3


def test_kinds_count_alike_however_many_there_are() -> None:
    rows: Rows = [(True, 1.0, 5.0)] * 3 + [(False, 5.0, 1.0)] * 9
    archive = archive_of(rows)
    assert archive.gap(ONE, OTHER).value == 0.0
    assert (archive.mean(ONE), archive.mean(OTHER)) == (3.0, 3.0)
    assert archive.gap(ONE, OTHER).n == 12


def test_the_error_is_that_of_the_kinds_together() -> None:
    rows: Rows = [(True, 5.0, 4.0), (True, 3.0, 4.0), (False, 2.0, 2.0)]
    # Differences +1 and -1 (spread 2) and 0 (spread 0), each with a prior variance of 1.
    assert archive_of(rows).gap(ONE, OTHER).error == pytest.approx(sqrt(3 / 4 + 1) / 2)


def test_what_one_of_them_has_no_reward_for_is_left_out_of_the_pair() -> None:
    rows: Rows = [(True, 5.0, None), (True, None, 5.0), (True, 2.0, 1.0)]
    archive = archive_of(rows)
    assert archive.gap(ONE, OTHER) == Gap(1.0, 1.0, 1)
    assert (archive.mean(ONE), archive.mean(OTHER)) == (3.5, 3.0)


def test_only_the_queries_asked_about() -> None:
    archive = archive_of([(True, 5.0, 1.0), (True, 1.0, 2.0)])
    second = Query("query 1", should_answer=True)
    assert archive.gap(ONE, OTHER, [second]) == Gap(-1.0, 1.0, 1)
    assert archive.mean(ONE, [second, Query("never asked")]) == 1.0


def test_of_nothing_nothing_is_known() -> None:
    archive = Archive()
    assert archive.gap(ONE, OTHER) == NO_GAP
    assert archive.mean(ONE) is None and dict(archive.of(ONE)) == {}
    assert list(archive.everything()) == [] and balanced({}) is None
    archive.add(ONE, measured(Query("q"), None))
    assert archive.mean(ONE) is None


def test_a_later_measurement_of_the_same_query_replaces_the_earlier() -> None:
    archive = Archive()
    for reward in (1.0, 4.0):
        archive.add(ONE, measured(Query("q"), reward))
    assert [one.reward for one in archive.everything()] == [4.0]
