from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from trueup.errors import ModelError, StoreError
from trueup.models.budgeted import Price
from trueup.models.model import Embeddings, Model
from trueup.models.remembered import TEXTS_AT_ONCE, Remembered
from trueup.models.scripted import Scripted, words_as_vectors
from trueup.store.calls import Calls
from trueup.store.ledger import RoleCost
from trueup.types import Choice, Reply, Request, Sampling, Usage

ASK = Request("Why is the sky blue?")
OTHER = Request("Why is the sky blue?", Sampling(seed=1))
ANSWER = Reply((Choice("Rayleigh."),), Usage(1000, 200, 600), 0.25)


@pytest.fixture
async def calls(tmp_path: Path) -> AsyncIterator[Calls]:
    with Calls(tmp_path / "calls.sqlite") as opened:
        yield opened


class Gate:
    """A script that answers when it is let, and counts."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, request: Request) -> Reply:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return ANSWER


async def turn() -> None:
    """Let everything that can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_call_is_paid_once_also_by_the_next_process(tmp_path: Path) -> None:
    texts = iter(["first", "second"])
    scripted = Scripted(lambda request: next(texts))
    for _ in range(2):
        with Calls(tmp_path / "calls.sqlite") as calls:
            model = Remembered(scripted, calls, "policy")
            assert isinstance(model, Model)
            assert model.identity == "scripted"
            assert [(await model.reply(ASK)).text for _ in range(3)] == ["first"] * 3
            assert (await model.reply(OTHER)).text == "second"
    assert scripted.requests == [ASK, OTHER]


async def test_another_model_is_another_call(calls: Calls) -> None:
    for name in ("a", "b"):
        model = Remembered(Scripted([name], identity=name), calls, "policy")
        assert (await model.reply(ASK)).text == name


async def test_the_ledger_has_role_and_price(calls: Calls) -> None:
    price = Price(usd_per_million_in=10, usd_per_million_out=100, usd_per_million_cached=1)
    model = Remembered(Scripted(lambda request: ANSWER, price=price), calls, "judge")
    assert model.price is price
    for request in (ASK, OTHER, ASK):
        await model.reply(request)
    # 400 fresh tokens at 10, 600 cached at 1 and 200 out at 100, twice.
    usd = pytest.approx(2 * 0.0246)
    assert calls.ledger().process == {"judge": RoleCost(2, 1, 2000, 400, 1200, 0.5, usd)}


async def test_the_same_at_the_same_time_is_one_call(calls: Calls) -> None:
    gate = Gate()
    scripted = Scripted(gate)
    model = Remembered(scripted, calls, "judge")
    asking = [asyncio.create_task(model.reply(ASK)) for _ in range(20)]
    await turn()
    gate.open.set()
    assert await asyncio.gather(*asking) == [ANSWER] * 20
    assert scripted.requests == [ASK]
    assert calls.ledger().process == {"judge": RoleCost(1, 19, 1000, 200, 600, 0.25)}


async def test_a_failure_is_shared_and_not_remembered(calls: Calls) -> None:
    gate = Gate()
    gate.error = ModelError("overloaded")
    scripted = Scripted(gate)
    model = Remembered(scripted, calls, "judge")
    asking = [asyncio.create_task(model.reply(ASK)) for _ in range(3)]
    await turn()
    gate.open.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(one) for one in results] == ["overloaded"] * 3
    assert len(scripted.requests) == 1
    gate.error = None
    assert await model.reply(ASK) == ANSWER
    assert len(scripted.requests) == 2


@pytest.mark.parametrize("first_leaves", [True, False])
async def test_one_who_leaves_does_not_end_it_for_the_other(
    calls: Calls, first_leaves: bool
) -> None:
    gate = Gate()
    scripted = Scripted(gate)
    model = Remembered(scripted, calls, "judge")
    tasks = [asyncio.create_task(model.reply(ASK)) for _ in range(2)]
    leaving, staying = tasks if first_leaves else reversed(tasks)
    await turn()
    leaving.cancel()
    await turn()
    gate.open.set()
    assert await staying == ANSWER
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert scripted.requests == [ASK]


async def test_a_call_that_nobody_waits_for_is_stored(calls: Calls) -> None:
    gate = Gate()
    model = Remembered(Scripted(gate), calls, "judge")
    leaving = asyncio.create_task(model.reply(ASK))
    await turn()
    leaving.cancel()
    await turn()
    gate.open.set()
    for _ in range(1000):
        if calls.get(ASK.address("scripted")) is not None:
            break
        await asyncio.sleep(0.002)
    assert calls.get(ASK.address("scripted")) == ANSWER


async def test_a_call_that_nobody_waits_for_may_fail(calls: Calls) -> None:
    gate = Gate()
    gate.error = ModelError("overloaded")
    scripted = Scripted(gate)
    model = Remembered(scripted, calls, "judge")
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(1))
    leaving = asyncio.create_task(model.reply(ASK))
    await turn()
    leaving.cancel()
    await turn()
    gate.open.set()
    await turn()
    gate.error = None
    assert await model.reply(ASK) == ANSWER
    del leaving
    gc.collect()
    assert (scripted.requests, complaints) == ([ASK, ASK], [])


async def test_closing_ends_what_is_under_way(calls: Calls) -> None:
    model = Remembered(Scripted(Gate()), calls, "judge")
    asking = asyncio.create_task(model.reply(ASK))
    await turn()
    await model.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_store_that_fails_is_heard_of(calls: Calls) -> None:
    with Calls(calls.path, read_only=True) as locked:
        model = Remembered(Scripted(["text"]), locked, "judge")
        with pytest.raises(StoreError, match="for reading only"):
            await asyncio.wait_for(model.reply(ASK), 5)


class Embedder(Scripted):
    def __init__(self) -> None:
        super().__init__([])
        self.asked: list[tuple[str, ...]] = []
        self.open = asyncio.Event()

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        self.asked.append(tuple(texts))
        await self.open.wait()
        return words_as_vectors(texts)


async def test_a_text_is_embedded_once(calls: Calls) -> None:
    inner = Embedder()
    model = Remembered(inner, calls, "policy")
    batches = [["a b", "c", "a b"], ["c", "d \ud83d"], ["d \ud83d", "a b"]]
    asking = [asyncio.create_task(model.embed(batch)) for batch in batches]
    await turn()
    inner.open.set()
    for batch, task in zip(batches, asking, strict=True):
        vectors = await task
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, words_as_vectors(batch))
    again = await Remembered(inner, calls, "judge").embed(["c", "e"])
    np.testing.assert_array_equal(again, words_as_vectors(["c", "e"]))
    assert inner.asked == [("a b", "c"), ("d \ud83d",), ("e",)]
    assert (await model.embed([])).shape == (0, 0)


async def test_texts_that_were_embedded_are_stored_though_others_failed(calls: Calls) -> None:
    class Breaks(Scripted):
        asked = 0

        async def embed(self, texts: Sequence[str]) -> Embeddings:
            self.asked += len(texts)
            if "text 0" in texts and self.asked <= len(many):
                raise ModelError("broken")
            await turn()
            return words_as_vectors(texts)

    many = [f"text {number}" for number in range(10 * TEXTS_AT_ONCE)]
    inner = Breaks([])
    model = Remembered(inner, calls, "embedder")
    with pytest.raises(ModelError, match="broken"):
        await model.embed(many)
    np.testing.assert_array_equal(await model.embed(many), words_as_vectors(many))
    assert inner.asked == len(many) + TEXTS_AT_ONCE
    assert model.has_vectors(many)
