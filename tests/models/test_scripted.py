from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import ModelError, SettingsError
from trueup.models.model import Model
from trueup.models.scripted import Scripted
from trueup.types import Choice, Message, Reply, Request, Sampling, Usage

ASK = Request((Message("system", "Be brief."), Message("user", "Why?")), Sampling(seed=7))


async def test_a_function_of_the_request() -> None:
    model = Scripted(lambda request: f"seed {request.sampling.seed}")
    assert isinstance(model, Model)
    assert model.identity == "scripted"
    # 13 letters were asked and 6 answered: tokens are a quarter of the letters.
    assert await model.reply(ASK) == Reply((Choice("seed 7"),), Usage(3, 1), 0.0)
    assert model.requests == [ASK]


async def test_an_async_function_and_a_whole_reply() -> None:
    whole = Reply((Choice("cut", finish="length"),), Usage(1000, 2, 999), 3.0)

    async def script(request: Request) -> Reply:
        await asyncio.sleep(0)
        return whole

    assert await Scripted(script, "other").reply(ASK) is whole


async def test_texts_in_order_and_no_more() -> None:
    model = Scripted(["one", "two"])
    assert [(await model.reply(ASK)).text for _ in range(2)] == ["one", "two"]
    with pytest.raises(ModelError, match="has 2 replies and was asked for one more"):
        await model.reply(ASK)
    assert model.requests == [ASK] * 3


async def test_what_the_script_raises() -> None:
    def script(request: Request) -> str:
        raise ModelError("the server is on fire")

    with pytest.raises(ModelError, match="on fire"):
        await Scripted(script).reply(ASK)


def test_one_text_is_not_a_script() -> None:
    with pytest.raises(SettingsError, match="Put it in a list"):
        Scripted("hello")


async def test_several_replies_are_asked_one_by_one() -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return "word " * request.sampling.seed

    three = replace(ASK, sampling=replace(ASK.sampling, n=3))
    model = Scripted(script)
    reply = await model.reply(three)
    texts = ("word " * 7, "word " * 8, "word " * 9)
    assert reply == Reply(tuple(map(Choice, texts)), Usage(3, 8 + 10 + 11), 0.0)
    assert asked == [replace(ASK, sampling=Sampling(seed=seed)) for seed in (7, 8, 9)]
    assert model.requests == [three]


async def test_a_delay_is_waited_for_and_reported() -> None:
    model = Scripted(lambda request: "slow", delay=0.01)
    assert (await model.reply(Request("Once"))).seconds == 0.01


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_vectors_are_of_unit_length_and_always_the_same(texts: list[str]) -> None:
    async def embed() -> np.ndarray:
        return await Scripted([]).embed(texts)

    vectors = asyncio.run(embed())
    assert vectors.shape == (len(texts), 256)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(vectors, asyncio.run(embed()))


async def test_texts_that_share_words_are_near() -> None:
    texts = ["How do I bake bread?", "bake the bread", "a Python list"]
    cake, bread, python = await Scripted([]).embed(texts)
    assert cake @ bread > 0.4 > 0.1 > cake @ python


async def test_an_embedder_of_your_own() -> None:
    eye = np.eye(2, dtype=np.float32)
    model = Scripted([], embedder=lambda texts: eye[: len(texts)])
    np.testing.assert_array_equal(await model.embed(["a"]), eye[:1])
