"""Aligned prompts on models they were not found for, on the same held-out queries.

    outcome = await transfer(TransferJob(("runs/align-1", "runs/align-2"), ("ollama:llama3.2",)))
    outcome.results["cells"]["ollama:llama3.2"]["runs/align-1"]["headline"]["difference"]

The published work claims that optimised prompts transfer (arXiv 2411.08733): a matrix of prompts
and models shows whether yours do. Models are those of the runs, then those named. On each, the
prompts are compared in pairs with the plain prompt on that model; p is adjusted over the prompts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trueup.errors import SettingsError
from trueup.evaluation.evaluate import Evaluation
from trueup.evaluation.versus import headline, versus
from trueup.jobs.contenders import Contender, enter, fair
from trueup.jobs.estimate import Expected
from trueup.jobs.job import RUNS, Job
from trueup.jobs.plan import Plan, prepare
from trueup.jobs.trials import OnEvent, Trials, TrialsOutcome, asked, carried_out, opened, reported
from trueup.judges.judge import Judge
from trueup.models.model import Model
from trueup.models.named import storable
from trueup.paths import expanded
from trueup.report.tables import matrix
from trueup.store.runs import RunFolder

PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class TransferJob:
    """Which prompts, on which models."""

    runs: tuple[str, ...]
    to: tuple[str, ...] = ()
    job: Job = field(default_factory=Job)
    """Data, judge, sampling, budgets, folder."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if self.job.out:
            return expanded(self.job.out)
        text = json.dumps(["trueup/transfer/1", self.runs, self.to, self.job.name])
        return Path(RUNS) / f"transfer-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Ready:
    """A matrix before its first call."""

    job: TransferJob
    plan: Plan
    entered: tuple[Contender, ...]
    models: tuple[str, ...]
    notes: tuple[str, ...]
    opened: dict[str, Model]

    @property
    def folder(self) -> Path:
        """Where it leaves its results."""
        return self.job.folder

    @property
    def expected(self) -> list[Expected]:
        """What it will take."""
        names = [name for name in self.models for _ in range(1 + len(self.entered))]
        return reported(self.plan, names, len(self.plan.held_out), self.opened)

    @property
    def called(self) -> dict[str, Model]:
        """Every model that is called, by role or by name."""
        return asked(self.plan, searches=False) | self.opened

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result."""
        prompts = [f"{one.name}: {one.prompt!r}" for one in self.entered]
        return {
            "runs": list(self.job.runs),
            "models": list(self.models),
            "prompts": hashlib.sha256("\n".join(prompts).encode()).hexdigest()[:16],
            "job": self.plan.job.deciding(),
            "inputs": self.plan.inputs,
        }


def ready(
    job: TransferJob, *, models: Mapping[str, Model] | None = None, judge: Judge | None = None
) -> Ready:
    """Everything but the calls. `models` by name stand in for those named."""
    if not job.runs:
        raise SettingsError("Nothing to transfer: name a run's folder or an aligned.toml.")
    given = dict(models or {})
    policy = {"policy": given[job.job.policy]} if job.job.policy in given else {}
    plan = prepare(job.job, models=policy, judge=judge)
    entered = enter(job.runs, plan, job.job)
    strange = [one.name for one in entered if not one.aligned]
    if strange:
        raise SettingsError(
            f"{strange[0]} is no aligned prompt: name a run's folder or an aligned.toml, and "
            "models with --to."
        )
    named = [*(one.model_name for one in entered), *map(storable, job.to)]
    names = tuple(dict.fromkeys(named))
    held_out, notes = fair(plan.held_out, entered)
    plan = replace(plan, held_out=held_out)
    embedders = [one.embedder_name for one in entered]
    return Ready(
        job, plan, entered, names, (*plan.notes, *notes), opened(plan, [*names, *embedders], given)
    )


async def transfer(
    job: TransferJob,
    *,
    models: Mapping[str, Model] | None = None,
    judge: Judge | None = None,
    on_event: OnEvent = lambda event: None,
) -> TrialsOutcome:
    """Fill the matrix. Raises `TrueupError`; the same call again goes on where it stopped."""
    return await run(ready(job, models=models, judge=judge), on_event)


async def run(ready: Ready, on_event: OnEvent = lambda event: None) -> TrialsOutcome:
    """Run what was made ready, and close its models."""

    async def work(trials: Trials, folder: RunFolder) -> dict[str, Any]:
        return await _filled(ready, trials, on_event)

    return await carried_out(ready, "transfer", work, {"report.md": matrix}, on_event)


async def _filled(ready: Ready, trials: Trials, on_event: OnEvent) -> dict[str, Any]:
    plan = ready.plan
    cells: dict[str, Any] = {}
    stopped: list[str] = []
    clear = 0
    for name in ready.models:
        on_event(f"{name}: {1 + len(ready.entered)} prompts")
        plain = await trials.measured(PLAIN, plan.base, plan.held_out, model_name=name)
        found: dict[str, Evaluation] = {}
        for one in ready.entered:
            found[one.name] = await trials.measured(
                one.name, one.prompt or plan.base, plan.held_out,
                model_name=name, embedder_name=one.embedder_name,
            )  # fmt: skip
        stopped += [one.stopped for one in (plain, *found.values()) if one.stopped]
        cells[name] = {}
        against = versus(plain, found)
        for one in ready.entered:
            rows = against[one.name]
            head = headline(rows)
            cells[name][one.name] = {
                "own": one.model_name == name,
                "headline": head.to_dict() if head else None,
                "table": [row.to_dict() for row in rows],
                "evaluation": found[one.name].to_dict(),
            }
            foreign = one.model_name != name
            clear += bool(foreign and head and head.row.clear == "better")
        cells[name][PLAIN] = {"own": False, "evaluation": plain.to_dict()}
    away = sum(one.model_name != name for name in ready.models for one in ready.entered)
    return {
        "judge": plan.judge_shown,
        "held_out": len(plan.held_out),
        "cells": cells,
        "stopped": stopped[0] if stopped else None,
        "summary": f"{clear} of {away} prompts clearly better than plain on a model not their own"
        if away
        else "no prompt was tried on a model not its own: name others with --to",
    }
