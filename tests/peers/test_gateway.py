"""The gateway that peers are compared behind: what it counts, what it refuses, what it answers."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "peers"))

from gateway import Gateway, Run, Spent, longest_chain

from trueup import Query, Request, Scripted
from trueup.models.endpoint import Endpoint
from trueup.types import Message, Sampling, Score, Verdict

QUERIES = [Query("Why is the sky blue?"), Query("How do I mend a kettle?")]


async def judge(query: Query, reply: str) -> Verdict:
    if "unreadable" in reply:
        return Verdict(failed="it could not be read")
    return Verdict((Score("Clarity", 4.0, "short"), Score("Depth", 2.0, "thin")))


def opened(gateway: Gateway, **changes: Any) -> Run:
    given: dict[str, Any] = {
        "policy": Scripted(lambda request: f"a reply to {request.prompt[-1].content}"),
        "writer": Scripted(lambda request: f"draw {request.sampling.seed}"),
        "judge": judge,
        "queries": QUERIES,
        "sampling": Sampling(max_tokens=7),
        "calls": 2,
    }
    return gateway.open("run", **(given | changes))


async def asked(run: Run, role: str, text: str, **also: Any) -> tuple[int, Any]:
    body = {"model": role, "messages": [{"role": "user", "content": text}], **also}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{run.url}/{role}/v1/chat/completions", json=body) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_call_is_a_distinct_request_and_the_budget_is_never_exceeded() -> None:
    async with Gateway() as gateway:
        run = opened(gateway)
        statuses = [
            (await asked(run, "policy", text))[0] for text in ("a", "a", "b", "b", "c", "a", "d")
        ]
        assert statuses == [200, 200, 200, 200, 402, 200, 402]
        policy = run.models["policy"]
        assert isinstance(policy, Scripted)
        assert [one.prompt[-1].content for one in policy.requests] == ["a", "b"]  # type: ignore[union-attr]
        assert run.left == 0
        assert run.spent() == Spent(2, 0, 0, 0, 6, 2, 2)


async def test_requests_at_the_same_time_share_one_call_and_count_as_one_step() -> None:
    async with Gateway(delay=0.05) as gateway:
        run = opened(gateway, calls=20)
        await asyncio.gather(*(asked(run, "policy", f"{place % 4}") for place in range(12)))
        assert (run.spent().policy_calls, run.spent().steps) == (4, 1)
        await asked(run, "policy", "afterwards")
        assert run.spent().steps == 2


async def test_tokens_end_a_run_as_calls_do() -> None:
    async with Gateway() as gateway:
        run = opened(gateway, calls=100, tokens=20)
        long = "w" * 40  # ten tokens in, more out
        assert (await asked(run, "policy", long))[0] == 200
        assert (await asked(run, "policy", "another"))[0] == 402


async def test_how_the_policy_samples_is_not_the_tools_to_decide() -> None:
    async with Gateway() as gateway:
        run = opened(gateway)
        await asked(run, "policy", "a", temperature=1.5, max_tokens=999, seed=3, n=4)
        _, said = await asked(run, "writer", "a", temperature=1.5, seed=3, n=2)
        policy = run.models["policy"]
        assert isinstance(policy, Scripted)
        assert policy.requests == [Request((Message("user", "a"),), Sampling(max_tokens=7))]
        assert [one["message"]["content"] for one in said["choices"]] == ["draw 3", "draw 4"]


async def test_a_writer_that_is_asked_for_ever_is_stopped_too() -> None:
    async with Gateway() as gateway:
        run = opened(gateway, calls=3)
        found = [(await asked(run, "writer", "a", seed=seed))[0] for seed in range(5)]
        assert found == [200, 200, 200, 402, 402]


async def test_the_judge_is_a_metric_with_its_reasons() -> None:
    async with Gateway() as gateway, aiohttp.ClientSession() as session:
        run = opened(gateway)

        async def said(reply: str) -> Any:
            body = {"query": QUERIES[0].text, "reply": reply}
            async with session.post(f"{run.url}/judge", json=body) as answer:
                return await answer.json()

        assert await said("fine") == {
            "score": 0.5,
            "criteria": {"Clarity": 4.0, "Depth": 2.0},
            "feedback": "Depth 2 of 5 (thin); Clarity 4 of 5 (short)",
        }
        assert (await said("unreadable"))["score"] == 0.0
        assert run.spent().judge_calls == 2


async def test_our_own_client_is_a_client_like_any_other() -> None:
    async with Gateway() as gateway:
        run = opened(gateway)
        model = Endpoint(f"{run.url}/policy/v1", "policy", identity="policy")
        reply = await model.reply(Request((Message("user", "a"),), Sampling(max_tokens=7)))
        await model.close()
        assert reply.text == "a reply to a"
        assert run.spent().policy_calls == 1


@pytest.mark.parametrize(
    ("spans", "steps"),
    [
        ([], 0),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(0, 3), (1, 2), (2.5, 4)], 2),
        ([(0, 10), (1, 2), (3, 4), (5, 6)], 3),
        ([(0, 1)] * 50, 1),
    ],
)
def test_steps_are_the_most_requests_of_which_no_two_overlap(
    spans: list[tuple[float, float]], steps: int
) -> None:
    assert longest_chain(spans) == steps
    assert longest_chain(spans[::-1]) == steps
