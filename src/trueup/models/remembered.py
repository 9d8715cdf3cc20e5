"""A model that never pays twice.

    model = Remembered(endpoint, calls, role="judge")
    await model.reply(request)       # asks, stores, answers
    await model.reply(request)       # answers

A reply is stored before anyone sees it, under the hash of everything that decides it; after a
crash the same job finds every reply it already had and goes on from there. Two who ask the same
thing at the same time share one call. Once a call is under way it is finished and stored even if
whoever asked has stopped waiting: it is being paid for. A call that fails is not stored; all who
wait for it see the error, and the next to ask tries again.

From a server that draws one reply at a time each is stored by itself, and the request for several
is put together from them whenever it is asked.

The store is anything with the methods of `CallStore`; `store/calls.py` has the real one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from trueup.models.budgeted import price_of
from trueup.models.model import TEXTS_AT_ONCE, Embeddings, Model
from trueup.models.several import InParts, lacks, part, whole
from trueup.types import Reply, Request, Usage

T = TypeVar("T")


class CallStore(Protocol):
    """Where replies are kept, by address."""

    def __contains__(self, address: str) -> bool:
        """Whether it has a reply."""
        ...

    def get(self, address: str, *, role: str | None = None) -> Reply | None:
        """The reply, or None; counted as a use by `role`."""
        ...

    async def put(
        self,
        address: str,
        *,
        role: str,
        model: str,
        request: Request,
        reply: Reply,
        usd: float | None = None,
    ) -> Reply:
        """Keep a reply for good, then return the one that is kept (the first, if it had one)."""
        ...

    def vectors(self, addresses: Iterable[str]) -> Mapping[str, bytes]:
        """Those of the vectors it has."""
        ...

    async def put_vectors(self, vectors: Mapping[str, bytes]) -> None:
        """Keep vectors for good."""
        ...


class Remembered:
    """A model with a store before it, in one role."""

    def __init__(self, model: Model, calls: CallStore, role: str) -> None:
        self._model = model
        self._calls = calls
        self._role = role
        self.price = price_of(model)
        """The wrapped model's."""
        self._asking: dict[str, asyncio.Task[Reply]] = {}
        self._embedding: dict[str, asyncio.Task[None]] = {}

    @property
    def identity(self) -> str:
        return self._model.identity

    async def reply(self, request: Request) -> Reply:
        return await whole(request, self._reply, self.reply)

    async def _reply(self, request: Request) -> Reply:
        address = request.address(self.identity)
        reply = self._calls.get(address, role=self._role)
        if reply is not None:
            return reply
        if self.has_part(request):
            raise InParts
        task = self._asking.get(address)
        if task is None:
            task = asyncio.create_task(self._ask(request))
            _until_done(self._asking, [address], task)
            return await asyncio.shield(task)
        reply = await asyncio.shield(task)
        # From the store once more, so that the ledger knows of it.
        return self._calls.get(address, role=self._role) or reply

    def has(self, address: str) -> bool:
        """Whether the reply to the request of this address is in the store."""
        return address in self._calls

    def has_part(self, request: Request) -> bool:
        """Whether one of several replies to this is in the store by itself: so are all to be."""
        places = range(request.sampling.n if request.sampling.n > 1 else 0)
        return any(self.has(part(request, place).address(self.identity)) for place in places)

    def has_vectors(self, texts: Sequence[str]) -> bool:
        """Whether the vectors of all these texts are in the store."""
        addresses = {embedding_address(self.identity, text) for text in texts}
        return len(self._calls.vectors(addresses)) == len(addresses)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        addresses = [embedding_address(self.identity, text) for text in texts]
        by_address = dict(zip(addresses, texts, strict=True))
        found = dict(self._calls.vectors(by_address))
        missing = [address for address in by_address if address not in found]
        new = [address for address in missing if address not in self._embedding]
        for first in range(0, len(new), TEXTS_AT_ONCE):
            some = new[first : first + TEXTS_AT_ONCE]
            task = asyncio.create_task(self._embed(some, [by_address[one] for one in some]))
            _until_done(self._embedding, some, task)
        waited = dict.fromkeys(self._embedding[address] for address in missing)
        # The first failure is told at once; the others go on, since they are being paid for.
        await asyncio.gather(*map(asyncio.shield, waited))
        found |= self._calls.vectors(missing)
        rows = [np.frombuffer(found[address], dtype="<f4") for address in addresses]
        return np.stack(rows).astype(np.float32) if rows else np.zeros((0, 0), dtype=np.float32)

    async def close(self) -> None:
        under_way = {*self._asking.values(), *self._embedding.values()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._model.close()

    async def _ask(self, request: Request) -> Reply:
        reply = await self._model.reply(request)
        # Handed to the writer before the next suspension: nothing can come between.
        if not lacks(request, reply):
            return await self._put(request, reply)
        for place, choice in enumerate(reply.choices):
            used = Usage() if place else reply.usage
            await self._put(part(request, place), Reply((choice,), used, reply.seconds))
        raise InParts

    async def _put(self, request: Request, reply: Reply) -> Reply:
        return await self._calls.put(
            request.address(self.identity),
            role=self._role,
            model=self.identity,
            request=request,
            reply=reply,
            usd=self.price.usd(reply.usage) if self.price else None,
        )

    async def _embed(self, addresses: Sequence[str], texts: Sequence[str]) -> None:
        vectors = np.asarray(await self._model.embed(texts), dtype="<f4")
        await self._calls.put_vectors(
            {one: row.tobytes() for one, row in zip(addresses, vectors, strict=True)}
        )


def embedding_address(identity: str, text: str) -> str:
    """The content address of a model's vector for a text."""
    content = f"trueup/embedding/1\n{identity}\n{text}"
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _until_done(
    tasks: dict[str, asyncio.Task[T]], addresses: Sequence[str], task: asyncio.Task[T]
) -> None:
    """Keep the task under its addresses for as long as it is under way."""

    def forget(done: asyncio.Task[T]) -> None:
        for address in addresses:
            tasks.pop(address, None)
        if not done.cancelled():
            # Looked at here, because those who waited may all have gone.
            done.exception()

    tasks.update(dict.fromkeys(addresses, task))
    task.add_done_callback(forget)
