"""The contest itself: searches first, then everyone on the held-out queries, then the table.

    results = await contest(entered, plan, "plain", trials, share, folder, on_event)
    results["candidates"]["ours"]["against"]

What a search found is kept as NAME.toml in the run's folder. A search that was made several times
has a candidate for each seed; what they are together is in `searches`, with an interval over seeds:
how much of a result is luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trueup.aligned import Aligned
from trueup.evaluation.comparison import Comparison, Row, evaluation_table
from trueup.evaluation.evaluate import Evaluation
from trueup.evaluation.pictures import safety
from trueup.evaluation.price import price
from trueup.evaluation.statistics import mean_interval
from trueup.evaluation.versus import Against, headline, versus
from trueup.jobs.contenders import Contender
from trueup.jobs.plan import Plan
from trueup.jobs.searching import Search, search
from trueup.jobs.trials import OnEvent, Trials
from trueup.models.budgeted import Budget
from trueup.prompt.prompt import Prompt
from trueup.prompt.random_search import random_search
from trueup.prompt.settings import CALLS
from trueup.report.markdown import interval
from trueup.store.runs import RunFolder


async def contest(
    entered: Sequence[Contender],
    plan: Plan,
    reference: str,
    trials: Trials,
    share: Budget,
    folder: RunFolder,
    on_event: OnEvent,
) -> dict[str, Any]:
    """Search, of `share` of the budget, then measure everyone and compare with `reference`."""
    prompts, spent = await _prompts(entered, plan, trials, share, folder, on_event)
    evaluations: dict[str, Evaluation] = {}
    for one in entered:
        on_event(f"{one.name}: {len(plan.held_out)} held-out queries")
        evaluations[one.name] = await trials.measured(
            one.name,
            prompts[one.name],
            plan.held_out,
            model_name=one.model_name,
            embedder_name=one.embedder_name or (plan.job.embedder if one.search else None),
        )
    others = {name: found for name, found in evaluations.items() if name != reference}
    table = versus(evaluations[reference], others)
    rows = {}
    for one in entered:
        evaluation, against = evaluations[one.name], table.get(one.name)
        head = headline(against) if against else None
        pair = Comparison(evaluations[reference], evaluation)
        cost = price(pair, head.row if head else None, trials.price(one.model_name))
        rows[one.name] = {
            "told": one.told,
            "model": one.model_name,
            "prompt": _shown(prompts[one.name]),
            "pool": len(prompts[one.name].demonstrations),
            "search": spent.get(one.name),
            "alone": [row.to_dict() for row in evaluation_table(evaluation)],
            "against": [row.to_dict() for row in against] if against else None,
            "headline": head.row.name if head else None,
            "cost": cost.to_dict(),
            "safety": safety(one.name, evaluation.results),
            "evaluation": evaluation.to_dict(),
        }
    stopped = [found.stopped for found in evaluations.values() if found.stopped]
    stopped += [one["stopped"] for one in spent.values() if one["stopped"]]
    searches = _over_seeds(entered, table)
    return {
        "judge": plan.judge_shown,
        "held_out": len(plan.held_out),
        "reference": reference,
        "candidates": rows,
        "searches": searches,
        "verdicts": trials.tally.to_dict(),
        "stopped": stopped[0] if stopped else None,
        "summary": _summary(reference, table, searches),
    }


async def _prompts(
    entered: Sequence[Contender],
    plan: Plan,
    trials: Trials,
    share: Budget,
    folder: RunFolder,
    on_event: OnEvent,
) -> tuple[dict[str, Prompt], dict[str, dict[str, Any]]]:
    """Everyone's prompt, and what was spent on those that had to be found."""
    prompts, spent = {}, {}
    for one in entered:
        if one.prompt is not None:
            prompts[one.name] = one.prompt
            continue
        on_event(f"{one.name}: searching")
        done, spent[one.name] = await _searched(one, trials, share)
        prompts[one.name] = done.found.prompt
        found = Aligned(one.model_name, done.found.prompt, plan.sampling, plan.job.embedder)
        folder.write_text(f"{one.name}.toml", found.toml())
    return prompts, spent


def _shown(prompt: Prompt) -> dict[str, Any]:
    """A prompt without its pool, which may be long and is in a file of its own."""
    return {
        "instruction": prompt.instruction,
        "retrieval": asdict(prompt.retrieval),
        "format": prompt.format,
    }


async def _searched(one: Contender, trials: Trials, share: Budget) -> tuple[Search, dict[str, Any]]:
    """A candidate's search, and what it has spent."""
    plan = one.plan
    assert plan is not None
    allowed = plan.job.calls or plan.settings.calls
    models, spent = trials.searching(one.name, plan, share, allowed)
    judge = plan.judge(models.get("judge"))
    if one.search == "random":
        found = await random_search(
            models["policy"], judge, plan.search, start=plan.start, pool=plan.pool,
            remedies=plan.remedies, calls=allowed or CALLS, sampling=plan.sampling,
            seed=plan.settings.seed,
        )  # fmt: skip
        # Its own note says why, where a budget ended it.
        done = Search(found, next((n for n in found.notes if n.startswith("stopped early")), None))
    else:
        done = await search(plan, models, judge)
    used = spent.spent
    at_limit = allowed is not None and done.found.policy_calls >= allowed
    return done, {
        "policy_calls": done.found.policy_calls,
        "calls": used.calls,
        "tokens": used.tokens,
        "usd": used.usd,
        "candidates": done.found.candidates,
        "search_score": done.found.search_score,
        "validation_score": done.found.validation_score,
        "notes": list(done.found.notes),
        # That a search has used its policy calls is its end, not a run cut short.
        "stopped": None if at_limit else done.stopped,
    }


def _over_seeds(
    entered: Sequence[Contender], table: Mapping[str, tuple[Against, ...]]
) -> dict[str, Any]:
    """Searches made several times: the mean of their headlines, its interval over seeds.

    Of the seeds that could be measured; one alone has no interval.
    """
    families: dict[str, list[Row]] = {}
    for one in entered:
        head = headline(table.get(one.name, ()))
        if one.family and head is not None and head.row.after and head.row.difference:
            families.setdefault(one.family, []).append(head.row)
    found = {}
    for family, rows in families.items():
        after = mean_interval([row.after.value for row in rows if row.after])
        gained = mean_interval([row.difference.value for row in rows if row.difference])
        found[family] = {
            "headline": rows[0].name,
            "unit": rows[0].unit,
            "seeds": len(rows),
            "n": min(row.n for row in rows),
            "after": after.to_dict() if after else None,
            "difference": gained.to_dict() if gained else None,
            "clearly_better": sum(row.clear == "better" for row in rows),
        }
    return found


def _summary(
    reference: str,
    table: Mapping[str, tuple[Against, ...]],
    searches: Mapping[str, Mapping[str, Any]],
) -> str:
    """The best of them in a line; a search made several times by its mean, not its luckiest."""
    lines: list[tuple[float, str]] = []
    for name, rows in table.items():
        head = headline(rows)
        if head is None or any(name.startswith(f"{family}-") for family in searches):
            continue
        row = head.row
        if row.difference is None or row.before is None or row.after is None:
            continue
        gap = interval(row.difference.to_dict(), row.unit, signed=True)
        lines.append((row.difference.value, (
            f"{row.name}: {name} {row.after.value:.2f} against {reference} {row.before.value:.2f} "
            f"({gap}, {row.n} held-out queries)"
        )))  # fmt: skip
    for family, one in searches.items():
        seeds = "one seed" if one["seeds"] == 1 else f"the mean of {one['seeds']} seeds"
        gap = interval(one["difference"], one["unit"], signed=True)
        lines.append((one["difference"]["value"], (
            f"{one['headline']}: {family} {one['after']['value']:.2f} in {seeds}, {gap} over seeds "
            f"against {reference} ({one['n']} held-out queries)"
        )))  # fmt: skip
    return max(lines)[1] if lines else "nothing could be measured"
