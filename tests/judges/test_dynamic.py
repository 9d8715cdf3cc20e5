"""Criteria are chosen once per query; replies are scored on them; nothing unreadable is a zero."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from trueup.errors import BudgetSpent, JudgeError, ModelUnavailable
from trueup.judges.criteria import POOL, Criterion
from trueup.judges.dynamic import Dynamic
from trueup.judges.scoring import Checks, Judging, Selection, Static
from trueup.models.scripted import Scripted
from trueup.types import Message, Query, Request, Score, Verdict

QUERY = Query("How do I boil an egg?")
BY_NAME = {criterion.name: criterion for criterion in POOL}


def selects(request: Request) -> bool:
    """Whether a request asks for criteria rather than for scores."""
    return "analysis" in (request.schema or {})["properties"]


def selection(*names: str, reasoning: str = "Say how long.") -> str:
    parts = ("topic", "intent", "ambiguities", "format", "challenges")
    return json.dumps(
        {"analysis": dict.fromkeys(parts, "x"), "reasoning": reasoning, "criteria": names}
    )


def scores(request: Request, value: object = 4) -> str:
    """A faultless scorer's answer: every criterion that the schema asks for."""
    names = (request.schema or {})["required"]
    return json.dumps({name: {"reason": f"on {name}", "score": value} for name in names})


def judge_model(
    choose: Callable[[Request], str] = lambda request: selection("Clarity", "Helpfulness"),
    score: Callable[[Request], str] = scores,
    delay: float = 0.0,
) -> Scripted:
    return Scripted(
        lambda request: choose(request) if selects(request) else score(request), delay=delay
    )


async def test_a_reply_is_scored_on_the_chosen_criteria_with_reasons() -> None:
    judge = Dynamic(judge_model())
    assert await judge(QUERY, "Eight minutes.") == Verdict(
        scores=(Score("Helpfulness", 4.0, "on Helpfulness"), Score("Clarity", 4.0, "on Clarity"))
    )
    assert await judge.select(QUERY) == Selection(
        (BY_NAME["Helpfulness"], BY_NAME["Clarity"]), "Say how long."
    )


async def test_the_justification_and_the_anchors_reach_the_scorer() -> None:
    model = judge_model()
    await Dynamic(model)(QUERY, "Eight minutes.")
    asked = model.requests[-1].prompt[-1].content
    assert "Say how long." in asked
    assert BY_NAME["Clarity"].worst in asked and BY_NAME["Clarity"].best in asked
    assert BY_NAME["Empathy"].best not in asked


async def test_criteria_are_chosen_once_per_query_however_many_ask() -> None:
    model = judge_model(delay=0.01)
    judge = Dynamic(model)
    queries = [Query(f"Question {n}?") for n in range(4)]
    await asyncio.gather(judge.select_all(queries), judge.select_all(reversed(queries)))
    await asyncio.gather(*(judge(query, reply) for query in queries for reply in "abc"))
    asked = [selects(request) for request in model.requests]
    assert (asked.count(True), asked.count(False)) == (4, 12)


async def test_queries_with_another_history_are_other_queries() -> None:
    model = judge_model()
    judge = Dynamic(model)
    later = Query(QUERY.text, history=(Message("user", "Hi"), Message("assistant", "Hello")))
    await judge.select_all([QUERY, later])
    assert len(model.requests) == 2
    assert "user: Hi\nassistant: Hello\nuser: How do I boil" in model.requests[1].prompt[1].content


@pytest.mark.parametrize("error", [BudgetSpent("spent"), ModelUnavailable("nobody there")])
async def test_what_ended_a_job_is_raised_and_not_remembered(error: Exception) -> None:
    failing = True

    def choose(request: Request) -> str:
        if failing:
            raise error
        return selection("Clarity", "Depth")

    judge = Dynamic(judge_model(choose))
    with pytest.raises(type(error)):
        await judge(QUERY, "Eight minutes.")
    failing = False
    assert (await judge(QUERY, "Eight minutes.")).reward == 4.0


async def test_the_constant_text_comes_first_in_both_prompts() -> None:
    model = judge_model()
    judge = Dynamic(model)
    await judge(QUERY, "One reply.")
    await judge(QUERY, "Another reply.")
    await judge(Query("Why is the sky blue?"), "Scattering.")
    choosing = [request.prompt for request in model.requests if selects(request)]
    scoring = [request.prompt for request in model.requests if not selects(request)]
    assert choosing[0][0] == choosing[1][0] and "Empathy" in choosing[0][0].content
    assert scoring[0][0] == scoring[1][0] == scoring[2][0]
    first, second = scoring[0][1].content, scoring[1][1].content
    same = next(at for at, pair in enumerate(zip(first, second, strict=False)) if len({*pair}) > 1)
    assert "Say how long." in first[:same], "all but the reply is shared by replies to one query"


async def test_unknown_names_are_left_out_and_recorded() -> None:
    judge = Dynamic(judge_model(lambda request: selection("Humour", "Clarity", "depth")))
    verdict = await judge(QUERY, "Eight minutes.")
    assert [score.criterion for score in verdict.scores] == ["Clarity", "Depth"]
    assert verdict.dropped == ("'Humour' is not in the pool",)


async def test_more_than_the_most_are_left_out_and_recorded() -> None:
    names = [criterion.name for criterion in POOL[:7]]
    chosen = await Dynamic(judge_model(lambda request: selection(*names))).select(QUERY)
    assert chosen.criteria == POOL[:5]
    assert chosen.dropped == (
        "Conciseness: more than 5 criteria were named",
        "Safety: more than 5 criteria were named",
    )


@pytest.mark.parametrize(
    "unreadable", ["", "I would say clarity.", selection("Humour", "Charm"), selection("Clarity")]
)
async def test_without_a_readable_selection_a_fixed_set_is_used_and_said(unreadable: str) -> None:
    model = judge_model(lambda request: unreadable)
    verdict = await Dynamic(model)(QUERY, "Eight minutes.")
    assert [score.criterion for score in verdict.scores] == [
        "Helpfulness",
        "Clarity",
        "Factuality",
    ]
    (said,) = verdict.dropped
    assert said.startswith("selection failed (unreadable, asked 3 times: ")
    assert said.endswith("; used Helpfulness, Clarity, Factuality")
    assert sum(map(selects, model.requests)) == 3


async def test_other_shapes_of_the_same_answer_are_read() -> None:
    chosen = '{"selection": {"criteria": "clarity, depth", "reasoning": 7}}'
    scored = '{"scores": {"CLARITY": "4/5", "2. Depth": {"score": "three", "why": "thin"}}}'
    verdict = await Dynamic(judge_model(lambda r: chosen, lambda r: scored))(QUERY, "Hm.")
    assert verdict == Verdict((Score("Clarity", 4.0), Score("Depth", 3.0)))


async def test_scores_that_cannot_be_read_are_left_out_and_recorded() -> None:
    def score(request: Request) -> str:
        return '{"Helpfulness": {"reason": "x", "score": 7}, "Clarity": 4.5, "Charm": 5}'

    judge = Static(judge_model(score=score), POOL[:3])
    assert await judge(QUERY, "Hm.") == Verdict(
        (Score("Clarity", 4.5),),
        dropped=(
            "Helpfulness: the score 7 is not on the scale from 1 to 5",
            "'Charm' was not asked for",
            "Factuality: no score was given",
        ),
    )


async def test_a_judgement_of_which_nothing_can_be_read_has_failed() -> None:
    judge = Static(judge_model(score=lambda request: '{"Helpfulness": {"score": 9}}'), POOL[:2])
    verdict = await judge(QUERY, "Hm.")
    assert verdict == Verdict(
        failed="unreadable, asked 3 times: Helpfulness: the score 9 is not on the scale from 1 to 5"
    )
    assert verdict.reward is None


async def test_the_middle_of_a_novel_is_not_shown_and_that_is_recorded() -> None:
    model = judge_model()
    novel = "start" + "x" * 100_000 + "end"
    verdict = await Static(model, POOL[:1])(QUERY, novel)
    assert verdict.reward == 4.0
    assert verdict.dropped == ("88008 of 100008 characters of the reply",)
    assert len(str(model.requests[0].prompt)) < 20_000


@dataclass(frozen=True)
class Polite:
    """A check: 5 with a please, 1 without; only for queries that are not sums."""

    name: str = "Politeness"

    def applies(self, query: Query) -> bool:
        return query.category != "sums"

    def __call__(self, query: Query, reply: str) -> Score | None:
        return Score(self.name, 5.0 if "please" in reply else 1.0, "read by code")


POLITE = Criterion("Politeness", good="says please", check=Polite())


async def test_criteria_that_are_code_are_scored_by_code() -> None:
    model = judge_model(lambda request: selection("Politeness", "Clarity"))
    judge = Dynamic(model, (*POOL, POLITE))
    assert await judge(QUERY, "please wait") == Verdict(
        (Score("Clarity", 4.0, "on Clarity"), Score("Politeness", 5.0, "read by code"))
    )
    assert "- Politeness: says please" in model.requests[0].prompt[0].content
    assert (model.requests[1].schema or {})["required"] == ["Clarity"]


async def test_a_selection_of_code_alone_asks_for_no_scores() -> None:
    judge = Dynamic(
        judge_model(lambda request: selection("Politeness"), lambda request: "never asked"),
        (POLITE, *POOL),
        Judging(selection=(1, 2)),
    )
    assert (await judge(QUERY, "no")).reward == 1.0


async def test_a_chosen_check_that_does_not_apply_is_recorded() -> None:
    judge = Dynamic(
        judge_model(lambda request: selection("Politeness", "Clarity")), (*POOL, POLITE)
    )
    verdict = await judge(Query("1 + 1?", category="sums"), "2")
    assert [score.criterion for score in verdict.scores] == ["Clarity"]
    assert verdict.dropped == ("Politeness: does not apply to this query",)


async def test_a_mandatory_check_is_scored_wherever_it_applies() -> None:
    always = Criterion("Politeness", good="says please", check=Polite(), always=True)
    judge = Dynamic(judge_model(), (always, *POOL))
    assert [score.criterion for score in (await judge(QUERY, "no")).scores] == [
        "Politeness",
        "Helpfulness",
        "Clarity",
    ]
    unasked = await judge(Query("1 + 1?", category="sums"), "2")
    assert [score.criterion for score in unasked.scores] == ["Helpfulness", "Clarity"]
    assert unasked.dropped == ()


async def test_a_failed_question_leaves_no_half_verdict() -> None:
    criteria = (POLITE, BY_NAME["Clarity"])
    verdict = await Static(judge_model(score=lambda request: "no"), criteria)(QUERY, "please")
    assert verdict.scores == () and verdict.failed is not None


async def test_checks_alone_make_a_judge_without_a_model() -> None:
    def short(query: Query, reply: str) -> float:
        return 5.0 if len(reply) < 10 else 2.0

    judge = Checks([Polite(), short])
    assert await judge(QUERY, "please") == Verdict(
        (Score("Politeness", 5.0, "read by code"), Score("short", 5.0))
    )
    assert await Checks([Polite()])(Query("1?", category="sums"), "2") == Verdict(
        failed="no check scored the reply: none applies to this query"
    )


async def test_a_check_may_wait_say_nothing_or_break() -> None:
    async def slow(query: Query, reply: str) -> float:
        await asyncio.sleep(0)
        return 3.0

    def silent(query: Query, reply: str) -> None:
        return None

    def broken(query: Query, reply: str) -> float:
        raise ZeroDivisionError("oops")

    def loud(query: Query, reply: str) -> float:
        return float("nan")

    assert await Checks([slow, silent, broken, loud])(QUERY, "Hm.") == Verdict(
        (Score("slow", 3.0),),
        dropped=(
            "broken: its check raised ZeroDivisionError: oops",
            "loud: 'nan' is not a score",
        ),
    )


async def test_a_check_that_spends_the_budget_ends_the_job() -> None:
    def costly(query: Query, reply: str) -> float:
        raise BudgetSpent("spent")

    with pytest.raises(BudgetSpent):
        await Checks([costly])(QUERY, "Hm.")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dynamic(judge_model(), ()),
        lambda: Dynamic(judge_model(), (*POOL, POOL[0])),
        lambda: Dynamic(judge_model(), POOL, Judging(selection=(3, 2))),
        lambda: Static(judge_model(), ()),
        lambda: Checks([]),
        lambda: Checks([POOL[0]]),
    ],
)
def test_judges_that_cannot_work_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(JudgeError):
        make()


FAULTS = (
    "",
    "{",
    '{"Helpfulness": {"reason": "x", "score"',
    "I think it is quite good overall.",
    "novel " * 17_000,
    '{"Charm": {"reason": "unknown", "score": 5}}',
    '{"Helpfulness": {"reason": "off", "score": 7}}',
    "null",
    "[1, 2, 3]",
    "\x00\ud800",
)


@pytest.mark.parametrize("seed", range(5))
async def test_a_judge_that_fails_three_times_in_ten_gives_right_or_failed_verdicts(
    seed: int,
) -> None:
    dice = random.Random(seed)

    def faulty(right: Callable[[Request], str]) -> Callable[[Request], str]:
        def answer(request: Request) -> str:
            if dice.random() < 0.3:
                return dice.choice([*FAULTS, right(request)[:-30]])
            return right(request)

        return answer

    def score(request: Request) -> str:
        # The right score is written in the reply; some of the time it is written as a fraction.
        value = request.prompt[-1].content.partition("worth ")[2][0]
        return scores(request, f"{value}/5" if dice.random() < 0.5 else int(value))

    judge = Dynamic(
        judge_model(faulty(lambda request: selection("Depth", "Safety")), faulty(score))
    )
    replies = [(Query(f"Question {n}?"), n % 5 + 1) for n in range(60)]
    verdicts = await asyncio.gather(
        *(judge(query, f"This is worth {value}.") for query, value in replies)
    )
    for (_, value), verdict in zip(replies, verdicts, strict=True):
        if verdict.failed is None:
            assert {score.value for score in verdict.scores} == {float(value)}
            assert verdict.reward == value
        else:
            assert verdict.scores == () and verdict.reward is None
            assert verdict.failed.startswith("unreadable, asked 3 times: ")
    assert sum(verdict.failed is None for verdict in verdicts) >= 54, "re-asking helps"
