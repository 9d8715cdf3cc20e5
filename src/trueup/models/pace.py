"""How many requests may be under way at one server, and when all of them must wait.

    pace = Pace(64)
    async with pace.turn("chat") as turn:    # waits for a place, then runs
        ...
        turn.answered()                      # or turn.refused(), for a 429; or neither
    pace.told_to_wait(2.5)                   # a Retry-After said so: nobody starts for 2.5 seconds

One `Pace` belongs to one server and is shared by all that talk to it, so that the one request
which was told to slow down slows down the others too. Who came first goes first. How many places
there are is learnt from the answers (`level`), unless it is known. It does not retry and knows no
protocol; its clock is the event loop's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from types import TracebackType

from trueup.errors import SettingsError
from trueup.models.level import START, Level, Steady


class Pace:
    """A limit on requests in flight, with a common pause."""

    def __init__(self, limit: int, *, start: int = START, steady: bool = False) -> None:
        """`limit` is never passed; `steady` keeps to it rather than finding out what is best."""
        if limit < 1:
            raise SettingsError(f"Concurrency was {limit}: give 1 or more requests in flight.")
        self.limit = limit
        self.level: Level = Steady(limit) if steady else Level(limit, start)
        self.under_way = 0
        """Requests that have a place."""
        self._queue: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._until = 0.0

    @property
    def allowed(self) -> int:
        """Requests that may be in flight at present."""
        return self.level.allowed

    @property
    def waiting(self) -> int:
        """Requests without a place."""
        return len(self._queue)

    def turn(self, kind: Hashable = None) -> Turn:
        """A place for one request; answers of one `kind` take about as long as each other."""
        return Turn(self, kind)

    def told_to_wait(self, seconds: float) -> None:
        """Nobody starts for that long, counted from now; a longer wait already said stays."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    async def enter(self) -> None:
        """Wait for a place and for the pause to end."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # Places belong to one event loop; a model may outlive several `asyncio.run`.
            self._loop, self.under_way = loop, 0
            self._queue.clear()
        if self.under_way < self.allowed and not self._queue:
            self.under_way += 1
        else:
            await self._queued(loop)
        try:
            while (left := self._until - loop.time()) > 0:
                await asyncio.sleep(left)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Give the place to who has waited longest."""
        self.under_way -= 1
        self._admit()

    async def _queued(self, loop: asyncio.AbstractEventLoop) -> None:
        place = loop.create_future()
        self._queue.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self.leave()  # it was given a place in the same moment
            else:
                with suppress(ValueError):
                    self._queue.remove(place)
            raise

    def _admit(self) -> None:
        while self._queue and self.under_way < self.allowed:
            place = self._queue.popleft()
            if not place.done():
                self.under_way += 1
                place.set_result(None)


class Turn:
    """One request's place, and what came of it."""

    __slots__ = ("_began", "_epoch", "_kind", "_pace")

    def __init__(self, pace: Pace, kind: Hashable) -> None:
        self._pace = pace
        self._kind = kind

    async def __aenter__(self) -> Turn:
        pace = self._pace
        await pace.enter()
        self._epoch = pace.level.epoch
        self._began = asyncio.get_running_loop().time()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pace.leave()

    def answered(self) -> None:
        """The server did what was asked."""
        pace = self._pace
        seconds = asyncio.get_running_loop().time() - self._began
        pace.level.answered(self._kind, self._epoch, seconds, crowded=pace.waiting > 0)

    def refused(self) -> None:
        """The server said that it was too much."""
        self._pace.level.refused(self._epoch)
