"""Play a search in a world, in this process: what it asked, and how long its chain of waits was.

    played = play(world, search)          # `search`: an async generator of prompts, best so far
    played[-1].policy_calls, played[-1].steps, played[-1].quality

Every call takes one second of a clock that jumps, so that the time a search took, however many
calls it had in flight, is the number of calls that had to wait for one another.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trueup import Choice, Message, Prompt, Reply, Request, Usage
from trueup.models.model import Embeddings
from trueup.models.scripted import words_as_vectors
from trueup.prompt.retrieval import Retriever
from worlds.players import Players
from worlds.world import World


@dataclass(frozen=True)
class Point:
    """What a search would have given back when it had spent this much."""

    policy_calls: int
    calls: int
    """Requests to any model."""
    tokens: int
    steps: int
    """Calls one after another, were all others made at once."""
    quality: float
    """True, on held-out queries, 1 to 5."""


class Tally:
    """What was asked so far."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.tokens = 0

    def count(self, role: str, usage: Usage) -> None:
        self.calls[role] = self.calls.get(role, 0) + 1
        self.tokens += usage.tokens_in + usage.tokens_out


class Actor:
    """One of a world's models, as a model of trueup. The same request is paid for once."""

    price = None

    def __init__(self, players: Players, role: str, tally: Tally) -> None:
        self._players, self._role, self._tally = players, role, tally
        self._known: dict[str, asyncio.Task[Reply]] = {}

    @property
    def identity(self) -> str:
        return f"world:{self._role}"

    async def reply(self, request: Request) -> Reply:
        key = request.content()
        if key not in self._known:
            self._known[key] = asyncio.ensure_future(self._reply(request))
        return await self._known[key]

    async def _reply(self, request: Request) -> Reply:
        prompt = request.prompt
        turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        await asyncio.sleep(1)
        texts = self._players.answer(
            self._role,
            [{"role": one.role, "content": one.content} for one in turns],
            n=request.sampling.n,
            seed=request.sampling.seed,
            schema=request.schema,
        )
        usage = Usage(sum(len(one.content) for one in turns) // 4, sum(map(len, texts)) // 4)
        self._tally.count(self._role, usage)
        return Reply(tuple(Choice(text) for text in texts), usage)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return words_as_vectors(texts)

    async def close(self) -> None:
        """Nothing to give back."""


Search = Callable[[World, Callable[[str], Actor]], AsyncIterator[Prompt]]


def play(world: World, search: Search) -> list[Point]:
    """A point for every prompt that the search calls its best so far."""
    return _on_a_jumping_clock(_played(world, search))


async def _played(world: World, search: Search) -> list[Point]:
    tally, players = Tally(), Players(world)
    found: list[Point] = []
    known: dict[Prompt, float] = {}
    async for prompt in search(world, lambda role: Actor(players, role, tally)):
        if prompt not in known:
            known[prompt] = await quality(world, prompt)
        found.append(
            Point(
                tally.calls.get("policy", 0),
                sum(tally.calls.values()),
                tally.tokens,
                round(asyncio.get_running_loop().time()),
                known[prompt],
            )
        )
    return found


async def quality(world: World, prompt: Prompt) -> float:
    """The true quality of a prompt, demonstrations retrieved for each held-out query."""
    retriever = Retriever(prompt.demonstrations, prompt.retrieval)
    shown = {
        query: [(one.query, one.reply) for one in await retriever.shown(query)]
        for query in world.held_out
    }
    return world.true_quality(prompt.instruction, lambda query: shown[query])


class _Jumping(selectors.DefaultSelector):
    """Where nothing is ready, the time until the next thing passes at once."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.passed += timeout
        return ready


def _on_a_jumping_clock(work: Any) -> Any:
    selector = _Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.passed  # type: ignore[method-assign]
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
