"""The slots of a llama.cpp server, each given the requests whose beginning it has already read.

    slots = Slots(8, server, folder)
    reply = await slots.give(request, ask)        # ask(slot) sends it there

llama.cpp's slots do not share what they have read: 24 requests with one page in front, sent at once
to 8 slots, have it read 8 times. Here the page is read by one slot, whose state is saved in a file
(27 ms and 11 MB for 490 tokens of SmolLM2) and loaded into the others (2 ms each). Files are named
by what they hold, so the next run finds them and reads nothing. The oldest go when there are too
many.

Everything here is a guess about time and none about replies: a slot that does not hold what was
thought reads what is missing. When the server cannot save or load, requests go as they come.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from trueup.errors import ModelError
from trueup.models.prefixes import LEAST, Prefix, Prefixes, common, letters
from trueup.types import Request

log = logging.getLogger("trueup")

T = TypeVar("T")

GATHERING = 0.003
"""Seconds that a request waits for others of its burst before slots are given out."""
LARGEST = 2 * 2**30
"""Bytes of saved states that are kept on disk."""


class SlotServer(Protocol):
    """What a server with slots can do beside answering. All raise `ModelError`."""

    async def rendered(self, request: Request) -> str:
        """The prompt as the model reads it."""
        ...

    async def read(self, slot: int, text: str) -> None:
        """Have a slot read a text and write nothing."""
        ...

    async def save(self, slot: int, file: str) -> None:
        """Write the slot's state into a file of the folder."""
        ...

    async def load(self, slot: int, file: str) -> None:
        """Replace the slot's state by that of a file."""
        ...


@dataclass(eq=False, slots=True)
class _Slot:
    number: int
    holds: str = ""
    """The letters it has read, as far as known."""
    used: int = 0
    """When it was given out last, counted in requests."""

    def has_read(self, prefix: Prefix) -> bool:
        """Whether it holds the whole prefix, as far as known."""
        return common(self.holds, prefix.text) == len(prefix.text)


@dataclass(eq=False, slots=True)
class _Waiting:
    request: Request
    text: str
    prefix: Prefix | None
    place: asyncio.Future[_Slot]


@dataclass(slots=True)
class Counts:
    """What was done so far."""

    read: int = 0
    saved: int = 0
    loaded: int = 0
    found: int = 0
    """States that an earlier run had left on disk."""


@dataclass(slots=True)
class _States:
    """What is on disk, by the letters of the prefix."""

    files: dict[str, str] = field(default_factory=dict)
    being_made: set[str] = field(default_factory=set)
    hopeless: set[str] = field(default_factory=set)


class Slots:
    """Gives slots to requests. One event loop at a time."""

    def __init__(self, count: int, server: SlotServer, folder: Path, *, least: int = LEAST) -> None:
        """`folder` is where the server saves; it holds files of one model and context."""
        self.counts = Counts()
        self._server = server
        self._folder = folder
        self._prefixes = Prefixes(least)
        self._slots = [_Slot(number) for number in range(count)]
        self._free = set(self._slots)
        self._queue: deque[_Waiting] = deque()
        self._states = _States()
        self._gathering: asyncio.TimerHandle | None = None
        self._clock = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def give(self, request: Request, ask: Callable[[int], Awaitable[T]]) -> T:
        """Ask at the slot that has most of the request's beginning, once there is one."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # Those who waited in another event loop are gone, and gave their slots back or did not.
            self._loop, self._free = loop, set(self._slots)
            self._queue.clear()
            self._gathering = None
            self._states.being_made.clear()
        place: asyncio.Future[_Slot] = loop.create_future()
        self._prefixes.met(request)
        waiting = _Waiting(request, letters(request), None, place)
        self._queue.append(waiting)
        if self._gathering is None:
            self._gathering = loop.call_later(GATHERING, self._gathered)
        try:
            slot = await place
        except BaseException:
            if place.done() and not place.cancelled():
                # It was given a slot in the same moment, and perhaps others wait for what it reads.
                slot, prefix = place.result(), waiting.prefix
                if prefix is not None and not slot.has_read(prefix):
                    self._states.being_made.discard(prefix.text)
                self._give_back(slot)
            else:
                self._forget(waiting)
            raise
        try:
            prefix = waiting.prefix
            if prefix is not None and not slot.has_read(prefix):
                await self._prepared(slot, prefix)
            slot.holds = waiting.text
            return await ask(slot.number)
        finally:
            self._give_back(slot)

    # -- who goes where ----------------------------------------------------------------------

    def _gathered(self) -> None:
        self._gathering = None
        self._assign()

    def _assign(self) -> None:
        """Give free slots to those who have waited longest and whose prefix is not being read."""
        kept: deque[_Waiting] = deque()
        while self._queue and self._free:
            waiting = self._queue.popleft()
            if waiting.place.done():
                continue
            # Others of its burst may have taught a longer one since it came.
            prefix = self._prefixes.known(waiting.text)
            if prefix is not None and prefix.text in self._states.hopeless:
                prefix = None
            waiting.prefix = prefix
            slot = self._best(waiting)
            if prefix is not None and not slot.has_read(prefix):
                if prefix.text in self._states.being_made:
                    kept.append(waiting)
                    continue
                if prefix.text not in self._states.files:
                    self._states.being_made.add(prefix.text)
            self._free.discard(slot)
            self._clock += 1
            slot.used = self._clock
            waiting.place.set_result(slot)
        kept.extend(self._queue)
        self._queue = kept

    def _best(self, waiting: _Waiting) -> _Slot:
        """The free slot that holds most of the text; among equals the one unused for longest."""
        need = len(waiting.prefix.text) if waiting.prefix else 1
        return max(
            self._free,
            key=lambda slot: (
                common(slot.holds, waiting.text) if common(slot.holds, waiting.text) >= need else 0,
                -slot.used,
            ),
        )

    def _give_back(self, slot: _Slot) -> None:
        self._free.add(slot)
        self._assign()

    def _forget(self, waiting: _Waiting) -> None:
        with suppress(ValueError):
            self._queue.remove(waiting)

    # -- states ------------------------------------------------------------------------------

    async def _prepared(self, slot: _Slot, prefix: Prefix) -> None:
        """Have the slot hold the prefix, from its file or by reading it for everybody."""
        states = self._states
        file = states.files.get(prefix.text)
        try:
            if file is None:
                states.files[prefix.text] = await self._made(slot, prefix)
            else:
                await self._server.load(slot.number, file)
                self.counts.loaded += 1
            slot.holds = prefix.text
        except (ModelError, OSError) as error:
            log.warning("A prompt's beginning could not be shared between slots: %s", error)
            if file is None:
                states.hopeless.add(prefix.text)
            states.files.pop(prefix.text, None)
        finally:
            states.being_made.discard(prefix.text)
            self._assign()

    async def _made(self, slot: _Slot, prefix: Prefix) -> str:
        """The file with the prefix's state, which the slot then holds."""
        one, other = [await self._server.rendered(example) for example in prefix.examples]
        text = one[: common(one, other)]
        # A cut within a word would be read as other tokens than the whole word.
        text = text[: max(text.rfind(" "), text.rfind("\n"), 0)] or text
        file = f"{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.state"
        if (self._folder / file).is_file():
            with suppress(ModelError):
                await self._server.load(slot.number, file)
                os.utime(self._folder / file)
                self.counts.found += 1
                return file
        await self._server.read(slot.number, text)
        self.counts.read += 1
        half = f"{file}.{os.getpid()}"
        await self._server.save(slot.number, half)
        (self._folder / half).replace(self._folder / file)
        self.counts.saved += 1
        self._tidy()
        return file

    def _tidy(self) -> None:
        """Remove the states unused for longest when they take too much room."""
        files = [(one.stat(), one) for one in self._folder.glob("*.state")]
        files.sort(key=lambda pair: -pair[0].st_mtime)
        room = LARGEST
        for facts, file in files:
            room -= facts.st_size
            if room < 0:
                file.unlink(missing_ok=True)
                self._states.files = {
                    text: name for text, name in self._states.files.items() if name != file.name
                }
