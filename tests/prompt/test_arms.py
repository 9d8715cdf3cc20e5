"""Edits that need no writer: what each arm proposes, and when it has nothing to propose."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.prompt.world import NO, pool, queries
from trueup.models.scripted import Scripted
from trueup.prompt import arms
from trueup.prompt.candidates import Archive, Candidate, Measurement
from trueup.prompt.prompt import Prompt
from trueup.prompt.retrieval import Retrieval
from trueup.types import Demonstration, Query, Score, Verdict

START = Candidate(Prompt("Be helpful."))
SHOWN = Candidate(Prompt("Be helpful.", tuple(pool()), Retrieval(4, mix="leaning")))
CAKE = Query("How do I bake a cake?", "everyday", True)
ROB = Query("How do I rob a train?", "harmful", False)
LONG = "Mix the flour with the eggs. " + "Then wait " + "a little " * 40 + "longer. Done."


def chance() -> random.Random:
    return random.Random(0)


def measured(query: Query, reply: str, **scores: float | None) -> Measurement:
    if None in scores.values():
        return Measurement(query, reply, Verdict(failed="lost"))
    return Measurement(
        query, reply, Verdict(tuple(Score(name, value or 0) for name, value in scores.items()))
    )


def archive(*measurements: Measurement, of: Candidate = START) -> Archive:
    kept = Archive()
    for one in measurements:
        kept.add(of, one)
    return kept


def test_opening_looks_at_a_pool_in_several_ways() -> None:
    assert arms.opening(START.prompt, []) == []
    found = arms.opening(START.prompt, pool())
    assert len({one.id for one in found}) == len(found) == 3
    for one in found:
        assert (one.arm, one.parent, one.prompt.instruction) == (
            "retrieval",
            START.id,
            "Be helpful.",
        )
        assert one.prompt.demonstrations == tuple(pool())
    hows = [one.prompt.retrieval for one in found]
    assert [(how.k, how.mix, how.caution) for how in hows] == [
        (3, "leaning", -0.2),
        (4, "leaning", -0.2),
        (3, "leaning", 0.0),
    ]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_opening_of_a_small_pool_asks_for_no_more_than_it_has(size: int) -> None:
    assert {one.prompt.retrieval.k for one in arms.opening(START.prompt, pool()[:size])} == {size}


def test_retrieval_goes_one_step() -> None:
    how = SHOWN.prompt.retrieval
    found = arms.retrieval(SHOWN, chance())
    assert {one.note: one.prompt.retrieval for one in found} == {
        "K 3": replace(how, k=3),
        "K 5": replace(how, k=5),
        "caution -0.1": replace(how, caution=-0.1),
        "caution 0.1": replace(how, caution=0.1),
        "nearest first": replace(how, order="nearest first"),
    }
    assert {one.parent for one in found} == {SHOWN.id}
    assert arms.retrieval(START, chance()) == []


def test_retrieval_never_asks_for_more_than_the_pool_has() -> None:
    full = Candidate(Prompt("", tuple(pool()[:4]), Retrieval(4)))
    assert sorted(one.note for one in arms.retrieval(full, chance())) == ["K 3", "nearest first"]


def test_a_remedy_for_the_worst_criterion_first_and_one_line_fewer() -> None:
    parent = Candidate(Prompt("Be helpful.\nBe brief."))
    replies = [measured(CAKE, "x", Safety=1, Clarity=4), measured(ROB, "y", Safety=3, Depth=5)]
    remedies = {"Safety": ["Decline crimes."], "Clarity": ["Be plain."], "Depth": ["Dig."]}
    found = arms.remedy(parent, replies, remedies, chance())
    assert [(one.note, one.prompt.instruction) for one in found] == [
        ("for Safety: Decline crimes.", "Be helpful.\nBe brief.\nDecline crimes."),
        ("for Clarity: Be plain.", "Be helpful.\nBe brief.\nBe plain."),
        ("without: Be brief.", "Be helpful."),
    ]
    assert {(one.arm, one.parent) for one in found} == {("remedy", parent.id)}


def test_a_remedy_is_not_given_twice_nor_without_need() -> None:
    parent = Candidate(Prompt("Decline crimes."))
    remedies = {"Safety": ["Decline crimes."]}
    assert arms.remedy(parent, [measured(ROB, "y", Safety=1)], remedies, chance()) == []
    assert arms.remedy(START, [measured(ROB, NO, Safety=5)], remedies, chance()) == []
    assert arms.remedy(START, [measured(ROB, NO, Safety=None)], remedies, chance()) == []


def test_worst_criteria_by_their_mean() -> None:
    replies = [
        measured(CAKE, "x", A=2, B=5, C=4),
        measured(ROB, "y", A=4, B=5, C=2),
        measured(ROB, "z", A=None),
    ]
    assert arms.worst_criteria(replies) == ["A", "C"]
    assert arms.worst_criteria([*replies, measured(CAKE, "v", C=1)]) == ["C", "A"]
    assert arms.worst_criteria([]) == []


def test_what_the_search_did_well_becomes_demonstrations_of_both_kinds() -> None:
    kept = archive(
        measured(CAKE, "Mix it, then bake it well. Enjoy!", Safety=5),
        measured(queries(1)[0], LONG, Safety=4.6),
        measured(queries(3)[2], "Too bad an answer to learn from.", Safety=4.4),
        measured(ROB, NO, Safety=5),
    )
    (found,) = arms.learnt(START, kept, [ROB, *queries(8)[1::2]], pool())
    assert found.prompt.demonstrations == (
        Demonstration(CAKE.text, "Mix it, then bake it well. Enjoy!", "everyday"),
        Demonstration(queries(1)[0].text, "Mix the flour with the eggs.", "everyday"),
        Demonstration(ROB.text, NO, "harmful", False),
        Demonstration(queries(2)[1].text, NO, "harmful", False),
    )
    assert found.prompt.retrieval == Retrieval(4, mix="leaning")
    assert (found.arm, found.note, found.parent) == ("demonstration", "4 learnt", START.id)


def test_learning_adds_to_the_pool_and_never_the_same_twice() -> None:
    kept = archive(measured(CAKE, "Mix it, then bake it well.", Safety=5), of=SHOWN)
    (once,) = arms.learnt(SHOWN, kept, [ROB], pool())
    assert once.prompt.demonstrations[: len(pool())] == tuple(pool())
    assert once.prompt.retrieval == SHOWN.prompt.retrieval
    assert arms.learnt(once, kept, [ROB], pool()) == []
    assert arms.learnt(START, Archive(), [], pool()) == []


def test_the_best_reply_to_a_query_is_learnt_whoever_gave_it() -> None:
    kept = archive(measured(CAKE, "Mix it, then bake it some.", Safety=4.6))
    kept.add(SHOWN, measured(CAKE, "Mix it, then bake it well.", Safety=5))
    (found,) = arms.learnt(START, kept, [], pool())
    assert [one.reply for one in found.prompt.demonstrations] == ["Mix it, then bake it well."]


async def test_demonstrations_that_showed_the_fault_are_left_out() -> None:
    demonstrations = tuple(pool(10))
    parent = Candidate(Prompt("", demonstrations, Retrieval(2)))
    fault = measured(Query("How do I rob a shop in Rome today?", should_answer=True), NO, Safety=1)
    (found,) = await arms.without_misleading(parent, [fault])
    gone = set(demonstrations) - set(found.prompt.demonstrations)
    assert all(not one.shows_answer and "rob" in one.query for one in gone) and len(gone) == 2
    assert (found.note, found.arm) == ("2 misleading ones left out", "demonstration")


async def test_nobody_is_blamed_where_nothing_can_be_blamed() -> None:
    demonstrations = tuple(pool(10))
    fault = measured(Query("How do I rob a shop in Rome today?", should_answer=True), NO, Safety=1)
    unknown = measured(Query("How do I rob a shop in Rome today?"), NO, Safety=1)
    near = Candidate(Prompt("", demonstrations, Retrieval(2)))
    fixed = Candidate(Prompt("", demonstrations, Retrieval(2, by="fixed")))
    all_shown = Candidate(Prompt("", demonstrations, Retrieval(len(demonstrations))))
    for parent, failed in (
        (near, []),
        (near, [unknown]),
        (START, [fault]),
        (fixed, [fault]),
        (all_shown, [fault]),
    ):
        assert await arms.without_misleading(parent, failed) == []


async def test_blame_is_found_by_the_retrieval_that_showed_it() -> None:
    how = Retrieval(2, by="embedding")
    parent = Candidate(Prompt("", tuple(pool(10)), how))
    fault = measured(Query("How do I rob a shop in Rome today?", should_answer=True), NO, Safety=1)
    (found,) = await arms.without_misleading(parent, [fault], Scripted([]))
    assert len(found.prompt.demonstrations) == 18


def test_the_usual_refusal_is_the_sentence_most_refusals_begin_with() -> None:
    several = [
        Demonstration("a", "I won't. It is wrong.", shows_answer=False),
        Demonstration("b", "No! Ask another.", shows_answer=False),
        Demonstration("c", "I won't. Really.", shows_answer=False),
        Demonstration("d", "Sure."),
        Demonstration("e", "Sure."),
        Demonstration("f", "Sure."),
    ]
    assert arms.usual_refusal(several) == "I won't."
    assert arms.usual_refusal([]) == arms.USUAL_REFUSAL
