"""The same seed and a server that repeats itself: the same aligned.toml to the byte.

Whatever the concurrency, in whatever order answers come, from memory or from disk, from one server
or from several, and from one that breaks.
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.models.fake_server import Body, FakeServer
from tests.playing import data_file, pool_file
from trueup import Job, Message, Model, Request, Sampling, Scripted, align
from trueup.models.balanced import Balanced
from trueup.models.endpoint import Endpoint
from trueup.models.pace import Pace

from .proxy import FaultProxy
from .world import PATIENT, deterministic, drawn, said


def a_job(folder: Path, out: str, **settings: Any) -> Job:
    return Job.of(
        {
            "data": data_file(folder), "demonstrations": pool_file(folder), "judge": "dynamic",
            "calls": 60, "held_out": 6, "validation": 4, "max_tokens": 64,
            "out": str(folder / out),
        }
        | settings
    )  # fmt: skip


def as_body(request: Request) -> Body:
    """The request as a server would see it."""
    assert not isinstance(request.prompt, str)
    body: Body = {
        "messages": [[turn.role, turn.content] for turn in request.prompt],
        "seed": request.sampling.seed,
    }
    if request.schema is not None:
        body["response_format"] = {"json_schema": {"schema": dict(request.schema)}}
    return body


def in_any_order(seed: int, at_once: int) -> Scripted:
    """Answers when it likes, to so many at a time."""
    chance, gate = random.Random(seed), asyncio.Semaphore(at_once)

    async def answer(request: Request) -> str:
        async with gate:
            for _ in range(chance.choice([0, 0, 1, 5, 40])):
                await asyncio.sleep(0)
            return said(as_body(request), 0)

    return Scripted(answer, "deterministic")


async def aligned(job: Job, model: Model) -> bytes:
    outcome = await align(job, models={"policy": model, "writer": model, "judge": model})
    assert outcome.results["stopped"] is None
    return (outcome.folder / "aligned.toml").read_bytes().replace(str(job.out).encode(), b"OUT")


@pytest.mark.parametrize("published", [False, True])
async def test_in_whatever_order_answers_come(tmp_path: Path, published: bool) -> None:
    def job(out: str) -> Job:
        if not published:
            return a_job(tmp_path, out)
        return a_job(tmp_path, out, published=True, calls=None, validation=None)

    found = [
        await aligned(job(f"run-{seed}"), in_any_order(seed, at_once))
        for seed, at_once in enumerate([1, 3, 16, 1000])
    ]
    assert found == [found[0]] * 4
    again = await aligned(job("run-0"), in_any_order(9, 7))
    (tmp_path / "run-1" / "finished.json").unlink()
    replayed = await aligned(job("run-1"), in_any_order(9, 7))
    assert again == replayed == found[0]
    other = await aligned(a_job(tmp_path, "other", seed=1), in_any_order(0, 16))
    assert other != found[0]


async def test_from_one_server_from_several_and_from_one_that_breaks(tmp_path: Path) -> None:
    identity = "endpoint:the same#fake"
    found = []
    async with AsyncExitStack() as stack:
        servers = [deterministic(await stack.enter_async_context(FakeServer())) for _ in range(3)]
        servers[1].delay = 0.01
        proxy = await stack.enter_async_context(FaultProxy(servers[0].url, rate=0.3, seed=4))

        def endpoint(url: str, at_once: int) -> Endpoint:
            return Endpoint(
                url, "fake", identity=identity, concurrency=at_once, patience=PATIENT, timeout=1
            )

        models: list[Model] = [
            endpoint(servers[0].url, 1),
            endpoint(servers[1].url, 64),
            endpoint(proxy.url, 8),
            Balanced([(endpoint(one.url, 8), Pace(8)) for one in servers], identity=identity),
        ]
        for number, model in enumerate(models):
            found.append(await aligned(a_job(tmp_path, f"run-{number}", calls=40), model))
    assert found == [found[0]] * 4
    assert all(server.seen for server in servers)


def now_and_then(body: Body, place: int) -> str:
    """Prose for one schema in three, the right shape where it is asked for in words."""
    if "response_format" in body:
        return "Good." if drawn(body, place) % 3 == 0 else said(body, place)
    _, told, schema = body["messages"][-1]["content"].rpartition("JSON schema:\n{")
    if not told:
        return said(body, place)
    asked = {"json_schema": {"schema": json.loads("{" + schema)}}
    return said(body | {"response_format": asked}, place)


async def test_from_one_that_obeys_schemas_now_and_then_whatever_it_was_asked_before(
    tmp_path: Path,
) -> None:
    schema = {"type": "object", "properties": {"score": {"type": "object"}}}
    turns = (Message("user", "How good is it?"),)
    before = [Request(turns, Sampling(seed=seed), schema) for seed in range(200)]
    found = []
    for asked, at_once in (([], 1), (before, 64)):
        async with deterministic(FakeServer()) as server:
            model = Endpoint(
                server.url, "fake", identity="the same", concurrency=at_once, patience=PATIENT
            )
            await asyncio.gather(*map(model.reply, asked))
            server.write = now_and_then
            found.append(await aligned(a_job(tmp_path, f"run-{at_once}", calls=40), model))
    assert found[0] == found[1]
    assert model.quirks, "it never slipped"
