"""Several replies to a prompt from servers that draw one at a time: stored and counted each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from trueup.errors import BudgetSpent, ModelUnavailable
from trueup.models.balanced import Balanced
from trueup.models.budgeted import Budget, Budgeted
from trueup.models.endpoint import Endpoint
from trueup.models.model import Model
from trueup.models.pace import Pace
from trueup.models.patience import Patience
from trueup.models.remembered import Remembered
from trueup.store.calls import Calls
from trueup.types import Message, Reply, Request, Sampling, Usage

from .fake_server import FakeServer


def ask(seed: int = 0, count: int = 4) -> Request:
    return Request((Message("user", "hi"),), Sampling(n=count, seed=seed))


def texts(reply: Reply) -> list[str]:
    return [choice.text for choice in reply.choices]


def drawn(seed: int = 0, count: int = 4) -> list[str]:
    return [f"drawn with {one}" for one in range(seed, seed + count)]


@asynccontextmanager
async def drawing_one(says: str = "") -> AsyncIterator[FakeServer]:
    async with FakeServer() as server:
        server.draws_n = False
        server.write = lambda body, place: f"drawn with {body['seed']}"
        if says:
            server.refuses(lambda body: "n" in body, 400, says)
        yield server


@asynccontextmanager
async def opened(
    server: FakeServer, folder: Path, *budgets: Budget, balanced: bool = False
) -> AsyncIterator[Model]:
    """A model as a new process opens it: it knows nothing of the server, and has room for few."""
    pace = Pace(1)
    endpoint = Endpoint(server.url, "fake", identity="x", patience=Patience(attempts=1), pace=pace)
    inner = Balanced([(endpoint, pace)], identity="x") if balanced else endpoint
    with Calls(folder / "calls.sqlite") as calls:
        model: Model = Remembered(inner, calls, "writer")
        for budget in budgets:
            model = Budgeted(model, budget)
        try:
            yield model
        finally:
            await model.close()


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("says", ["", "n > 1 is not supported"])
async def test_each_is_stored_and_counted_once(tmp_path: Path, says: str, balanced: bool) -> None:
    budget, share = Budget(), Budget()
    async with drawing_one(says) as server:
        async with opened(server, tmp_path, budget, share, balanced=balanced) as model:
            for _ in range(2):
                reply = await model.reply(ask())
                assert (texts(reply), reply.usage) == (drawn(), Usage(28, 12))
                assert budget.spent.calls == share.spent.calls == 4
            # Many at once, some of them the same, do not wait for each other's places.
            seeds = [10, 20, 30, 10]
            found = await asyncio.wait_for(asyncio.gather(*(model.reply(ask(s)) for s in seeds)), 9)
            assert [texts(one) for one in found] == [drawn(seed) for seed in seeds]
        sent = len(server.seen)
        assert sent == 16 + bool(says)
        again = Budget(calls=8)
        async with opened(server, tmp_path, again) as model:
            for seed in (0, 10, 20, 30):  # beyond the limit too, for they are stored
                assert texts(await model.reply(ask(seed))) == drawn(seed)
            with pytest.raises(BudgetSpent):
                await model.reply(ask(40))
        assert len(server.seen) == sent
        spent = [(one.spent.calls, one.spent.tokens) for one in (budget, share, again)]
        assert spent == [(16, 160)] * 3
    with Calls(tmp_path / "calls.sqlite") as calls:
        cost = calls.ledger().file["writer"]
        assert (cost.calls_paid, cost.tokens_in, cost.tokens_out) == (16, 112, 48)


@pytest.mark.parametrize("says", ["", "n > 1 is not supported"])
async def test_what_was_answered_is_kept_when_one_fails(tmp_path: Path, says: str) -> None:
    budget, broken = Budget(calls=4), True
    async with drawing_one(says) as server, opened(server, tmp_path, budget) as model:
        server.refuses(lambda body: broken and body.get("seed") == 3, 503, "busy")
        with pytest.raises(ModelUnavailable):
            await model.reply(ask())
        broken = False
        assert texts(await model.reply(ask())) == drawn()
        assert budget.spent.calls == 4
        asked = [body["seed"] for body in server.bodies()]
        assert [asked.count(seed) for seed in range(4)] == [1 + bool(says), 1, 1, 2]


@pytest.mark.parametrize("says", ["", "n > 1 is not supported"])
async def test_a_limit_lets_out_exactly_as_many(tmp_path: Path, says: str) -> None:
    budget = Budget(calls=5)
    async with drawing_one(says) as server, opened(server, tmp_path, budget) as model:
        assert texts(await model.reply(ask(count=2))) == drawn(count=2)
        with pytest.raises(BudgetSpent):
            await model.reply(ask(10))
        assert len(server.bodies()) - bool(says) <= budget.spent.calls == 5


async def test_a_server_that_draws_several_is_asked_for_all_at_once(tmp_path: Path) -> None:
    budget = Budget()
    async with FakeServer() as server:
        for _ in range(2):
            async with opened(server, tmp_path, budget) as model:
                assert len((await model.reply(ask())).choices) == 4
        assert [body["n"] for body in server.bodies()] == [4]
        assert budget.spent.calls == 1


@pytest.mark.parametrize("says", ["", "n > 1 is not supported"])
async def test_without_a_store_each_is_counted_too(says: str) -> None:
    budget = Budget()
    async with drawing_one(says) as server:
        endpoint = Endpoint(server.url, "fake")
        model = Budgeted(endpoint, budget)
        for seed in (0, 10):
            reply = await model.reply(ask(seed))
            assert (texts(reply), reply.usage) == (drawn(seed), Usage(28, 12))
        assert (budget.spent.calls, budget.spent.tokens) == (8, 80)
        assert texts(await endpoint.reply(ask())) == drawn()  # and without a budget as well
        await model.close()
