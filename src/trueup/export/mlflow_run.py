"""A run as a run of MLflow: its job as parameters, its figures as metrics, its files as artifacts.

    told = to_mlflow(finished("runs/align-1a2b3c4d"), "http://127.0.0.1:5000", "trueup")
    told.run_id, told.there_before

Metrics are named as the report's rows, `safety/balanced safety/after` with `_low` and `_high` for
the 95% interval; the search's rounds are steps of `search/score`. Only what is in the run's folder
is logged: no user, no path, no environment, which MLflow would add of its own accord. The same
results are logged once to an experiment; the second time the run that is there is named. A run that
could not be logged wholly is marked as failed there, and the next attempt makes another.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from trueup import __version__
from trueup.errors import DataError, SettingsError
from trueup.export.finished import Finished, needed

ARTIFACTS = ("aligned.toml", "report.md", "results.json", "job.toml", "*.svg")
EXPERIMENT = "trueup"
LONGEST_VALUE, AT_ONCE = 500, 100
"""Characters of a parameter that every server takes, and entries of one request."""
PATIENCE = 10.0
"""Seconds in which the server must answer."""
FINGERPRINT = "trueup.results"


@dataclass(frozen=True, slots=True)
class Logged:
    """A run at a tracking server."""

    run_id: str
    there_before: bool
    """Whether the same results had been logged already, so that nothing was."""


def to_mlflow(run: Finished, tracking: str, experiment: str = EXPERIMENT) -> Logged:
    """Log a run. Raises `SettingsError` without mlflow, `DataError` where the server says no."""
    mlflow = needed("mlflow", "mlflow")
    try:
        _answers(tracking)
        client = mlflow.MlflowClient(tracking_uri=tracking)
        found = client.get_experiment_by_name(experiment)
        where = found.experiment_id if found else client.create_experiment(experiment)
        fingerprint = hashlib.sha256(json.dumps(run.results, sort_keys=True).encode()).hexdigest()
        wanted = f"tags.`{FINGERPRINT}` = '{fingerprint}' and attributes.status = 'FINISHED'"
        there = client.search_runs([where], wanted, max_results=1)
        if there:
            return Logged(there[0].info.run_id, there_before=True)
        made = client.create_run(
            where,
            start_time=_milliseconds(run.about.created),
            run_name=str(run.results["name"]),
            tags={FINGERPRINT: fingerprint, "trueup.version": __version__} | _tags(run.results),
        )
        try:
            _log(mlflow, client, made.info.run_id, run)
        except BaseException:
            client.set_terminated(made.info.run_id, "FAILED")
            raise
        client.set_terminated(made.info.run_id, "FINISHED", _milliseconds(run.about.finished))
        return Logged(made.info.run_id, there_before=False)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        told = _harmless(str(error))[:300].rstrip(". ")
        raise DataError(
            f"The run could not be logged to {_harmless(tracking)} ({told}): see that an MLflow "
            "server answers there, and give its address with --tracking."
        ) from error


def _answers(tracking: str) -> None:
    """See that somebody is there: MLflow goes on for minutes where nobody answers."""
    if re.match(r"[\w.-]+:\d+(/|$)", tracking):
        raise SettingsError(f"{tracking} is half an address: write http://{tracking}.")
    if not tracking.startswith(("http://", "https://")):
        return
    try:
        urlopen(_harmless(tracking), timeout=PATIENCE).close()
    except HTTPError as refused:
        refused.close()  # whatever it says, somebody said it


def _log(mlflow: Any, client: Any, run_id: str, run: Finished) -> None:
    kinds = mlflow.entities
    began = _milliseconds(run.about.finished) or 0
    metrics = [kinds.Metric(name, value, began, step) for name, value, step in figures(run.results)]
    params = [kinds.Param(name, value) for name, value in settings(run.results["job"])]
    for start in range(0, len(params), AT_ONCE):
        client.log_batch(run_id, params=params[start : start + AT_ONCE])
    for start in range(0, len(metrics), AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + AT_ONCE])
    for pattern in ARTIFACTS:
        for path in sorted(run.folder.glob(pattern)):
            client.log_artifact(run_id, str(path))


def settings(job: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """The job's settings as names and texts, nested ones as `prices.policy`."""
    for name, value in job.items():
        if isinstance(value, Mapping):
            yield from settings(value, f"{above}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield _name(f"{above}{name}"), text[:LONGEST_VALUE]


def figures(results: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """Every number worth a metric: its name, its value, its step."""
    found: dict[tuple[str, int], float | None] = {}
    for row in results["comparison"]["table"]:
        name = f"{row['group']}/{row['name']}"
        for key in ("before", "after", "difference"):
            one = row[key] or {"value": None, "low": None, "high": None}
            found[_free(found, f"{name}/{key}"), 0] = one["value"]
            found[_free(found, f"{name}/{key}_low"), 0] = one["low"]
            found[_free(found, f"{name}/{key}_high"), 0] = one["high"]
    for one in results["rounds"]:
        found[_name("search/score"), one["number"]] = one["score"]
        found[_name("search/policy calls"), one["number"]] = one["policy_calls"]
    for role, cost in results["costs"]["in_all"].items():
        for name, value in cost.items():
            found[_free(found, f"cost/{role}/{name}"), 0] = value
    found["seconds", 0] = results["seconds"]
    return [
        (name, float(value), step)
        for (name, step), value in found.items()
        if isinstance(value, int | float)
    ]


def _tags(results: Mapping[str, Any]) -> dict[str, str]:
    return {
        "mlflow.note.content": str(results["summary"]),
        "trueup.judge": str(results["judge"])[:LONGEST_VALUE],
        "trueup.stopped": str(results["stopped"] or "")[:LONGEST_VALUE],
    } | {f"trueup.model.{_name(role)}": str(one) for role, one in results["models"].items()}


def _name(text: str) -> str:
    """A name as MLflow takes it: letters, digits and a few marks; criteria may have any."""
    cleaned = re.sub(r"[^\w\-. /]", "_", text, flags=re.ASCII).strip("/. ")
    return re.sub(r"(^|/)\.*(?=/|$)", r"\1_", cleaned)[:200] if cleaned else "_"


def _free(taken: Mapping[tuple[str, int], Any], text: str) -> str:
    """The same, for names that may have become alike."""
    name, number = _name(text), 2
    while (name, 0) in taken:
        name, number = f"{_name(text)} {number}", number + 1
    return name


def _milliseconds(moment: Any) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def _harmless(text: str) -> str:
    """An address without the login it may hold."""
    return re.sub(r"//[^/@\s]*@", "//", text)
