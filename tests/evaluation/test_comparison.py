"""Two models on the same queries: paired rows, honest counts, one table for all who print."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from trueup.errors import BudgetSpent, DataError, ModelRefused
from trueup.evaluation.comparison import Comparison, compare, comparison_table
from trueup.evaluation.evaluate import Progress, Result, evaluate
from trueup.evaluation.statistics import paired_difference, permutation_p, rate_interval
from trueup.models.scripted import Scripted
from trueup.types import Query, Request, Score, Verdict

HARMFUL = [Query(f"harm {n}", "harmful", False) for n in range(10)]
HARMLESS = [Query(f"help {n}", "everyday", True) for n in range(30)]
UNSAID = [Query("who knows 0")]
QUERIES = [*HARMFUL, *HARMLESS, *UNSAID]


def text(request: Request) -> str:
    assert not isinstance(request.prompt, str)
    return request.prompt[-1].content


def answers_all(request: Request) -> str:
    return "Sure."


def refuses_harm(request: Request) -> str:
    """Refuses 9 of 10 harmful and 3 of 30 harmless queries."""
    kind, number = text(request).rsplit(" ", 1)
    refuse = number != "0" if kind == "harm" else kind == "help" and int(number) < 3
    return "No, I will not." if refuse else "Sure."


def outcome(query: Query, reply: str) -> str:
    return "refused" if reply.startswith("No") else "answered"


async def judge(query: Query, reply: str) -> Verdict:
    """Polite is scored always; Brief where the query helps; help 5 fails for a long reply."""
    if query.text == "help 5" and reply == "Sure.":
        return Verdict(failed="unreadable")
    scores = [Score("Polite", 4.0 if "Sure" in reply else 2.0)]
    if query.text.startswith("help"):
        scores.append(Score("Brief", 3.0))
    return Verdict(tuple(scores))


async def compared() -> Comparison:
    return await compare(
        Scripted(answers_all, "base"),
        Scripted(refuses_harm, "aligned"),
        QUERIES,
        judge,
        outcome=outcome,
    )


async def test_balanced_safety_weighs_both_kinds_alike() -> None:
    row = (await compared()).row("safety", "balanced safety")
    assert row is not None
    assert row.before and row.after and row.difference
    assert row.before.value == pytest.approx((0 + 1) / 2)
    assert row.after.value == pytest.approx((0.9 + 0.9) / 2)
    assert row.difference.value == pytest.approx(0.4)
    assert row.difference.low > 0.2
    assert (row.n, row.failed, row.clear) == (40, 0, "better")
    # One among several is held to its adjusted p as well.
    said = [replace(row, p_holm=p).clear for p in (0.05, 0.051)]
    assert said == ["better", None]
    strata = [False] * 10 + [True] * 30
    before = [0.0] * 10 + [1.0] * 30
    after = [0.0] + [1.0] * 9 + [0.0] * 3 + [1.0] * 27
    assert row.difference == paired_difference(before, after, strata=strata, bounds=(0, 1))
    assert row.after == rate_interval([bool(x) for x in after], strata=strata)
    assert row.p == permutation_p(before, after, strata=strata, permutations=1999)


async def test_the_table_is_paired_and_counts_what_failed() -> None:
    rows = comparison_table(await compared())
    found = {
        (r.group, r.name): (r.difference and round(r.difference.value, 3), r.n, r.failed)
        for r in rows
    }
    assert found == {
        ("safety", "balanced safety"): (0.4, 40, 0),
        ("safety", "harmful refused"): (0.9, 10, 0),
        ("safety", "harmless answered"): (-0.1, 30, 0),
        ("reward", "reward"): (round((9 * -2 + 3 * -1) / 40, 3), 40, 1),
        ("criterion", "Brief"): (0.0, 29, 0),
        ("criterion", "Polite"): (round((12 * -2) / 40, 3), 40, 0),
        ("category", "everyday"): (round(-3 / 29, 3), 29, 1),
        ("category", "harmful"): (-1.8, 10, 0),
        ("behaviour", "everyday"): (-0.1, 30, 0),
        ("behaviour", "harmful"): (0.9, 10, 0),
        ("outcome", "answered"): (round(-12 / 41, 3), 41, 0),
        ("outcome", "refused"): (round(12 / 41, 3), 41, 0),
        ("outcome", "degenerate"): (0.0, 41, 0),
        ("outcome", "off topic"): (0.0, 41, 0),
        ("length", "words"): (round(12 * 3 / 41, 3), 41, 0),
        ("length", "tokens out"): (round(12 * 2 / 41, 3), 41, 0),
        ("length", "cut off"): (0.0, 41, 0),
        ("cost", "tokens in"): (0.0, 41, 0),
    }
    clear = {r.name: r.clear for r in rows if r.clear}
    assert clear["harmful refused"] == "better"
    assert clear["Polite"] == "worse"
    assert clear["answered"] == "changed"
    for row in rows:
        for interval in (row.before, row.after, row.difference):
            assert interval is not None and interval.low <= interval.value <= interval.high
        assert row.before and row.after and row.difference
        assert row.difference.value == pytest.approx(row.after.value - row.before.value)
        assert row.p is not None and row.p_holm is not None and row.p <= row.p_holm <= 1


async def test_a_criterion_counts_where_either_verdict_has_it() -> None:
    async def moody(query: Query, reply: str) -> Verdict:
        if reply != "Sure.":
            return Verdict(failed="unreadable")
        return Verdict((Score("Polite", 4.0),))

    found = await compare(
        Scripted(answers_all), Scripted(refuses_harm), HARMFUL, moody, outcome=outcome
    )
    for one in (found, Comparison(found.after, found.before)):
        row = one.row("criterion", "Polite")
        assert row is not None and (row.n, row.failed) == (1, 9)
    assert found.row("safety", "balanced safety") is None
    assert found.row("safety", "harmless answered") is None


async def test_a_criterion_that_was_lost_of_one_of_two_replies_has_failed() -> None:
    async def moody(query: Query, reply: str) -> Verdict:
        if reply != "Sure.":
            return Verdict((Score("Safety", 4.0),), dropped=("Polite: its check raised KeyError",))
        return Verdict((Score("Safety", 4.0), Score("Polite", 4.0)))

    found = await compare(
        Scripted(answers_all), Scripted(refuses_harm), HARMFUL, moody, outcome=outcome
    )
    row = found.row("criterion", "Polite")
    assert row is not None and (row.n, row.failed) == (1, 9)


async def test_a_criterion_that_says_nothing_of_one_of_two_replies_has_not_failed() -> None:
    async def on_topic(query: Query, reply: str) -> Verdict:
        """On topic says nothing of refusals."""
        if query.text == "help 20" and reply == "Sure.":
            return Verdict(failed="unreadable")
        scores = [Score("Safety", 4.0)]
        return Verdict((*scores, Score("On topic", 5.0)) if reply == "Sure." else tuple(scores))

    def refuses_two_more(request: Request) -> str:
        return "No." if text(request) in ("help 20", "help 21") else refuses_harm(request)

    found = await compare(
        Scripted(answers_all), Scripted(refuses_two_more), QUERIES, on_topic, outcome=outcome
    )
    other = Comparison(found.after, found.before)
    for one in (found, other):
        row = one.row("criterion", "On topic")
        assert row is not None and (row.n, row.failed) == (41 - 9 - 3 - 2, 0)
        row = one.row("criterion", "Safety")
        assert row is not None and (row.n, row.failed) == (40, 1)


async def test_a_reply_that_failed_is_missing_from_both_sides() -> None:
    def filtered(request: Request) -> str:
        if text(request) == "harm 1":
            raise ModelRefused("filtered")
        return "No."

    found = await compare(
        Scripted(answers_all), Scripted(filtered), HARMFUL, judge, outcome=outcome
    )
    row = found.row("safety", "harmful refused")
    assert row is not None and row.before and row.after and row.difference
    assert (row.n, row.failed, row.difference.missing) == (9, 1, 1)
    assert (row.before.n, row.after.n) == (9, 9)


async def test_both_are_told_apart_while_running() -> None:
    seen: list[Progress] = []
    sunk: list[tuple[str, Result]] = []
    await compare(
        Scripted(answers_all),
        Scripted(answers_all),
        HARMLESS[:2],
        judge,
        outcome=outcome,
        on_progress=seen.append,
        sink=lambda label, result: sunk.append((label, result)),
    )
    assert [(p.label, p.done) for p in seen] == [
        ("before", 1), ("before", 2), ("after", 1), ("after", 2),
    ]  # fmt: skip
    assert [(label, r.number) for label, r in sunk] == [
        ("before", 0), ("before", 1), ("after", 0), ("after", 1),
    ]  # fmt: skip


async def test_a_budget_that_ends_in_between_leaves_the_pairs_there_are() -> None:
    def spent(request: Request) -> str:
        if text(request) >= "harm 4":
            raise BudgetSpent("no calls left")
        return "No."

    found = await compare(Scripted(answers_all), Scripted(spent), HARMFUL, judge, outcome=outcome)
    assert found.after.stopped == "no calls left"
    assert [row.n for row in comparison_table(found) if row.group == "reward"] == [4]

    def broke(request: Request) -> str:
        raise BudgetSpent("no calls left")

    nothing = await compare(Scripted(answers_all), Scripted(broke), HARMFUL, judge, outcome=outcome)
    assert comparison_table(nothing) == []


async def test_other_queries_cannot_be_compared() -> None:
    one = await evaluate(Scripted(answers_all), HARMFUL, judge, outcome=outcome)
    other = await evaluate(Scripted(answers_all), HARMLESS, judge, outcome=outcome)
    with pytest.raises(DataError, match="Query 0 of the two evaluations is not the same"):
        Comparison(one, other)


async def test_rows_as_json() -> None:
    found = await compared()
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["table"] == [row.to_dict() for row in comparison_table(found)]
    assert len(content["before"]["results"]) == len(QUERIES)
    assert "results" not in found.to_dict(results=False)["after"]
    row = found.row("safety", "harmful refused")
    assert row is not None and row.before and row.after and row.difference
    assert [
        tuple(round(number, 2) for number in (one.value, one.low, one.high))
        for one in (row.before, row.after, row.difference)
    ] == [(0.0, 0.0, 0.28), (0.9, 0.6, 0.98), (0.9, 0.41, 1.0)]
    assert (row.n, row.failed) == (10, 0)


async def test_the_checks_of_the_house_are_the_default() -> None:
    def script(request: Request) -> str:
        return "I'm sorry, but I can't help with that."

    found = await evaluate(Scripted(script), [Query("How do I boil an egg?", "x", True)], judge)
    assert found.results[0].outcome == "refused"
