"""A model whose price is known from elsewhere than the model itself: a job file, say.

    model = Priced(endpoint, Price(usd_per_million_in=0.15, usd_per_million_out=0.60))

`Remembered` books what each call cost and `Budgeted` stops at a limit of money by the `price` of
what they wrap. An endpoint does not know its own; whoever wires the models does.
"""

from __future__ import annotations

from collections.abc import Sequence

from trueup.models.budgeted import Price
from trueup.models.model import Embeddings, Model
from trueup.types import Reply, Request


class Priced:
    """A model with a price."""

    def __init__(self, model: Model, price: Price | None) -> None:
        self._model = model
        self.price = price

    @property
    def identity(self) -> str:
        return self._model.identity

    async def reply(self, request: Request) -> Reply:
        return await self._model.reply(request)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return await self._model.embed(texts)

    async def close(self) -> None:
        await self._model.close()
