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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trueup.errors import SettingsError
from trueup.jobs import job as job_file
from trueup.jobs.contenders import SEARCHES, Contender, enter, fair
from trueup.jobs.contest import contest
from trueup.jobs.estimate import Expected, reserve
from trueup.jobs.job import RUNS, Job
from trueup.jobs.plan import Plan, prepare
from trueup.jobs.trials import (
    OnEvent,
    Trials,
    TrialsOutcome,
    asked,
    carried_out,
    opened,
    reported,
    searched,
)
from trueup.judges.judge import Judge
from trueup.models.model import Model
from trueup.paths import expanded
from trueup.report.tables import SAFETY, beside, plane
from trueup.store.runs import RunFolder


@dataclass(frozen=True, slots=True)
class CompareJob:
    """What to compare, and how."""

    candidates: tuple[str, ...]
    job: Job = field(default_factory=Job)
    """Policy, data, judge, sampling, calls of each search, budgets, folder."""
    against: str | None = None
    """Whom the others are compared with; by default the first."""
    seeds: int = 1
    """How often each search is made: with the job's seed, the next, and so on."""

    @property
    def reference(self) -> str:
        """Whom the others are compared with. Raises `SettingsError` where that is nobody."""
        if self.seeds < 1:
            raise SettingsError(f"--seeds {self.seeds} makes no sense: give 1 or more.")
        if len(self.candidates) < 2:
            raise SettingsError("A comparison needs two candidates or more: name another one.")
        if self.against is not None and self.against not in self.candidates:
            raise SettingsError(
                f"{self.against} is not among the candidates ({', '.join(self.candidates)}): name "
                "one of them with --against."
            )
        chosen = self.against or self.candidates[0]
        if self.seeds > 1 and chosen in SEARCHES:
            raise SettingsError(
                f"{chosen} is searched for {self.seeds} times, and there is one to compare with: "
                "name another candidate with --against, such as plain."
            )
        return chosen

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if self.job.out:
            return expanded(self.job.out)
        parts: list[Any] = ["trueup/compare/1", self.candidates, self.against, self.job.name]
        text = json.dumps(parts if self.seeds == 1 else [*parts, self.seeds])
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
    def folder(self) -> Path:
        """Where it leaves its results."""
        return self.job.folder

    @property
    def expected(self) -> list[Expected]:
        """What it will take: the searches, then the held-out queries."""
        rows = []
        for one in self.entered:
            if one.plan is not None:
                mine = searched(one.plan)
                kept = mine if one.search != "random" else [r for r in mine if r.role != "writer"]
                rows += [replace(row, part=f"search: {one.name}") for row in kept]
        names = [one.model_name for one in self.entered]
        return rows + reported(self.plan, names, len(self.plan.held_out), self.opened)

    @property
    def called(self) -> dict[str, Model]:
        """Every model that is called, by role or by name."""
        searches = any(one.plan is not None for one in self.entered)
        return asked(self.plan, searches=searches) | self.opened

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result."""
        return {
            "candidates": list(self.job.candidates),
            "against": self.job.reference,
            "seeds": self.job.seeds,
            "job": self.plan.job.deciding(),
            "inputs": self.plan.inputs,
            "prompts": {
                one.name: hashlib.sha256(json.dumps(asdict(one.prompt)).encode()).hexdigest()[:16]
                for one in self.entered
                if one.prompt is not None
            },
        }


def ready(
    job: CompareJob, *, models: Mapping[str, Model] | None = None, judge: Judge | None = None
) -> Ready:
    """Everything but the calls. `models` by role or by name stand in for those named."""
    job.reference  # noqa: B018 - refuses what makes no sense, before files are read
    given = dict(models or {})
    roles = ("policy", "writer", "judge", "report_judge", "embedder")
    plan = prepare(job.job, models={k: v for k, v in given.items() if k in roles}, judge=judge)
    entered = enter(job.candidates, plan, job.job, job.seeds)
    held_out, notes = fair(plan.held_out, entered)
    plan = replace(plan, held_out=held_out)
    names = [name for one in entered for name in (one.model_name, one.embedder_name)]
    return Ready(job, plan, entered, (*plan.notes, *notes), opened(plan, names, given))


async def compare(
    job: CompareJob,
    *,
    models: Mapping[str, Model] | None = None,
    judge: Judge | None = None,
    on_event: OnEvent = lambda event: None,
) -> TrialsOutcome:
    """Compare. Raises `TrueupError`; the same call again goes on where it stopped."""
    return await run(ready(job, models=models, judge=judge), on_event)


async def run(ready: Ready, on_event: OnEvent = lambda event: None) -> TrialsOutcome:
    """Run what was made ready, and close its models."""
    plan = ready.plan

    async def work(trials: Trials, folder: RunFolder) -> dict[str, Any]:
        # So that what was found can be tried elsewhere on nothing that its search has seen.
        folder.write_text(job_file.FILE, plan.job.model_copy(update={"out": None}).toml())
        share = reserve(ready.expected, trials.budget)
        return await contest(
            ready.entered, plan, ready.job.reference, trials, share, folder, on_event
        )

    pages = {"report.md": beside, SAFETY: plane}
    return await carried_out(ready, "compare", work, pages, on_event)
