"""How many requests may be under way at one server, and when all of them must wait.

    pace = Pace(16)
    async with pace:              # at most 16 inside at once
        ...
    pace.told_to_wait(2.5)        # a 429 said so: nobody starts for 2.5 seconds

One `Pace` belongs to one server and is shared by all that talk to it, so that the one request
which was told to slow down slows down the others too. It does not retry and knows no protocol;
today the limit is fixed, and a limit that follows the server can take its place behind the same
two calls.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from trueup.errors import SettingsError


class Pace:
    """A limit on requests in flight, with a common pause."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise SettingsError(f"Concurrency was {limit}: give 1 or more requests in flight.")
        self.limit = limit
        self._gate: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._until = 0.0

    async def __aenter__(self) -> None:
        gate = self._of_this_loop()
        await gate.acquire()
        try:
            while (left := self._until - time.monotonic()) > 0:
                await asyncio.sleep(left)
        except BaseException:
            gate.release()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._gate is not None:
            self._gate.release()

    def told_to_wait(self, seconds: float) -> None:
        """Nobody starts for that long, counted from now; a longer wait already said stays."""
        self._until = max(self._until, time.monotonic() + seconds)

    def _of_this_loop(self) -> asyncio.Semaphore:
        # A semaphore belongs to one event loop; a model may outlive several `asyncio.run`.
        loop = asyncio.get_running_loop()
        if self._gate is None or self._loop is not loop:
            self._gate, self._loop = asyncio.Semaphore(self.limit), loop
        return self._gate
