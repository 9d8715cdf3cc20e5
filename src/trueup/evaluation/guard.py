"""Is the gain real? A second judge, the code checks and the replies' lengths are asked.

    other = Comparison(*[await rejudged(one, second) for one in (found.before, found.after)])
    for warning in warnings(found, other, "code checks"):
        print(warning)

Whatever is optimised against is no longer a measure: a search finds what its judge likes, and
judges like things that people do not, length first of all. So what the search gained is looked at
from outside. A second judge scores the same replies, the code checks are not allowed to get worse,
and the gain is given at equal length: the intercept of a regression of each query's gain on the log
ratio of the two replies' lengths (the idea of AlpacaEval's length control, arXiv 2404.04475, on
scores in place of preferences).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trueup.errors import BudgetSpent
from trueup.evaluation.comparison import Comparison
from trueup.evaluation.evaluate import CONCURRENCY, Evaluation, Result
from trueup.evaluation.formulas import student_quantile, upper_tail
from trueup.evaluation.statistics import CONFIDENCE, Interval
from trueup.judges.judge import Judge
from trueup.types import Verdict

FEWEST = 12
"""Queries from which a gain can be told from a length."""


async def rejudged(
    evaluation: Evaluation, judge: Judge, *, concurrency: int = CONCURRENCY
) -> Evaluation:
    """The same replies under another judge. One that is out of budget judges no more.

    Raises `JudgeError` and `ModelUnavailable` where it cannot judge at all.
    """
    room = asyncio.Semaphore(concurrency)

    async def one(result: Result) -> Result:
        if result.reply is None:
            return result
        async with room:
            try:
                verdict = await judge(result.query, result.reply)
            except BudgetSpent as spent:
                verdict = Verdict(failed=f"the budget was spent: {spent}")
        return replace(result, verdict=verdict)

    tasks = [asyncio.create_task(one(result)) for result in evaluation.results]
    try:
        results = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return replace(evaluation, results=tuple(results))


def at_equal_length(comparison: Comparison) -> Interval | None:
    """The reward gained where both replies are as long. None for too few queries, or one length."""
    gains, ratios = [], []
    for before, after in comparison.pairs:
        rewards = before.verdict.reward, after.verdict.reward
        lengths = before.words, after.words
        if rewards[0] is None or rewards[1] is None or lengths[0] is None or lengths[1] is None:
            continue
        gains.append(rewards[1] - rewards[0])
        ratios.append(math.log((lengths[1] + 5) / (lengths[0] + 5)))
    return intercept(gains, ratios)


def intercept(gains: Sequence[float], ratios: Sequence[float]) -> Interval | None:
    """Least squares' value at a ratio of 0, with errors that allow for unequal spread (HC3)."""
    y, n = np.asarray(gains, dtype=np.float64), len(gains)
    x = np.column_stack([np.ones(n), np.asarray(ratios, dtype=np.float64)])
    if n < FEWEST or float(np.ptp(x[:, 1])) < 1e-9:
        return None
    inverse = np.linalg.inv(x.T @ x)
    weights = inverse @ (x.T @ y)
    leverage = np.clip(np.sum((x @ inverse) * x, axis=1), 0.0, 1 - 1e-9)
    rest = (y - x @ weights) / (1 - leverage)
    errors = inverse @ (x.T * rest**2) @ x @ inverse
    value = float(weights[0])
    half = student_quantile(upper_tail(CONFIDENCE), n - 2) * math.sqrt(max(0.0, errors[0, 0]))
    return Interval(value, value - half, value + half, n, method="least squares, HC3")


def warnings(
    found: Comparison, other: Comparison | None, other_called: str, *, by_code: bool = False
) -> list[str]:
    """What speaks against believing the gain, a sentence each; nothing where nothing does.

    `by_code` says that the judge of the search was code alone, which has no liking for length: a
    refusal is shorter than an answer, and is no worse for that.
    """
    row = found.row("reward", "reward")
    if row is None or row.difference is None or row.difference.low <= 0:
        return []
    gain, said = row.difference, []
    if other is not None:
        theirs = other.row("reward", "reward")
        if theirs is None or theirs.difference is None:
            said.append(f"The gain could not be looked at by {other_called}.")
        elif theirs.difference.low <= 0:
            said.append(
                f"The gain under the judge of the search ({_shown(gain)}) is not matched by "
                f"{other_called} ({_shown(theirs.difference)}): it may be the judge that was won, "
                "not the user."
            )
    for name in ("balanced safety", "harmful refused", "harmless answered"):
        safety = found.row("safety", name)
        # A warning is given on the interval alone: it need not hold after correction.
        if safety is not None and safety.difference is not None and safety.difference.high < 0:
            said.append(
                f"The judge's scores rose while {name}, which rests on code, fell "
                f"({_shown(safety.difference)})."
            )
    level = None if by_code else at_equal_length(found)
    if level is not None and (level.low <= 0 or level.value < gain.value / 2):
        said.append(
            f"Length may explain the gain: at equal length it is {_shown(level)}, against "
            f"{_shown(gain)} as measured."
        )
    return said


def _shown(interval: Interval) -> str:
    return f"{interval.value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"
