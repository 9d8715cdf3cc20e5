"""What a model is: something that answers messages, or continues text.

    class Shouting:
        identity = "shouting"

        async def reply(self, request: Request) -> Reply: ...
        async def embed(self, texts: Sequence[str]) -> Embeddings: ...
        async def close(self) -> None: ...

Everything else wraps one: `Remembered` never pays twice, `Budgeted` stops at a limit, a prompt
applied to a model is a model. So callers ask for a `Model` and never for what is inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trueup.types import Reply, Request

Embeddings = NDArray[np.float32]
"""Shape (texts, dimensions), rows of unit length."""


TEXTS_AT_ONCE = 64
"""Embedded by one request."""


@runtime_checkable
class Model(Protocol):
    """Answers messages (`Request.prompt` a tuple) or continues text (a string)."""

    @property
    def identity(self) -> str:
        """What decides its replies, as text: part of every reply's content address.

        Holds the weights' or the model's name and digest; never a key, never a port number.
        """
        ...

    async def reply(self, request: Request) -> Reply:
        """One reply of `request.sampling.n` choices. Raises `ModelError`."""
        ...

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Unit vectors, one row a text. Raises `ModelRefused` where the model has none."""
        ...

    async def close(self) -> None:
        """Give back connections and memory; safe to call twice."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """A model that can say, at no cost, whether it could answer."""

    async def check(self) -> None: ...


def distinct(models: Iterable[Model]) -> list[Model]:
    """Each model once, however many roles it has."""
    return list({id(model): model for model in models}.values())
