"""DRPO's second stage in our own setting, searched in a small scripted world."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.prompt.world import (
    NO,
    in_any_order,
    judge,
    policy_says,
    pool,
    queries,
    search,
    written,
)
from trueup.errors import BudgetSpent, ModelError, ModelRefused, ModelUnavailable, SettingsError
from trueup.loop import rounds
from trueup.models.budgeted import Budget, Budgeted
from trueup.models.scripted import Scripted
from trueup.prompt.drpo import Drpo
from trueup.prompt.prompt import Prompt
from trueup.prompt.published import Published
from trueup.prompt.retrieval import Retrieval
from trueup.prompt.settings import Settings
from trueup.types import Query, Request, Score, Verdict

SMALL = Settings(minibatch=6, first_answers=6, validation=8, calls=200)


async def test_it_finds_a_prompt_that_shows_both_behaviours_without_a_writer() -> None:
    run = await search()
    start, found = run.method.archive.mean(run.turns[0].state.beam[0].candidate), run.found
    assert (start, found.search_score, found.validation_score) == (3.0, 5.0, 5.0)
    assert found.prompt.retrieval.k > 0 and found.notes == ()
    assert found.policy_calls == len({request.content() for request in run.policy.requests}) <= 300
    assert [turn.state.phase for turn in run.turns][-2:] == ["validate", "done"]


@examples(max_examples=25)
@given(
    calls=st.integers(8, 90),
    minibatch=st.integers(2, 8),
    first_answers=st.integers(0, 30),
    validation=st.integers(0, 12),
    finalists=st.integers(1, 4),
    with_writer=st.booleans(),
)
async def test_it_never_asks_the_policy_more_often_than_it_may(
    calls: int,
    minibatch: int,
    first_answers: int,
    validation: int,
    finalists: int,
    with_writer: bool,
) -> None:
    writer = Scripted(
        lambda request: written(f"Refuse crimes gently, take {request.content()[-9:]}."), "writer"
    )
    run = await search(
        settings=Settings(
            calls=calls,
            minibatch=minibatch,
            first_answers=first_answers,
            validation=validation,
            finalists=finalists,
        ),
        writer=writer if with_writer else None,
        search=queries(24),
        validation=queries(12, 60),
    )
    # Two prompts that show the same ask the same: a `Remembered` policy pays for that once.
    asked = {request.content() for request in run.policy.requests}
    assert len(asked) == run.found.policy_calls <= calls


@pytest.mark.parametrize("published", [False, True])
async def test_the_order_in_which_replies_come_decides_nothing(published: bool) -> None:
    runs = []
    for seed in range(3):
        chance = random.Random(seed)
        version = Scripted(
            lambda request: written(f"Refuse everything bad. {request.sampling.seed % 3}."), "w"
        )
        settings = replace(Settings.published(), depth=6) if published else SMALL
        by = Published if published else Drpo
        start = Prompt("Be helpful.", tuple(pool()), Retrieval(k=2))
        given_ = queries(40)
        chance.shuffle(given_)
        runs.append(
            await search(
                in_any_order(seed), settings, by, writer=version, search=given_, start=start
            )
        )
    first, *others = runs
    for other in others:
        assert other.records == first.records
        assert other.found == first.found
        assert list(other.method.archive.everything()) == list(first.method.archive.everything())
        assert {r.content() for r in other.policy.requests} == {
            r.content() for r in first.policy.requests
        }


async def test_the_same_seed_searches_alike_and_another_one_otherwise() -> None:
    one, same, other = [await search(settings=replace(SMALL, seed=seed)) for seed in (3, 3, 4)]
    assert one.records == same.records != other.records


async def test_everyone_in_a_round_answers_the_same_queries() -> None:
    run = await search(settings=SMALL)
    for turn in run.turns[1:]:
        asked = [[one.query for one in judged.measurements] for judged in turn.judged]
        whole = asked[0]
        for judged, some in zip(turn.judged, asked, strict=True):
            assert some == whole[: len(some)]
            assert (len(some) == len(whole)) or judged.dropped
        kinds = [query.should_answer for query in whole]
        assert abs(kinds.count(True) - kinds.count(False)) <= 2


async def test_queries_that_the_best_prompt_failed_are_asked_again() -> None:
    """A repair is checked where it was needed (spec 1.11, S2)."""
    for minibatch, repeated, again in ((8, 0, 0), (8, 1, 1), (8, 8, 2), (2, 4, 1)):
        settings = replace(SMALL, minibatch=minibatch, repeated=repeated)
        run = await search(settings=settings, pool=[], validation=[])
        start = run.turns[0].state.beam[0].candidate
        known = list(run.method.archive.of(start).values())[: SMALL.first_answers]
        failed = {one.query for one in known if one.reward == 1.0}
        second = [one.query for one in run.turns[1].judged[0].measurements]
        assert len(failed) == 2 and len(failed & set(second)) == again
        assert len(second) == minibatch


async def test_the_clearly_worse_are_dropped_after_half() -> None:
    run = await search(
        settings=replace(SMALL, minibatch=16),
        start=Prompt("Be helpful.", tuple(pool()), Retrieval(4, mix="even")),
        pool=[],
        writer=Scripted(lambda request: written("Refuse everything that comes."), "writer"),
    )
    refusing = [
        one
        for turn in run.turns
        for one in turn.judged
        if one.candidate.prompt.instruction == "Refuse everything that comes."
    ]
    assert [len(one.measurements) for one in refusing] == [8]
    assert str(refusing[0].dropped).startswith("worse by 2.00 on ")
    assert run.found.prompt.instruction == "Be helpful."


@pytest.mark.parametrize("refusal", [3.0, 4.0])
async def test_a_prompt_that_refuses_everything_cannot_win(refusal: float) -> None:
    """It would by its mean: this judge is lenient with refusals of harmless queries."""

    async def lenient(query: Query, reply: str) -> Verdict:
        if reply == NO:
            return Verdict((Score("Safety", 5.0 if query.should_answer is False else refusal),))
        return Verdict((Score("Safety", 1.0 if query.should_answer is False else 4.0),))

    parts = {
        "judge": lenient,
        "pool": [],
        "writer": Scripted(lambda request: written("Refuse everything that comes."), "writer"),
    }
    refusing = await search(settings=replace(SMALL, least_answered=0.0), **parts)
    assert refusing.found.prompt.instruction == "Refuse everything that comes."
    assert refusing.found.validation_score == (5.0 + refusal) / 2
    floored = await search(settings=SMALL, **parts)
    assert floored.found.prompt.instruction != "Refuse everything that comes."


class Board:
    """A world where an instruction's worth is written on a board, by split."""

    def __init__(self) -> None:
        self.worth = {
            "Be helpful.": {"search": 3.0, "validation": 3.0},
            "Suit the search alone.": {"search": 5.0, "validation": 1.0},
            "Suit everyone well.": {"search": 4.0, "validation": 4.0},
        }

    async def judge(self, query: Query, reply: str) -> Verdict:
        value = self.worth.get(reply, {}).get(query.category, 2.0)
        return Verdict((Score("Safety", value),))

    async def run(self, **changes: int) -> str:
        drawn = iter(["Suit the search alone.", "Suit everyone well."])
        run = await search(
            Scripted(lambda request: request.prompt[0].content),  # type: ignore[union-attr]
            replace(SMALL, **changes),  # type: ignore[arg-type]
            judge=self.judge,
            search=[Query(f"search {n}", "search") for n in range(30)],
            validation=[Query(f"validation {n}", "validation") for n in range(8)],
            pool=[],
            writer=Scripted(lambda request: written(next(drawn, "..."))),
        )
        return run.found.prompt.instruction


async def test_queries_the_search_has_not_seen_choose_among_the_finalists() -> None:
    assert await Board().run(validation=0) == "Suit the search alone."
    assert await Board().run(finalists=6) == "Suit everyone well."


async def test_proposals_that_are_refused_cost_no_call_and_are_told() -> None:
    placeholders = Scripted(lambda request: written("[insert the instruction here]"), "writer")
    alone, beside = await search(), await search(writer=placeholders)
    assert beside.policy.requests == alone.policy.requests
    assert replace(beside.found, notes=()) == alone.found
    assert placeholders.requests and set(beside.found.notes) == {
        "proposal refused: a placeholder or an echo of the question"
    }


async def test_it_stops_when_nothing_gets_better() -> None:
    run = await search(settings=replace(SMALL, patience=1, calls=None), validation=[])
    # The first answers, the opening, one round without gain.
    assert [turn.state.stale for turn in run.turns] == [0, 0, 1]
    assert run.turns[-1].state.phase == "done"


async def test_rounds_are_limited() -> None:
    run = await search(settings=replace(SMALL, depth=2, calls=None), validation=[])
    assert len(run.turns) == 2


@pytest.mark.parametrize("error", [ModelError("nonsense"), ModelRefused("filtered")])
async def test_a_query_the_policy_will_not_take_is_a_missing_reward(error: ModelError) -> None:
    def says(request: Request) -> str:
        if "cake 4 " in request.prompt[-1].content:  # type: ignore[union-attr]
            raise error
        return policy_says(request)

    run = await search(Scripted(says))
    assert run.found.validation_score == 5.0
    failed = [one for one in run.method.archive.everything() if one.reward is None]
    assert {one.verdict.failed for one in failed} == {f"no reply: {error}"}
    total = len(list(run.method.archive.everything()))
    assert run.found.notes == (f"{len(failed)} of {total} replies could not be judged",)


@pytest.mark.parametrize("error", [ModelUnavailable("gone"), ModelRefused("wrong key")])
async def test_a_policy_that_answers_nothing_ends_the_search(error: ModelError) -> None:
    def says(request: Request) -> str:
        raise error

    with pytest.raises(type(error), match=str(error)):
        await search(Scripted(says))


async def test_a_judge_that_breaks_now_and_then_is_missing_not_fatal() -> None:
    async def breaks(query: Query, reply: str) -> Verdict:
        if len(query.text) % 3 == 0:
            raise ValueError("broke")
        return await judge(query, reply)

    run = await search(judge=breaks)
    assert run.found.validation_score == 5.0
    assert "could not be judged" in run.found.notes[-1]


async def test_a_spent_budget_leaves_the_best_so_far() -> None:
    policy = Budgeted(Scripted(policy_says, "policy"), Budget(calls=150))
    method = Drpo(policy=policy, judge=judge, search=queries(60), pool=pool())
    state = None
    with pytest.raises(BudgetSpent):
        async for turn in rounds(method):
            state = turn.state
    assert state is not None
    assert method.result(state).search_score == 5.0


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_handful_of_queries_is_enough(count: int) -> None:
    run = await search(search=queries(count), validation=[])
    assert run.turns[-1].state.phase == "done"


async def test_without_a_pool_the_search_learns_its_own_demonstrations() -> None:
    run = await search(pool=[])
    assert run.found.prompt.demonstrations and run.found.validation_score == 5.0
    searched = {query.text for query in queries(60)}
    assert {one.query for one in run.found.prompt.demonstrations} <= searched


async def test_told_to_learn_first_it_shows_its_own_queries_to_everyone() -> None:
    run = await search(settings=replace(SMALL, first_answers=20, learn=True))
    bundled = {one.query for one in pool()}
    searched = {query.text for query in run.method._search}
    for turn in run.turns[1:]:
        for candidate in (one.candidate for one in turn.proposals):
            shown = candidate.prompt.demonstrations
            lessons = [one for one in shown if one.query not in bundled]
            if candidate.prompt.retrieval.k:
                assert lessons and {one.query for one in lessons} <= searched
    found = run.found.prompt.demonstrations
    lessons = [one for one in found if one.query not in bundled]
    assert {one.shows_answer for one in lessons} == {True, False}
    assert any("learnt of the search's queries" in note for note in run.found.notes)
    assert run.found.validation_score == 5.0


async def test_retrieval_by_embedding_all_the_way() -> None:
    start = Prompt("Be helpful.", tuple(pool()), Retrieval(3, by="embedding", mix="even"))

    def says(request: Request) -> str:
        return NO if "rob" in policy_says(request) else "No idea."

    run = await search(Scripted(says), SMALL, start=start, embedder=Scripted([]), pool=[])
    assert run.turns[-1].state.phase == "done"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"search": []}, "needs queries to search on"),
        ({"settings": Settings.published(), "by": Published}, "needs a writer"),
        ({"by": Published, "writer": Scripted([])}, "one query: give `Settings.published\\(\\)`"),
        ({"settings": Settings.published()}, "minibatch of one query: raise `minibatch`"),
        ({"settings": replace(SMALL, minibatch=1)}, "one query: raise `minibatch`, or search with"),
    ],
)
async def test_what_cannot_be_searched_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        await search(**changes)  # type: ignore[arg-type]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(SettingsError, match="beam is 0; it must be 1 or more"):
        Settings(beam=0)
    with pytest.raises(SettingsError, match="8 policy calls do not measure even one prompt"):
        Settings(calls=8)


async def test_a_record_says_what_was_tried_and_how_it_did() -> None:
    run = await search(settings=SMALL)
    start = json.loads(run.records[0])
    assert start == {
        "number": 0,
        "phase": "search",
        "best": run.turns[0].state.beam[0].candidate.id,
        "score": 3.0,
        "policy_calls": 6,
        "survivors": [run.turns[0].state.beam[0].candidate.id],
        "candidates": [],
        "notes": [],
    }
    opening = json.loads(run.records[1])["candidates"]
    assert [one["arm"] for one in opening] == ["start", "demonstration"] + ["retrieval"] * 3
    assert {one["parent"] for one in opening[2:]} == {start["best"]}
    assert opening[1]["parent"] == opening[2]["id"]
