"""What many judgements share is asked for once, and again where it came to nothing."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Callable

import pytest

from trueup.errors import BudgetSpent, ModelError, StoreError
from trueup.judges.guessing import NOTHING, Guessing
from trueup.judges.judge import Judge
from trueup.judges.likelihood import Likelihood
from trueup.judges.once import Once
from trueup.judges.perplexity import Perplexity
from trueup.models.model import Model
from trueup.models.scripted import Scripted
from trueup.types import Choice, Query, Reply, Request, TokenLogprob

QUERY = Query("boil an egg")


@pytest.mark.parametrize(
    ("make", "baseline"),
    [
        (Perplexity, ""),
        (Guessing, NOTHING),
        (lambda model: Likelihood(model, phrasings=1, neutral="N/A"), "N/A"),
    ],
)
async def test_a_baseline_that_failed_once_is_asked_for_again(
    make: Callable[[Model], Judge], baseline: str
) -> None:
    baselines = 0

    def script(request: Request) -> Reply:
        nonlocal baselines
        last = request.prompt[-1]
        assert not isinstance(last, str)
        if baseline in last.content.split("\n"):
            baselines += 1
            if baselines == 1:
                raise ModelError("half a reply")
        said = TokenLogprob("Yes", math.log(0.6), (("Yes", math.log(0.6)), ("No", math.log(0.4))))
        return Reply((Choice("Yes", logprobs=(said,)),))

    judge = make(Scripted(script))
    assert "half a reply" in str((await judge(QUERY, "take an egg")).failed)
    for _ in range(3):
        assert (await judge(QUERY, "take an egg")).reward is not None
    assert baselines == 2


async def test_what_raises_after_everybody_has_gone_is_no_complaint_of_the_loop() -> None:
    """It would be a traceback on the screen for each, below the one sentence that says why."""
    once: Once[str, int] = Once()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))

    async def make() -> int:
        await asyncio.sleep(0.01)
        raise StoreError("The file is locked by another process.")

    waiting = asyncio.create_task(once("q", make))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.02)
    del once, waiting
    gc.collect()
    assert complaints == []


async def test_those_who_wait_share_one_and_what_raised_is_forgotten() -> None:
    once: Once[str, int] = Once()
    made = 0

    async def make() -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0)
        if made == 1:
            raise BudgetSpent("spent")
        return made

    found = await asyncio.gather(once("q", make), once("q", make), return_exceptions=True)
    assert [type(one) for one in found] == [BudgetSpent, BudgetSpent]
    assert await asyncio.gather(once("q", make), once("q", make)) == [2, 2]
    assert await once("q", make) == 2
