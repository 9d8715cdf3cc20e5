"""One model behind several servers: each request goes to the one with least to do.

    model = balanced(["http://a:8000", "http://b:8000"], "qwen", concurrency=64)
    await model.reply(request)

The servers are taken to give the same replies, so which one was asked is not part of the model's
identity beyond the list of all. How much a server can take is learnt by its `Pace`; one that has
twice the room is given twice the requests. A server that fails twice running is left out, and so
is one that keeps a request far longer than the others ever did one of its kind, has answered
nothing else meanwhile, and does not answer when it is looked at (`check`, which costs nothing): a
long reply is paid once. The requests of one that is left out go elsewhere, and it is looked at now
and then until it is back. Replies that came are never asked for again. It sends nothing itself: its
members are `Endpoint`s or anything like them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from trueup.errors import ModelError, ModelUnavailable, SettingsError
from trueup.models.endpoint import Endpoint
from trueup.models.model import Embeddings
from trueup.models.pace import Pace
from trueup.models.patience import Patience
from trueup.types import Reply, Request

log = logging.getLogger("trueup")

T = TypeVar("T")

FAILURES = 2
"""Failures running after which a server is left out: one may be the request's own fault."""
FIRST_REST, LONGEST_REST = 5.0, 60.0
"""Seconds until a server that was left out is looked at again; they double."""
SLOWEST, TIMES_AS_SLOW = 60.0, 8.0
"""A server is looked at after so many times what an answer ever took, and this at least."""
LOOK = 20.0
"""Seconds in which who is looked at must answer."""
EACH = Patience(attempts=2)
"""With one server: there are others, so it is not waited for."""


class Member(Protocol):
    """A model that can be looked at."""

    @property
    def identity(self) -> str: ...
    @property
    def quirks(self) -> tuple[str, ...]: ...
    async def reply(self, request: Request) -> Reply: ...
    async def embed(self, texts: Sequence[str]) -> Embeddings: ...
    async def check(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(eq=False, slots=True)
class _Server:
    member: Member
    pace: Pace
    load: int = 0
    failures: int = 0
    answered: float = -math.inf
    """When its last answer came, by the event loop's clock."""
    slowest: dict[Hashable, float] = field(default_factory=dict)
    """Seconds of its longest answer, by kind of request."""
    watch: asyncio.Task[None] | None = field(default=None)
    """Looks whether it is back; there is one while it is left out."""

    @property
    def has_room(self) -> bool:
        # A few more than have a place: its pace learns only from requests that wait for one.
        return self.watch is None and self.load < self.pace.allowed + 1 + self.pace.allowed // 4


class Balanced:
    """A `Model` of several that are the same model. Pairs are of a member and its pace."""

    def __init__(
        self,
        members: Sequence[tuple[Member, Pace]],
        *,
        identity: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        if not members:
            raise SettingsError("No server was given: name one or more, separated by commas.")
        self._servers = [_Server(member, pace) for member, pace in members]
        self._identity = identity or "|".join(sorted(member.identity for member, _ in members))
        self._patience = patience or Patience()
        self._queue: deque[tuple[asyncio.Future[_Server], Sequence[_Server]]] = deque()
        self._gone: float | None = None
        """Since when all servers are left out."""
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def quirks(self) -> tuple[str, ...]:
        """What the servers turned out not to do."""
        return tuple(quirk for server in self._servers for quirk in server.member.quirks)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The identities of the servers that are not asked at present."""
        return tuple(one.member.identity for one in self._servers if one.watch is not None)

    async def reply(self, request: Request) -> Reply:
        """One reply of whichever server. Raises `ModelError` when none gives any."""
        return await self._somewhere(lambda member: member.reply(request), _kind(request))

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        kind = "embed", len(texts).bit_length()
        return await self._somewhere(lambda member: member.embed(texts), kind)

    async def check(self) -> None:
        """See that one server at least answers, and that none refuses. Raises `ModelError`."""
        found = await asyncio.gather(
            *(server.member.check() for server in self._servers), return_exceptions=True
        )
        errors = [one for one in found if isinstance(one, BaseException)]
        for error in errors:
            if not isinstance(error, ModelUnavailable) or len(errors) == len(found):
                raise error
        self._here()
        for server, one in zip(self._servers, found, strict=True):
            if one is not None:
                self._leave_out(server, str(one))

    async def close(self) -> None:
        for server in self._servers:
            if server.watch is not None:
                server.watch.cancel()
                server.watch = None
            await server.member.close()

    # -- where a request goes ----------------------------------------------------------------

    async def _somewhere(
        self, ask: Callable[[Member], Coroutine[Any, Any, T]], kind: Hashable
    ) -> T:
        """Ask the server with most room; when it fails, another, and at last the same again."""
        self._here()
        clock = asyncio.get_running_loop().time
        tried: list[_Server] = []
        most = len(self._servers) * max(1, self._patience.attempts // EACH.attempts)
        first = clock()
        while True:
            server = await self._room(tried)
            began = clock()
            first = first if tried else began
            try:
                found = await self._in_time(server, ask(server.member), kind)
            except ModelUnavailable as error:
                self._failed(server, str(error))
                tried.append(server)
                if len(tried) == most or clock() - first > self._patience.seconds:
                    raise
                continue
            finally:
                server.load -= 1
                self._assign()
            server.failures, server.answered = 0, clock()
            server.slowest[kind] = max(server.slowest.get(kind, 0.0), clock() - began)
            return found

    async def _in_time(self, server: _Server, asked: Coroutine[Any, Any, T], kind: Hashable) -> T:
        """The answer, waited for as long as the server seems to work on it."""
        asking = asyncio.ensure_future(asked)
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            while True:
                since = clock()
                await asyncio.wait([asking], timeout=self._limit(server, kind))
                lives = asking.done() or server.answered > since or await _answers(server.member)
                if asking.done():
                    return asking.result()
                if not lives:
                    break
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        server.failures = FAILURES
        raise ModelUnavailable(
            f"{server.member.identity} gave no answer in {clock() - began:.0f} seconds, far longer "
            "than the other servers of this model take, nor to a look: see whether it hangs."
        )

    def _limit(self, server: _Server, kind: Hashable) -> float | None:
        """Seconds after which a server is looked at that has not answered; None while none knows
        how long such requests take."""
        others = (one for one in self._servers if one is not server and one.watch is None)
        usual = max((one.slowest.get(kind, 0.0) for one in others), default=0.0)
        return max(SLOWEST, TIMES_AS_SLOW * usual) if usual else None

    async def _room(self, tried: Sequence[_Server]) -> _Server:
        """A place at a server. Raises `ModelUnavailable` when all stay left out."""
        place: asyncio.Future[_Server] = asyncio.get_running_loop().create_future()
        self._queue.append((place, tried))
        self._assign()
        patience = self._patience.seconds
        try:
            while not place.done():
                gone = self._gone
                await asyncio.wait([place], timeout=patience)
                if not place.done() and gone is not None and gone == self._gone:
                    raise ModelUnavailable(
                        f"None of the {len(self._servers)} servers of {self._identity} has "
                        f"answered for {patience:.0f} seconds: see that one runs, then run again."
                    )
            return place.result()
        except BaseException:
            if place.done() and not place.cancelled():
                place.result().load -= 1  # it was given a place in the same moment
                self._assign()
            place.cancel()
            raise

    def _assign(self) -> None:
        """Give the places there are to those who have waited longest."""
        while self._queue:
            place, tried = self._queue[0]
            if not place.done():
                free = [server for server in self._servers if server.has_room]
                if not free:
                    return
                best = min(free, key=lambda one: (one in tried, (one.load + 1) / one.pace.allowed))
                best.load += 1
                place.set_result(best)
            self._queue.popleft()

    # -- who is left out ---------------------------------------------------------------------

    def _failed(self, server: _Server, why: str) -> None:
        server.failures += 1
        if server.failures >= FAILURES:
            self._leave_out(server, why)

    def _leave_out(self, server: _Server, why: str) -> None:
        if server.watch is None:
            log.warning("Left out until it is back: %s", why)
            loop = asyncio.get_running_loop()
            server.watch = loop.create_task(self._watched(server))
            if all(one.watch is not None for one in self._servers):
                self._gone = loop.time()

    async def _watched(self, server: _Server) -> None:
        """Look now and then; the server is back when it answers."""
        rest = FIRST_REST
        while True:
            await asyncio.sleep(rest)
            rest = min(LONGEST_REST, 2 * rest)
            try:
                await server.member.check()
            except ModelError:
                continue
            server.failures, server.watch, self._gone = FAILURES - 1, None, None
            log.warning("Back: %s", server.member.identity)
            self._assign()
            return

    def _here(self) -> None:
        """Tasks and waits belong to one event loop; a model may outlive several."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._queue.clear()
            self._gone = None
            for server in self._servers:
                server.watch, server.load, server.failures = None, 0, 0


def _kind(request: Request) -> Hashable:
    """What takes about as long: as much to read, by powers of two, and as much to write at most."""
    length = len(request.content()).bit_length()
    sampling, shaped = request.sampling, request.schema is not None
    return length, sampling.max_tokens, sampling.n, shaped, request.forced is not None


async def _answers(member: Member) -> bool:
    try:
        async with asyncio.timeout(LOOK):
            await member.check()
    except (ModelError, TimeoutError):
        return False
    return True


def balanced(
    base_urls: Sequence[str],
    model: str,
    *,
    api_keys: Sequence[str | None] = (),
    api_key_env: str = "TRUEUP_API_KEY",
    concurrency: int = 16,
    timeout: float = 600.0,
) -> Balanced:
    """A model behind several URLs. `concurrency` is each server's most; keys go in order."""
    keys = [*api_keys, *[None] * (len(base_urls) - len(api_keys))]
    members: list[tuple[Member, Pace]] = []
    for url, key in zip(base_urls, keys, strict=True):
        pace = Pace(concurrency)
        endpoint = Endpoint(
            url, model, api_key=key, api_key_env=api_key_env, timeout=timeout, patience=EACH,
            pace=pace,
        )  # fmt: skip
        members.append((endpoint, pace))
    places = sorted(
        member.identity.removeprefix("endpoint:").removesuffix(f"#{model}") for member, _ in members
    )
    return Balanced(members, identity=f"endpoint:{','.join(places)}#{model}")
