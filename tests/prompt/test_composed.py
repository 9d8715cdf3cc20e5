"""The search that composes prompts: what it asks, what it may spend, what it finds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.prompt.world import NO, policy_says, pool, queries
from trueup.errors import SettingsError
from trueup.loop import rounds
from trueup.models.scripted import Scripted
from trueup.prompt.composed import Composed, round_size, rounds_within
from trueup.prompt.effects import Effects
from trueup.prompt.parts import Parts
from trueup.prompt.prompt import Prompt
from trueup.prompt.settings import Settings
from trueup.prompt.states import Found
from trueup.types import Query, Request, Score, Verdict

SETTINGS = Settings(calls=120, validation=8)


async def right(query: Query, reply: str) -> Verdict:
    """Refused where that is due, and nowhere else."""
    value = 5.0 if (reply == NO) is (query.should_answer is False) else 1.0
    return Verdict((Score("Safety", value),))


async def found(
    settings: Settings = SETTINGS,
    affordable: int | None = None,
    policy: Scripted | None = None,
    **given: object,
) -> tuple[Found, Scripted, Composed]:
    policy = policy or Scripted(policy_says)
    usual: dict[str, object] = {
        "judge": right,
        "search": queries(40),
        "validation": queries(20, first=40),
        "pool": pool(),
    }
    method = Composed(policy=policy, settings=settings, **(usual | given))  # type: ignore[arg-type]
    async for turn in rounds(method):
        state = turn.state
        json.dumps(method.record(turn))
        if affordable is not None and turn.number == 2:
            method.afford(affordable)
    return method.result(state), policy, method


async def test_it_finds_demonstrations_that_make_the_policy_refuse_and_answer() -> None:
    result, _, _ = await found()
    assert result.prompt.retrieval.k > 0
    assert result.validation_score is not None and result.validation_score > 4.4


async def test_a_written_line_that_ruins_replies_is_not_in_the_result() -> None:
    line = "Refuse everything, always, whatever it is."
    answer = json.dumps({"instruction": f"You are a helpful assistant.\n- {line}"})
    writer = Scripted(lambda request: answer)
    result, policy, _ = await found(writer=writer)
    asked = [one.prompt[0].content for one in policy.requests if not isinstance(one.prompt, str)]
    assert any(line in text for text in asked)
    assert line not in result.prompt.instruction


@pytest.mark.parametrize("calls", [16, 20, 50, 120])
async def test_it_spends_no_more_calls_than_it_may(calls: int) -> None:
    result, policy, method = await found(replace(SETTINGS, calls=calls))
    assert len({one.content() for one in policy.requests}) == method.policy_calls <= calls
    assert result.policy_calls == method.policy_calls


async def test_without_calls_left_nobody_is_asked_to_write() -> None:
    writer = Scripted(lambda request: json.dumps({"instruction": "Be brief."}))
    await found(writer=writer)
    asked, writer.requests = len(writer.requests), []
    await found(affordable=0, writer=writer)
    assert 0 < len(writer.requests) < asked
    # Once before each of the two rounds that were made.
    assert len({request.sampling.seed // 1000 for request in writer.requests}) == 2


@pytest.mark.parametrize("calls", [0, 40, 60])
async def test_told_on_the_way_of_fewer_calls_it_makes_do(calls: int) -> None:
    result, _, method = await found(affordable=calls)
    assert method.policy_calls <= max(calls, sum(map(round_size, range(3))))
    assert result.prompt.retrieval.k > 0
    # Finalists are compared where two can be.
    assert (result.validation_score is not None) is (calls == 60)


async def test_told_before_the_finalists_that_one_is_affordable_it_compares_none() -> None:
    method = Composed(
        policy=Scripted(policy_says), judge=right, search=queries(40),
        validation=queries(20, first=40), pool=pool(), settings=SETTINGS,
    )  # fmt: skip
    asked = 0
    async for turn in rounds(method):
        state = turn.state
        if state.phase == "validate":
            asked = method.policy_calls
            method.afford(asked + SETTINGS.validation)
    assert state.phase == "done" and 0 < asked == method.policy_calls
    assert method.result(state).validation_score is None


async def test_the_prompt_as_given_wins_where_its_form_is_what_helps() -> None:
    start = Prompt("You are a helpful assistant.\n\n- Be kind.\n- Be brief.")

    def says(request: Request) -> str:
        alone = len(request.prompt) == 2
        return "good" if alone and request.prompt[0].content == start.instruction else "bad"  # type: ignore[union-attr]

    async def judge(query: Query, reply: str) -> Verdict:
        return Verdict((Score("Depth", 5.0 if reply == "good" else 2.0),))

    remedies = {"Depth": ["Give details.", "Give reasons."]}
    policy = Scripted(says)
    result, *_ = await found(policy=policy, judge=judge, start=start, remedies=remedies)
    assert result.prompt.instruction == start.instruction and result.validation_score == 5.0


async def test_own_replies_that_answer_what_is_to_be_refused_are_not_shown() -> None:
    """Harmless ones that were refused neither, though this judge would have them middling."""

    async def middling(query: Query, reply: str) -> Verdict:
        good = (reply == NO) is (query.should_answer is False)
        return Verdict((Score("Depth", 3.5 if good else 3.0),))

    # Every second query is met with the wrong behaviour, whatever the prompt.
    def says(request: Request) -> str:
        query = request.prompt[-1].content  # type: ignore[union-attr]
        wrong = int(query.split()[5]) % 4 < 2
        return NO if ("rob" in query) is not wrong else f"Well, it goes like this: {query}"

    policy = Scripted(says)
    await found(policy=policy, judge=middling, pool=[])
    shown = set()
    for request in policy.requests:
        assert not isinstance(request.prompt, str)
        turns = [turn.content for turn in request.prompt[1:-1]]
        shown |= set(zip(turns[::2], turns[1::2], strict=True))
    assert shown
    assert all(("rob" in query) is (reply == NO) for query, reply in shown)


@pytest.mark.parametrize("remedies", [{}, {"Safety": ["Refuse gently.", "Be brief."]}])
async def test_every_reply_is_learnt_from_once(
    remedies: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[tuple[frozenset[str], Query]] = []
    add = Effects.add

    def noted(self: Effects, parts: frozenset[str], query: Query, verdict: Verdict) -> None:
        learnt.append((parts, query))
        add(self, parts, query, verdict)

    monkeypatch.setattr(Effects, "add", noted)
    settings = replace(SETTINGS, calls=200, validation=0)
    _, _, method = await found(settings, remedies=remedies, search=queries(10), pool=[])
    assert 0 < len(learnt) == len(set(learnt)) == method.policy_calls


async def test_the_same_seed_finds_the_same_prompt_and_asks_the_same() -> None:
    first, policy, _ = await found()
    again, other, _ = await found()
    assert first == again
    assert {one.content() for one in policy.requests} == {one.content() for one in other.requests}


async def test_failed_judgements_are_left_out_and_told() -> None:
    async def silent(query: Query, reply: str) -> Verdict:
        return Verdict(failed="no answer")

    policy = Scripted(policy_says)
    method = Composed(policy=policy, judge=silent, search=queries(20), settings=SETTINGS)
    async for turn in rounds(method):
        state = turn.state
    result = method.result(state)
    assert result.prompt == Prompt() and "could not be judged" in result.notes[-1]


def test_no_queries_are_refused() -> None:
    with pytest.raises(SettingsError, match="none were given"):
        Composed(policy=Scripted(policy_says), judge=right, search=[])


def test_rounds_grow_and_fill_the_budget() -> None:
    for replies in range(2, 400, 7):
        count = rounds_within(replies)
        assert sum(map(round_size, range(count - 1))) <= replies - 2
        assert sum(map(round_size, range(count))) >= replies - 1


def test_a_line_more_is_taken_only_when_it_is_worth_the_crowding() -> None:
    lines = [f"Line {number}." for number in range(6)]
    parts = Parts(Prompt("Be good."), (), {"Depth": lines})
    worths = {"Be good.": 0.1} | dict.fromkeys(lines, 0.1)
    crowded = worths | {"more than 3 lines": -1.0}
    assert parts.composed(worths).prompt.instruction.count("\n") == 6
    assert parts.composed(crowded).prompt.instruction == "Be good.\nLine 0.\nLine 1."


def test_where_no_line_is_worth_it_the_instruction_as_given_counts_with_its_lines() -> None:
    parts = Parts(Prompt("Be good.\nBe brief."), (), {"Depth": ["Give details."]})
    whole = parts.composed({"Be good.": 1.0, "Be brief.": 1.0})
    none = parts.composed(dict.fromkeys(["Be good.", "Be brief.", "Give details."], -1.0))
    assert none.id == whole.id
    assert parts.of(none) == {"Be good.", "Be brief.", "no demonstrations"}


def test_bullets_and_wording_do_not_make_a_line_new() -> None:
    parts = Parts(Prompt("Be good."), (), {})
    parts.learn("Be good!\n- Be brief.\n2. be brief", "Depth")
    taken = parts.composed({"Be good.": 1.0, "Be brief.": 1.0, "be brief": 1.0})
    assert taken.prompt.instruction == "Be good.\nBe brief."
