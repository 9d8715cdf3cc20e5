"""The search of a plan, carried out: demonstrations rewritten if it says so, then round by round.

    done = await search(plan, models, judge, on_round=print, on_notice=print)
    done.found.prompt, done.stopped

`models` are those of the plan, by role, as they are to be paid for; so whoever calls decides what
is remembered and which budget it comes out of. A budget that is spent ends the search with the
best prompt so far; with a `deadline` it plans for the time there is. It measures nothing on
held-out queries and writes nothing down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trueup.errors import BudgetSpent, JudgeError
from trueup.jobs.deadline import Deadline
from trueup.jobs.plan import Plan
from trueup.judges.judge import Judge
from trueup.loop import rounds
from trueup.models.model import Model
from trueup.prompt import METHODS
from trueup.prompt.demonstrations import WORDS, rewrite_demonstrations
from trueup.prompt.states import Found
from trueup.types import Demonstration

WORDS_PER_TOKEN = 0.7
"""A demonstration no longer than the policy's replies may be."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found, and why it ended early if it did."""

    found: Found
    stopped: str | None = None
    refused: str | None = None
    """What the budget said that refused a call of the round after the last, if one did."""


async def search(
    plan: Plan,
    models: Mapping[str, Model],
    judge: Judge,
    on_round: Callable[[Mapping[str, Any]], None] = lambda record: None,
    on_notice: Callable[[str], None] = lambda text: None,
    deadline: Deadline | None = None,
) -> Search:
    """Search. Raises `BudgetSpent` where not even the first answers could be paid for."""
    if plan.job.judge in ("likelihood", "perplexity") and plan.own_judge is None:
        await _probe(judge, plan)
    try:
        pool = await _pool(plan, models, judge, on_notice)
    except BudgetSpent as spent:
        raise BudgetSpent(f"The budget was spent on rewriting demonstrations. {spent}") from spent
    method = METHODS["published" if plan.job.published else str(plan.job.method)](
        policy=models["policy"],
        judge=judge,
        search=plan.search,
        validation=plan.validation,
        start=replace(plan.start, demonstrations=pool) if plan.job.k else plan.start,
        pool=pool,
        writer=models.get("writer"),
        remedies=plan.remedies,
        settings=plan.settings,
        embedder=models.get("embedder"),
    )
    state, stopped, said = None, None, None
    planned = plan.settings.calls
    try:
        async for turn in rounds(method):
            state, record = turn.state, method.record(turn)
            if deadline is not None and planned is not None and not method.finished(state):
                told = deadline.after(turn.number, method.policy_calls)
                method.afford(min(planned, told["calls"]))
                stopped = _short_of_time(told, planned)
                record |= {"time": told}
            on_round(record)
    except BudgetSpent as spent:
        said = str(spent)
        stopped = f"The search stopped early, at its share of the budget. {said}"
    if state is None:
        raise BudgetSpent(
            f"Not even the first answers could be measured. {stopped} Raise the budget."
        )
    return Search(method.result(state), stopped, said)


def _short_of_time(told: Mapping[str, Any], planned: int) -> str | None:
    if told["calls"] >= planned:
        return None
    return (
        f"Of the search's {planned} policy calls, {told['limit']:g} minutes had room for "
        f"{told['calls']}. Raise --budget-minutes and run again for more."
    )


async def _pool(
    plan: Plan, models: Mapping[str, Model], judge: Judge, on_notice: Callable[[str], None]
) -> tuple[Demonstration, ...]:
    """The demonstrations to choose from, rewritten first where the job wants that."""
    if not plan.job.rewrite_demonstrations:
        return plan.pool
    words = min(WORDS, round(WORDS_PER_TOKEN * plan.sampling.max_tokens))
    done = await rewrite_demonstrations(
        plan.pool, writer=models["writer"], judge=judge, words=max(1, words)
    )
    changed = sum(one.demonstration.reply != one.versions[0].reply for one in done)
    on_notice(f"{changed} of {len(done)} demonstrations rewritten")
    return tuple(one.demonstration for one in done)


async def _probe(judge: Judge, plan: Plan) -> None:
    """See that probabilities can be read at all, for the price of one reply's questions."""
    verdict = await judge(plan.search[0], "I do not know.")
    if verdict.failed is not None:
        raise JudgeError(
            f"The judge cannot score by {plan.job.judge}: {verdict.failed}. Choose --judge "
            "dynamic, or another --judge-model."
        )
