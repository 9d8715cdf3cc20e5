"""A judge of the user's own: whatever it gives or raises is a verdict, or ends the job."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trueup.errors import BudgetSpent, JudgeError, ModelUnavailable, SettingsError, StoreError
from trueup.judges.judge import judged
from trueup.types import Query, Score, Verdict

QUERY = Query("q")


def giving(said: Any) -> Any:
    async def judge(query: Query, reply: str) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    return judge


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(),
        Verdict(failed="mute"),
        Verdict((Score("Tone", 1.0), Score("Length", 5)), dropped=("Wit: none",)),
        Verdict((Score("Tone", math.nextafter(5.0, 6.0)),)),
    ],
)
async def test_a_verdict_is_left_as_it_is(verdict: Verdict) -> None:
    assert await judged(giving(verdict), QUERY, "r") is verdict


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, "the judge gave None: have it return a Verdict"),
        (4.5, "the judge gave 4.5: have it return a Verdict"),
        (KeyError("tone"), "the judge raised KeyError: 'tone'"),
        *(
            (
                Verdict((Score("Wit", 4.0), Score("Tone", value))),
                f"the judge's score {value:g} of Tone is not from 1 to 5",
            )
            for value in (math.nan, math.inf, 0.0, 7.0)
        ),
    ],
)
async def test_what_is_no_verdict_has_failed_with_its_reason(said: Any, reason: str) -> None:
    assert await judged(giving(said), QUERY, "r") == Verdict(failed=reason)


@pytest.mark.parametrize(
    "error",
    [BudgetSpent("b"), ModelUnavailable("m"), JudgeError("j"), StoreError("s"), SettingsError("e")],
)
async def test_what_ends_a_job_is_let_through(error: Exception) -> None:
    with pytest.raises(type(error)):
        await judged(giving(error), QUERY, "r")
