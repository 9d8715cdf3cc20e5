"""Several replies to one prompt from a server that draws one at a time.

    await each(request, 1, ask)      # choices 1, 2, ... n-1, each by a request of its own

The choice at place i is drawn with the seed plus i, so a server that takes seeds gives the same
choices whichever of them had to be asked for singly. `together` is how anything is asked at once
here: in order, and when one fails the others are not left running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from trueup.types import Choice, Reply, Request, Usage

T = TypeVar("T")
Ask = Callable[[Request], Coroutine[Any, Any, Reply]]


def part(request: Request, place: int, count: int = 1) -> Request:
    """The request for some of the choices alone, from `place` on."""
    sampling = request.sampling
    return replace(request, sampling=replace(sampling, n=count, seed=sampling.seed + place))


async def each(request: Request, first: int, ask: Ask, *, at_once: int = 1) -> Reply:
    """The choices from `first` on, `at_once` to a request, joined into one reply."""
    end = request.sampling.n
    parts = [
        part(request, place, min(at_once, end - place)) for place in range(first, end, at_once)
    ]
    return joined(await together([ask(one) for one in parts]))


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
