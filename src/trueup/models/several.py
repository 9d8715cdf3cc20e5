"""Several replies to one prompt from a server that draws one at a time.

    await each(request, 1, ask)      # choices 1, 2, ... n-1, each by a request of its own

The choice at place i is drawn with the seed plus i, so a server that takes seeds gives the same
choices whichever of them had to be asked for singly. `together` is how anything is asked at once
here: in order, and when one fails the others are not left running.

Only the innermost model finds out that a server draws one at a time, and the models around it would
store and count all of the replies as one. So `each` leaves asking to them where there are any: the
outermost (`whole`) asks for each part as for any other request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

from trueup.types import Choice, Reply, Request, Usage

T = TypeVar("T")
Ask = Callable[[Request], Coroutine[Any, Any, Reply]]


class InParts(Exception):
    """This request is to be asked for in parts: as a whole it has no reply and costs nothing."""


_WHOLE: ContextVar[Request | None] = ContextVar("whole", default=None)
"""The request that `whole` is asking for."""


async def whole(request: Request, once: Ask, ask: Ask) -> Reply:
    """Ask `once`, and `ask` for the parts that this leaves. For models around models: within
    another that does the same, that one asks for the parts."""
    if _WHOLE.get() is request:
        return await once(request)
    token = _WHOLE.set(request)
    reply: Reply | None = None
    try:
        reply = await once(request)
    except InParts:
        pass
    finally:
        _WHOLE.reset(token)
    if reply is None:
        return await each(request, 0, ask)
    if lacks(request, reply):
        return joined([reply, await each(request, len(reply.choices), ask)])
    return reply


def lacks(request: Request, reply: Reply) -> bool:
    """Whether a reply has some of the choices asked for, and not all."""
    return 0 < len(reply.choices) < request.sampling.n


def part(request: Request, place: int, count: int = 1) -> Request:
    """The request for some of the choices alone, from `place` on."""
    sampling = request.sampling
    return replace(request, sampling=replace(sampling, n=count, seed=sampling.seed + place))


async def each(request: Request, first: int, ask: Ask, *, at_once: int = 1) -> Reply:
    """The choices from `first` on, `at_once` to a request, joined into one reply.

    Where a model around is to ask for them one by one there are none, or, if they are all,
    `InParts` is raised.
    """
    end = request.sampling.n
    parts = [
        part(request, place, min(at_once, end - place)) for place in range(first, end, at_once)
    ]
    # A request for one choice is its own only part: nobody is to ask for that again.
    if _WHOLE.get() is not request or parts == [request] or at_once > 1:
        return joined(await together([ask(one) for one in parts]))
    if first == 0:
        raise InParts
    return Reply(())


def joined(replies: Sequence[Reply]) -> Reply:
    """Several replies to one prompt as one: all choices, all costs, the longest time."""
    usage = sum((reply.usage for reply in replies), Usage())
    choices: tuple[Choice, ...] = tuple(one for reply in replies for one in reply.choices)
    return Reply(choices, usage, max(reply.seconds for reply in replies))


async def together(waiting: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; the first failure ends the others."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
