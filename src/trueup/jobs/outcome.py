"""What a run leaves behind, and whether it has.

    done = finished(plan)                # None where there is something to do yet
    begin(plan, run_folder)              # so that the next process knows whose folder it is
    done = load(folder)
    done.aligned, done.results["summary"]

A folder holds one job's run: another job's, or the same on data that changed since, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trueup.aligned import Aligned
from trueup.errors import SettingsError
from trueup.jobs import job as job_file
from trueup.jobs.job import Job
from trueup.jobs.plan import Plan
from trueup.store import results as results_file
from trueup.store.runs import RunFolder, read_run

INPUTS = "inputs.json"
"""A run's file: the hash of the data and models that it was begun on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run leaves behind."""

    folder: Path
    aligned: Aligned
    results: Mapping[str, Any]
    """What results.json holds: figures, rounds, costs, and every held-out reply."""
    shown_again: bool = False
    """Whether the run had finished before, so that nothing was done."""


def finished(plan: Plan) -> Outcome | None:
    """The run's outcome if it has one.

    Raises `SettingsError` where another job has the folder, or this one on other data or models.
    """
    folder = plan.job.folder
    if results_file.is_fresh(folder):
        return None
    if not (folder / job_file.FILE).is_file():
        raise SettingsError(
            f"{folder} holds other files and no run: choose another folder with --out."
        )
    before = Job.load(folder)
    if not before.same_result(plan.job):
        changed = ", ".join(_changed(before.settled(), plan.job))
        raise SettingsError(
            f"{folder} holds the run of another job (different: {changed}): choose another folder "
            "with --out."
        )
    if _inputs(folder) not in (None, plan.inputs):
        raise SettingsError(
            f"{folder} holds a run on other data or models than these now are: choose another "
            "folder with --out, or put back what was changed."
        )
    if read_run(folder).finished is None:
        return None
    found = load(folder)
    if found.results.get("stopped") and _limits(before) != _limits(plan.job):
        return None
    return found


def begin(plan: Plan, folder: RunFolder) -> None:
    """Write down what the run is of, before its first call. Raises `StoreError`."""
    # The job first: a folder without one is taken for somebody else's.
    folder.write_text(job_file.FILE, plan.job.toml())
    folder.write_text(INPUTS, json.dumps({"inputs": plan.inputs}) + "\n")


def load(folder: Path) -> Outcome:
    """The outcome of a run's folder. Raises `StoreError` or `DataError`."""
    again = f"Run `trueup align --job {folder / job_file.FILE}` to finish it."
    results = results_file.load(folder, again)
    return Outcome(folder, Aligned.load(folder), results, shown_again=True)


def _inputs(folder: Path) -> object:
    """What the folder's run was begun on; None where nothing says so."""
    # Runs that were begun before there was the first file have it in the second, if they ended.
    for name in (INPUTS, results_file.FILE):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found: object = json.loads((folder / name).read_text("utf-8"))["inputs"]
            return found
    return None


def _changed(before: Job, now: Job) -> list[str]:
    one, other = before.model_dump(), now.model_dump()
    return [name for name in one if one[name] != other[name] and name != "out"]


def _limits(job: Job) -> list[float | None]:
    return [job.budget_calls, job.budget_tokens, job.budget_usd, job.budget_minutes]
