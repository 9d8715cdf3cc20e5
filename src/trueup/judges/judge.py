"""What a judge is: an async callable that scores one reply to one query.

    async def polite(query: Query, reply: str) -> Verdict:
        value = 5.0 if "please" in reply.lower() else 1.0
        return Verdict(scores=(Score("Politeness", value),))

A judge never raises for what a model said: an unreadable judgement is a `Verdict` with `failed`
set. It lets through what ends a job (`NO_FAULT_OF_A_REPLY`). A judge of the user's own is asked
through `judged`, which sees that what it gives is a verdict.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, Protocol, runtime_checkable

from trueup.errors import BudgetSpent, JudgeError, ModelUnavailable, SettingsError, StoreError
from trueup.types import HIGHEST_SCORE, LOWEST_SCORE, Query, Verdict

NO_FAULT_OF_A_REPLY = (BudgetSpent, ModelUnavailable, JudgeError, SettingsError, StoreError)
"""Ends a job: the next reply would fare no better."""


class Judge(Protocol):
    """Scores one reply to one query on a scale of 1 to 5 per criterion."""

    async def __call__(self, query: Query, reply: str) -> Verdict: ...


@runtime_checkable
class ChoosesCriteria(Protocol):
    """A judge that can choose criteria for many queries ahead of the search, in one burst."""

    def select_all(self, queries: Iterable[Query]) -> Coroutine[Any, Any, Any]: ...


async def judged(judge: Judge, query: Query, reply: str) -> Verdict:
    """The judge's verdict; one of the user's own that breaks on a reply, or gives no verdict or a
    score off the scale, has failed on it.

    Raises what is `NO_FAULT_OF_A_REPLY`.
    """
    try:
        return _sound(await judge(query, reply))
    except NO_FAULT_OF_A_REPLY:
        raise
    except Exception as error:
        return Verdict(failed=f"the judge raised {type(error).__name__}: {error}")


def _sound(verdict: object) -> Verdict:
    if not isinstance(verdict, Verdict):
        return Verdict(failed=f"the judge gave {verdict!r:.60}: have it return a Verdict")
    for score in verdict.scores:
        # Rounded, for a mean may miss the end of the scale by its last digit. NaN is nowhere on it.
        if not LOWEST_SCORE <= round(score.value, 6) <= HIGHEST_SCORE:
            told = f"the judge's score {score.value:g} of {score.criterion} is not from 1 to 5"
            return Verdict(failed=told, dropped=verdict.dropped)
    return verdict
