"""A run that was made once for all tests of this room."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.playing import data_file, naive, pool_file
from trueup import Job, Scripted, align


@pytest.fixture(scope="package")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run's folder, judged by code."""
    folder = tmp_path_factory.mktemp("run")
    job = Job(
        data=data_file(folder), demonstrations=pool_file(folder), calls=40, held_out=12,
        out=str(folder / "run"),
    )  # fmt: skip
    return asyncio.run(align(job, models={"policy": Scripted(naive)})).folder
