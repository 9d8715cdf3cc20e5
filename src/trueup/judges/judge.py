"""What a judge is: an async callable that scores one reply to one query.

    async def polite(query: Query, reply: str) -> Verdict:
        value = 5.0 if "please" in reply.lower() else 1.0
        return Verdict(scores=(Score("Politeness", value),))

A judge never raises for what a model said: an unreadable judgement is a `Verdict` with `failed`
set. It lets `BudgetSpent` and unreachable-server errors through, because those end the job.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, Protocol, runtime_checkable

from trueup.errors import BudgetSpent, JudgeError, ModelUnavailable
from trueup.types import Query, Verdict


class Judge(Protocol):
    """Scores one reply to one query on a scale of 1 to 5 per criterion."""

    async def __call__(self, query: Query, reply: str) -> Verdict: ...


@runtime_checkable
class ChoosesCriteria(Protocol):
    """A judge that can choose criteria for many queries ahead of the search, in one burst."""

    def select_all(self, queries: Iterable[Query]) -> Coroutine[Any, Any, Any]: ...


async def judged(judge: Judge, query: Query, reply: str) -> Verdict:
    """The judge's verdict; a judge of the user's own that breaks on one reply has failed on it.

    Raises `BudgetSpent`, `ModelUnavailable` and `JudgeError`.
    """
    try:
        return await judge(query, reply)
    except (BudgetSpent, ModelUnavailable, JudgeError):
        raise
    except Exception as error:
        return Verdict(failed=f"the judge raised {type(error).__name__}: {error}")
