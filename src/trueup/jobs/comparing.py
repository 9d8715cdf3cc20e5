"""Several prompts against one: each searched or taken as it is, all measured on the same queries.

    outcome = await compare(CompareJob(("plain", "urial", "ours"), Job(policy="embedded")))
    outcome.results["summary"]

Searches go first and have a share of the budget; each gets as many policy calls as the job says.
Then everyone answers the held-out queries, and each is compared with the first, or with the one
named. Every reply is in the run's folder before it is used: a run that was killed is run again and
pays nothing twice. What was found is kept as NAME.toml beside the results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trueup.aligned import Aligned
from trueup.errors import SettingsError, StoreError
from trueup.evaluation.comparison import Comparison, evaluation_table
from trueup.evaluation.evaluate import Evaluation, Progress
from trueup.evaluation.price import price
from trueup.evaluation.versus import Against, headline, versus
from trueup.jobs import job as job_file
from trueup.jobs.contenders import Contender, enter, fair
from trueup.jobs.estimate import Expected
from trueup.jobs.job import RUNS, Job
from trueup.jobs.plan import Checkable, Plan, prepare
from trueup.jobs.searching import Search, search
from trueup.jobs.trials import Trials, closing, reported, reserve, searched
from trueup.judges.judge import Judge
from trueup.models.budgeted import Budget
from trueup.models.model import Model
from trueup.prompt.prompt import Prompt
from trueup.prompt.random_search import random_search
from trueup.report.tables import beside
from trueup.store.calls import Calls
from trueup.store.runs import RunFolder, read_run

SETTINGS, RESULTS, REPORT, PICTURE = "compare.json", "results.json", "report.md", "price.svg"
OnEvent = Callable[[str | Progress], None]


@dataclass(frozen=True, slots=True)
class CompareJob:
    """What to compare, and how."""

    candidates: tuple[str, ...]
    job: Job = field(default_factory=Job)
    """Policy, data, judge, sampling, calls of each search, budgets, folder."""
    against: str | None = None
    """Whom the others are compared with; by default the first."""

    @property
    def reference(self) -> str:
        """Whom the others are compared with. Raises `SettingsError` where that is nobody."""
        if len(self.candidates) < 2:
            raise SettingsError("A comparison needs two candidates or more: name another one.")
        if self.against is not None and self.against not in self.candidates:
            raise SettingsError(
                f"{self.against} is not among the candidates ({', '.join(self.candidates)}): name "
                "one of them with --against."
            )
        return self.against or self.candidates[0]

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if self.job.out:
            return Path(self.job.out).expanduser()
        text = json.dumps(["trueup/compare/1", self.candidates, self.against, self.job.name])
        return Path(RUNS) / f"compare-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Ready:
    """A comparison before its first call."""

    job: CompareJob
    plan: Plan
    entered: tuple[Contender, ...]
    notes: tuple[str, ...]
    opened: dict[str, Model]

    @property
    def expected(self) -> list[Expected]:
        """What it will take: the searches, then the held-out queries."""
        rows = []
        for one in self.entered:
            if one.plan is not None:
                mine = searched(one.plan)
                kept = mine if one.search != "random" else [r for r in mine if r.role != "writer"]
                rows += [replace(row, part=f"search: {one.name}") for row in kept]
        return rows + reported(self.plan, len(self.entered), len(self.plan.held_out))

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result."""
        return {
            "candidates": list(self.job.candidates),
            "against": self.job.reference,
            "job": json.loads(self.plan.job.model_dump_json(exclude={"out", *_LIMITS})),
            "inputs": self.plan.inputs,
            "prompts": {
                one.name: hashlib.sha256(json.dumps(asdict(one.prompt)).encode()).hexdigest()[:16]
                for one in self.entered
                if one.prompt is not None
            },
        }


_LIMITS = ("budget_calls", "budget_tokens", "budget_usd", "budget_minutes", "prices")


@dataclass(frozen=True, slots=True)
class CompareOutcome:
    """What a comparison leaves behind."""

    folder: Path
    results: Mapping[str, Any]
    shown_again: bool = False


def ready(
    job: CompareJob, *, models: Mapping[str, Model] | None = None, judge: Judge | None = None
) -> Ready:
    """Everything but the calls. `models` by role or by name stand in for those named."""
    job.reference  # noqa: B018 - refuses what makes no sense, before files are read
    given = dict(models or {})
    roles = ("policy", "writer", "judge", "report_judge", "embedder")
    plan = prepare(job.job, models={k: v for k, v in given.items() if k in roles}, judge=judge)
    entered = enter(job.candidates, plan, job.job)
    held_out, notes = fair(plan.held_out, entered)
    plan = replace(plan, held_out=held_out)
    opened = {name: model for name, model in given.items() if name not in roles}
    return Ready(job, plan, entered, (*plan.notes, *notes), opened)


async def compare(
    job: CompareJob,
    *,
    models: Mapping[str, Model] | None = None,
    judge: Judge | None = None,
    on_event: OnEvent = lambda event: None,
) -> CompareOutcome:
    """Compare. Raises `TrueupError`; the same call again goes on where it stopped."""
    return await run(ready(job, models=models, judge=judge), on_event)


async def run(ready: Ready, on_event: OnEvent = lambda event: None) -> CompareOutcome:
    """Run what was made ready, and close its models."""
    folder_path, plan = ready.job.folder, ready.plan
    try:
        done = finished(folder_path, ready.settings, SETTINGS)
        if done is not None:
            return CompareOutcome(folder_path, done, shown_again=True)
        limits = plan.job
        budget = Budget(
            limits.budget_calls, limits.budget_tokens, limits.budget_usd, limits.budget_minutes
        )
        _enough(ready, budget)
        await plan.check()
        with RunFolder(folder_path, method="compare") as folder, Calls(folder.calls) as calls:
            folder.write_text(SETTINGS, json.dumps(ready.settings, indent=1) + "\n")
            # So that what was found can be tried elsewhere on nothing that its search has seen.
            folder.write_text(job_file.FILE, plan.job.model_copy(update={"out": None}).toml())
            trials = Trials(plan, calls, budget, ready.opened, on_event)
            for one in ready.entered:
                model = trials.model(one.model_name)
                if isinstance(model, Checkable):
                    await model.check()
            results = await _compared(ready, trials, folder, on_event)
            results["costs"] = {role: asdict(cost) for role, cost in calls.ledger().file.items()}
            folder.write_text(RESULTS, json.dumps(results, indent=1) + "\n")
            results = json.loads((folder_path / RESULTS).read_text("utf-8"))
            folder.write_text(REPORT, beside(results))
            folder.finish(str(results["summary"]))
        return CompareOutcome(folder_path, results)
    finally:
        for model in closing(plan, ready.opened):
            await model.close()


def finished(folder: Path, settings: Mapping[str, Any], file: str) -> Mapping[str, Any] | None:
    """A finished run's results. Raises `SettingsError` where the folder holds something else."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    try:
        before = json.loads((folder / file).read_text("utf-8"))
    except (OSError, ValueError):
        if {one.name for one in folder.iterdir()} <= {"run.json", "run.lock"}:
            return None
        raise SettingsError(
            f"{folder} holds other files: choose another folder with --out."
        ) from None
    if before != json.loads(json.dumps(settings)):
        raise SettingsError(
            f"{folder} holds a run with other settings, data or prompts: choose another folder "
            "with --out."
        )
    if read_run(folder).finished is None:
        return None
    results: Mapping[str, Any] = load(folder)
    return None if results.get("stopped") else results


def load(folder: Path) -> Mapping[str, Any]:
    """The results of a run's folder. Raises `StoreError`."""
    try:
        found: Mapping[str, Any] = json.loads((folder / RESULTS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{folder} has no readable {RESULTS}: its run has not finished. The same command again "
            "goes on."
        ) from error
    return found


def _enough(ready: Ready, budget: Budget) -> None:
    last = sum(row.calls for row in ready.expected if row.part == "held-out")
    if budget.calls is not None and budget.calls < last:
        raise SettingsError(
            f"A budget of {budget.calls} calls is too small: the held-out queries alone take "
            f"{last}. Raise --budget-calls, or lower --held-out."
        )


async def _compared(
    ready: Ready, trials: Trials, folder: RunFolder, on_event: OnEvent
) -> dict[str, Any]:
    plan, share = ready.plan, reserve(ready.expected, Budget(
        ready.plan.job.budget_calls, ready.plan.job.budget_tokens,
        ready.plan.job.budget_usd, ready.plan.job.budget_minutes))  # fmt: skip
    prompts, spent = {}, {}
    for one in ready.entered:
        if one.prompt is not None:
            prompts[one.name] = one.prompt
            continue
        on_event(f"{one.name}: searching")
        done, figures = await _searched(one, trials, share)
        prompts[one.name], spent[one.name] = done.found.prompt, figures
        found = Aligned(one.model_name, done.found.prompt, plan.sampling, plan.job.embedder)
        folder.write_text(f"{one.name}.toml", found.toml())
    evaluations: dict[str, Evaluation] = {}
    for one in ready.entered:
        on_event(f"{one.name}: {len(plan.held_out)} held-out queries")
        evaluations[one.name] = await trials.measured(
            one.name,
            prompts[one.name],
            plan.held_out,
            model_name=one.model_name,
            embedder_name=one.embedder_name or (plan.job.embedder if one.search else None),
        )
    reference = ready.job.reference
    others = {name: found for name, found in evaluations.items() if name != reference}
    table = versus(evaluations[reference], others)
    rows = {}
    for one in ready.entered:
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
            "evaluation": evaluation.to_dict(),
        }
    stopped = [found.stopped for found in evaluations.values() if found.stopped]
    stopped += [one["stopped"] for one in spent.values() if one["stopped"]]
    return {
        "settings": ready.settings,
        "judge": plan.judge_shown,
        "held_out": len(plan.held_out),
        "reference": reference,
        "notes": list(ready.notes),
        "candidates": rows,
        "verdicts": trials.tally.to_dict(),
        "stopped": stopped[0] if stopped else None,
        "summary": _summary(reference, table, len(plan.held_out)),
    }


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
            remedies=plan.remedies, calls=allowed or 300, sampling=plan.sampling,
            seed=plan.job.seed,
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


def _summary(reference: str, table: Mapping[str, tuple[Against, ...]], queries: int) -> str:
    """The best of them in a line."""
    heads = {name: head for name, rows in table.items() if (head := headline(rows)) is not None}
    known = {name: one for name, one in heads.items() if one.row.difference and one.row.after}
    if not known:
        return "nothing could be measured"

    def gained(name: str) -> float:
        difference = known[name].row.difference
        return difference.value if difference else 0.0

    best = max(known, key=gained)
    row = known[best].row
    assert row.difference is not None and row.after is not None and row.before is not None
    gap = row.difference
    return (
        f"{row.name}: {best} {row.after.value:.2f} against {reference} {row.before.value:.2f} "
        f"({gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}], {queries} held-out queries)"
    )
