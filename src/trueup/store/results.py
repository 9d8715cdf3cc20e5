"""A run's results.json: what every command leaves behind, and what `trueup show` reads.

    results = load(folder)                                       # StoreError where there is none
    done = finished(folder, settings, "compare.json")            # None where there is work to do
    begun(folder, settings, "evaluate.json")                     # False where nobody was before
    with opened(folder, "compare", settings, "compare.json") as (run, calls): ...

A folder is of one job: its settings lie beside the results, and another job is refused there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trueup.errors import SettingsError, StoreError
from trueup.store.calls import Calls
from trueup.store.runs import ABOUT, LOCK, UNREADY, RunFolder, read_run

FILE = "results.json"


def load(folder: Path, again: str = "The same command again goes on.") -> Mapping[str, Any]:
    """The results of a run's folder. Raises `StoreError`, which says `again`."""
    try:
        found: Mapping[str, Any] = json.loads((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{folder} has no readable {FILE}: its run has not finished. {again}"
        ) from error
    return found


def is_fresh(folder: Path) -> bool:
    """Whether nobody was there before, or a run that was stopped before its settings were there."""
    if not folder.is_dir():
        return True
    return {one.name for one in folder.iterdir() if not one.match(UNREADY)} <= {ABOUT, LOCK}


def begun(folder: Path, settings: Mapping[str, Any], file: str) -> bool:
    """Whether a run with these settings was in the folder before.

    `file` is where its settings are. Raises `SettingsError` where the folder holds something else.
    """
    if is_fresh(folder):
        return False
    try:
        before = json.loads((folder / file).read_text("utf-8"))
    except (OSError, ValueError):
        raise SettingsError(
            f"{folder} holds other files: choose another folder with --out."
        ) from None
    if before != json.loads(json.dumps(settings)):
        raise SettingsError(
            f"{folder} holds a run with other settings, data or prompts: choose another folder "
            "with --out."
        )
    return True


@contextmanager
def opened(
    folder: Path, method: str, settings: Mapping[str, Any], file: str
) -> Iterator[tuple[RunFolder, Calls]]:
    """The folder and its calls. The settings are there before there is anything else, so that a
    run that is killed at once is known again."""
    with RunFolder(folder, method=method) as run:
        run.write_text(file, json.dumps(settings, indent=1) + "\n")
        with Calls(run.calls) as calls:
            yield run, calls


def finished(folder: Path, settings: Mapping[str, Any], file: str) -> Mapping[str, Any] | None:
    """The results where a run with these settings (see `begun`) has come to its end."""
    if not begun(folder, settings, file) or read_run(folder).finished is None:
        return None
    results = load(folder)
    return None if results.get("stopped") else results
