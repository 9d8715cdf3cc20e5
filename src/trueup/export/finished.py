"""A finished run as every export needs it: read once, whole, and made storable.

    run = finished("runs/align-1a2b3c4d")
    run.sides["aligned"]["results"][0]["reply"]

Exports add nothing to what the run's folder holds and read no other file of it, so what is not
there (keys, the addresses of machines, the environment) cannot get out. Whatever a model wrote that
no UTF-8 file can hold, half a surrogate pair, is replaced here for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from trueup.aligned import Aligned
from trueup.data import storable
from trueup.errors import DataError, SettingsError
from trueup.jobs.outcome import load
from trueup.paths import expanded
from trueup.prompt import METHODS
from trueup.prompt.prompt import Prompt
from trueup.prompt.retrieval import Retrieval
from trueup.store.runs import RunRecord, read_run
from trueup.types import Demonstration

SIDES = {"base": "before", "aligned": "after"}


@dataclass(frozen=True, slots=True)
class Finished:
    """A run of `trueup align` that has come to its end."""

    folder: Path
    about: RunRecord
    aligned: Aligned
    results: Mapping[str, Any]
    """What results.json holds."""

    @property
    def sides(self) -> dict[str, Mapping[str, Any]]:
        """The evaluation of the base model and of the aligned one, replies included."""
        return {name: self.results["comparison"][key] for name, key in SIDES.items()}

    @property
    def prompts(self) -> dict[str, Prompt]:
        """The prompt that either had in front."""
        base = dict(self.results["base"])
        base["demonstrations"] = tuple(Demonstration(**one) for one in base["demonstrations"])
        base["retrieval"] = Retrieval(**base["retrieval"])
        return {"base": Prompt(**base), "aligned": self.aligned.prompt}


def finished(folder: str | os.PathLike[str]) -> Finished:
    """Read a run's folder. Raises `StoreError` or `DataError` where it holds nothing to export."""
    path = expanded(folder)
    about = read_run(path)
    if about.method and about.method not in METHODS:
        raise DataError(
            f"{path} holds a run of {about.method!r}, and only runs of `trueup align` are "
            "exported, and to inspect those of `trueup evaluate`: give the folder of one "
            "(`trueup runs` lists the runs there are)."
        )
    outcome = load(path)
    results = storable(outcome.results)
    if not {"comparison", "base", "found", "job"} <= results.keys():
        raise DataError(
            f"{path} holds no run of `trueup align`: give the folder of one (`trueup runs` lists "
            "the runs there are)."
        )
    return Finished(path, about, outcome.aligned, results)


def needed(module: str, extra: str) -> ModuleType:
    """A package that comes with an extra. Raises `SettingsError` saying which one."""
    try:
        return import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"This export needs {module.partition('.')[0]}, which is not installed: "
            f"pip install 'trueup[{extra}]'."
        ) from error


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A place to write a file to, which then appears as `target` wholly or not at all."""
    unready = target.with_name(f".writing-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield unready
        unready.replace(target)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written ({error.strerror or error}): name a folder that is yours "
            "with --out."
        ) from error
    finally:
        with suppress(OSError):
            unready.unlink()
