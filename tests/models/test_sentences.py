"""Embedding in this process, with a stand-in for the library that does it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from trueup.errors import ModelRefused, ModelUnavailable
from trueup.models.named import open_model
from trueup.models.sentences import Sentences
from trueup.prompt.retrieval import Retrieval, Retriever
from trueup.types import Demonstration, Request

TOPICS = ("cake", "bomb")


class StandIn:
    """Embeds a text by which topics it speaks of."""

    def __init__(self, name: str, device: str) -> None:
        if name == "nowhere":
            raise OSError("no such model")

    def encode(self, texts: list[str], **kwargs: Any) -> Any:
        assert kwargs == {"normalize_embeddings": True, "show_progress_bar": False}
        rows = np.array([[topic in text for topic in TOPICS] for text in texts], dtype=np.float64)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


async def test_rows_of_unit_length(library: None) -> None:
    model = open_model("sentences:some/name")
    assert isinstance(model, Sentences)
    assert model.identity == "sentences:some/name"
    rows = await model.embed(["a cake", "a bomb", "cake and bomb"])
    assert rows.dtype == np.float32
    assert np.allclose(rows, [[1, 0], [0, 1], [0.5**0.5, 0.5**0.5]])
    await model.close()


async def test_it_retrieves(library: None) -> None:
    pool = [Demonstration("bake a cake", "Mix."), Demonstration("make a bomb", "No.")]
    how = Retrieval(k=1, by="embedding")
    shown = await Retriever(pool, how, Sentences("any")).shown("Which bomb is bath safe?")
    assert shown == [pool[1]]


async def test_it_does_not_reply(library: None) -> None:
    with pytest.raises(ModelRefused, match="only embeds"):
        await Sentences("any").reply(Request("Once"))


async def test_a_model_that_is_not_there(library: None) -> None:
    with pytest.raises(ModelUnavailable, match=r"nowhere could not be loaded \(OSError\)"):
        await Sentences("nowhere").embed(["a"])


async def test_the_library_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelUnavailable, match=r"trueup\[embed\]"):
        await Sentences("any").check()
