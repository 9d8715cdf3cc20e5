"""Embeddings by a sentence-transformers model in this process: for retrieval, and nothing else.

    model = Sentences("all-mpnet-base-v2")        # published DRPO's retriever
    await model.embed(["How do I kill a process?"])

A name of the hub or a folder. It needs the extra `trueup[embed]`, is loaded at the first use, and
writes no replies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from trueup.errors import ModelRefused, ModelUnavailable
from trueup.models.model import Embeddings
from trueup.types import Reply, Request

REMEDY = 'pip install "trueup[embed]"'


class Sentences:
    """A `Model` that only embeds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._encoder: Any = None
        self._one_at_a_time = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Sentences({self.name!r})"

    @property
    def identity(self) -> str:
        return f"sentences:{self.name}"

    async def check(self) -> None:
        """Load the model. Raises `ModelUnavailable`."""
        await self.embed([])

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._embedded, list(texts))

    async def reply(self, request: Request) -> Reply:
        raise ModelRefused(f"{self.name} only embeds texts: name another model to answer them.")

    async def close(self) -> None:
        self._encoder = None

    def _embedded(self, texts: list[str]) -> Embeddings:
        if self._encoder is None:
            self._encoder = _loaded(self.name)
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        rows = self._encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(rows, dtype=np.float32)


def _loaded(name: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ModelUnavailable(
            f"Embedding on this machine needs one more package: run `{REMEDY}`, or retrieve by "
            "words."
        ) from error
    try:
        return SentenceTransformer(name, device="cpu")
    except Exception as error:  # whatever the libraries below raise
        raise ModelUnavailable(
            f"The embedding model {name} could not be loaded ({type(error).__name__}): check the "
            "name and the network, or name a folder that holds it."
        ) from error
