"""One model on many queries: in order, bounded, and whatever goes wrong with one stays with one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from trueup.errors import (
    BudgetSpent,
    DataError,
    JudgeError,
    ModelRefused,
    ModelUnavailable,
    SettingsError,
)
from trueup.evaluation.comparison import evaluation_table
from trueup.evaluation.evaluate import Evaluation, Progress, Result, evaluate, streamed
from trueup.models.scripted import Scripted
from trueup.types import (
    Choice,
    Message,
    Query,
    Reply,
    Request,
    Sampling,
    Score,
    Usage,
    Verdict,
)

QUERIES = [Query(f"q{n}", "even" if n % 2 == 0 else "odd", n % 2 == 0) for n in range(6)]


def asked(request: Request) -> str:
    assert not isinstance(request.prompt, str)
    return request.prompt[-1].content


def outcome(query: Query, reply: str) -> str:
    return "refused" if reply.startswith("No") else "answered"


async def judge(query: Query, reply: str) -> Verdict:
    """Scores the number in the query, and fails on q3."""
    if query.text == "q3":
        return Verdict(failed="unreadable")
    return Verdict((Score("Helpful", 1 + int(query.text[1:]) % 5, "because"),))


async def test_every_query_is_answered_judged_and_kept_in_order() -> None:
    def script(request: Request) -> Reply:
        return Reply((Choice(f"No {asked(request)}", "length"),), Usage(3, 2, 1), 0.5)

    model = Scripted(script)
    sampling = Sampling(max_tokens=7, temperature=0.3)
    sunk: list[Result] = []
    seen: list[Progress] = []
    found = await evaluate(
        model,
        QUERIES[2:4],
        judge,
        sampling=sampling,
        outcome=outcome,
        sink=sunk.append,
        on_progress=seen.append,
        label="base",
    )
    first = Result(
        0,
        QUERIES[2],
        "No q2",
        Verdict((Score("Helpful", 3, "because"),)),
        2,
        "refused",
        "length",
        Usage(3, 2, 1),
        0.5,
    )
    second = replace(
        first, number=1, query=QUERIES[3], reply="No q3", verdict=Verdict(failed="unreadable")
    )
    assert found == Evaluation("scripted", (first, second))
    assert sunk == [first, second]
    assert seen == [Progress(1, 2, 0, 3.0, "base"), Progress(2, 2, 1, 3.0, "base")]
    assert (found.reward, found.failed, found.usage) == (3.0, 1, Usage(6, 4, 2))
    assert model.requests == [Request((Message("user", f"q{n}"),), sampling) for n in (2, 3)]
    summary = json.loads(json.dumps(found.to_dict()))
    assert summary["results"][1]["verdict"]["failed"] == "unreadable"
    assert summary["results"][0]["reward"] == 3.0
    del summary["results"]
    assert summary == found.to_dict(results=False)


async def test_earlier_turns_go_with_the_query() -> None:
    model = Scripted(lambda request: "Yes")
    history = (Message("user", "Hi"), Message("assistant", "Hello"))
    await evaluate(model, [Query("q1", history=history)], judge, outcome=outcome)
    assert model.requests[0].prompt == (*history, Message("user", "q1"))


async def test_slow_replies_do_not_change_the_order_nor_exceed_the_limit() -> None:
    under_way = most = 0

    async def script(request: Request) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.02 if asked(request) in ("q0", "q7") else 0)
        under_way -= 1
        return asked(request)

    queries = [Query(f"q{n}") for n in range(50)]
    found = await evaluate(Scripted(script), queries, judge, outcome=outcome, concurrency=4)
    assert [result.reply for result in found.results] == [query.text for query in queries]
    assert most == 4


async def test_a_stream_of_queries_is_read_as_it_is_needed() -> None:
    read = 0

    def stream() -> Iterator[Query]:
        nonlocal read
        for n in range(10_000):
            read += 1
            yield Query(f"q{n}")

    results = streamed(Scripted(lambda r: "x"), stream(), judge, outcome=outcome, concurrency=5)
    assert (await anext(results)).number == 0
    assert (await anext(results)).number == 1
    assert read <= 25
    await results.aclose()
    assert len(asyncio.all_tasks()) == 1


async def test_what_the_model_refuses_is_recorded() -> None:
    def script(request: Request) -> str:
        if asked(request) == "q1":
            raise ModelRefused("The server filtered it.")
        return "fine"

    found = await evaluate(Scripted(script), QUERIES[:3], judge, outcome=outcome)
    assert found.results[1] == Result(
        1, QUERIES[1], None, Verdict(failed="no reply: The server filtered it.")
    )
    assert [result.reply for result in found.results] == ["fine", None, "fine"]


async def test_a_model_that_refuses_everything_ends_the_evaluation() -> None:
    def script(request: Request) -> str:
        raise ModelRefused("Wrong key.")

    with pytest.raises(ModelRefused, match="Wrong key"):
        await evaluate(Scripted(script), QUERIES, judge, outcome=outcome)


@pytest.mark.parametrize("error", [ModelUnavailable("Nobody answers."), JudgeError("No pool.")])
async def test_what_ends_the_job_goes_through(error: Exception) -> None:
    async def broken(query: Query, reply: str) -> Verdict:
        raise error

    with pytest.raises(type(error)):
        await evaluate(Scripted(lambda r: "x"), QUERIES, broken, outcome=outcome)
    assert len(asyncio.all_tasks()) == 1


async def test_what_is_under_way_is_given_up_when_the_job_ends() -> None:
    async def script(request: Request) -> str:
        if asked(request) != "q0":
            await asyncio.Event().wait()
        raise ModelUnavailable("Nobody answers.")

    with pytest.raises(ModelUnavailable):
        await asyncio.wait_for(evaluate(Scripted(script), QUERIES, judge, outcome=outcome), 5)


async def test_a_judge_that_breaks_on_a_reply_has_failed_on_it() -> None:
    async def broken(query: Query, reply: str) -> Verdict:
        raise ZeroDivisionError("no words")

    found = await evaluate(Scripted(lambda r: "x"), QUERIES[:1], broken, outcome=outcome)
    assert found.results[0].verdict == Verdict(
        failed="the judge raised ZeroDivisionError: no words"
    )
    assert found.results[0].reply == "x"


async def test_a_spent_budget_keeps_what_was_measured() -> None:
    def script(request: Request) -> str:
        if asked(request) >= "q4":
            raise BudgetSpent("4 calls are made.")
        return "x"

    found = await evaluate(Scripted(script), QUERIES, judge, outcome=outcome)
    assert [result.number for result in found.results] == [0, 1, 2, 3]
    assert found.stopped == "4 calls are made."


async def test_broken_input_is_the_callers_to_see() -> None:
    def stream() -> Iterator[Query]:
        yield Query("q1")
        raise DataError("line 2 is not JSON")

    with pytest.raises(DataError):
        await evaluate(Scripted(lambda r: "x"), stream(), judge, outcome=outcome)
    with pytest.raises(SettingsError, match="concurrency"):
        await evaluate(Scripted(lambda r: "x"), QUERIES, judge, outcome=outcome, concurrency=0)


async def test_texts_can_be_left_to_the_sink() -> None:
    sunk: list[Result] = []
    model = Scripted(lambda request: "some words here")
    whole = await evaluate(model, QUERIES, judge, outcome=outcome)
    light = await evaluate(
        model, QUERIES, judge, outcome=outcome, keep_texts=False, sink=sunk.append
    )
    assert sunk == list(whole.results)
    assert {(r.query.text, r.reply) for r in light.results} == {("", "")}
    assert evaluation_table(light) == evaluation_table(whole)


async def test_a_table_of_one_model() -> None:
    model = Scripted(lambda request: "No" if asked(request) == "q1" else "Yes it is")
    rows = evaluation_table(await evaluate(model, QUERIES, judge, outcome=outcome))
    found = {(r.group, r.name): (r.before and r.before.value, r.n, r.failed) for r in rows}
    assert found == {
        ("safety", "balanced safety"): (pytest.approx(2 / 3), 6, 0),
        ("safety", "harmful refused"): (pytest.approx(1 / 3), 3, 0),
        ("safety", "harmless answered"): (1.0, 3, 0),
        ("reward", "reward"): (pytest.approx((1 + 2 + 3 + 5 + 1) / 5), 5, 1),
        ("criterion", "Helpful"): (pytest.approx(2.4), 5, 0),
        ("category", "even"): (3.0, 3, 0),
        ("category", "odd"): (1.5, 2, 1),
        ("behaviour", "even"): (1.0, 3, 0),
        ("behaviour", "odd"): (pytest.approx(1 / 3), 3, 0),
        ("outcome", "answered"): (pytest.approx(5 / 6), 6, 0),
        ("outcome", "refused"): (pytest.approx(1 / 6), 6, 0),
        ("outcome", "degenerate"): (0.0, 6, 0),
        ("outcome", "off topic"): (0.0, 6, 0),
        ("length", "words"): (pytest.approx(16 / 6), 6, 0),
        ("length", "tokens out"): (pytest.approx(10 / 6), 6, 0),
        ("length", "cut off"): (0.0, 6, 0),
        ("cost", "tokens in"): (0.0, 6, 0),
    }
