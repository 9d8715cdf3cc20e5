"""Something costly, done once however many ask for it at the same time.

    once: Once[str, Selection] = Once()
    selection = await once(query.text, lambda: judge.select(query))

Results stay in memory as long as the `Once`. What raised is forgotten, and so is a `Failure`; the
next one to ask tries again: a spent budget, an unreachable server or one answer that broke off must
not become the answer to all that follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from trueup.judges.ask import Failure

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Once(Generic[K, T]):
    """Remembers results by key, and lets latecomers wait for the one under way."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[T]] = {}

    async def __call__(self, key: K, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result for a key; `make` is called only where none is known or under way."""
        task = self._tasks.get(key)
        if task is None or (task.done() and _came_to_nothing(task)):
            task = asyncio.create_task(make())
            # Looked at when it ends, because those who waited may all have gone.
            task.add_done_callback(_came_to_nothing)
            self._tasks[key] = task
        # Shielded: the others go on waiting when one of them gives up.
        return await asyncio.shield(task)


def _came_to_nothing(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None or isinstance(task.result(), Failure)
