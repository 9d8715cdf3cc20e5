"""Finished runs to export: one as it should be, and one with all that can go wrong in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.playing import data_file, naive, pool_file
from trueup import Job, Query, Score, Scripted, Verdict, align
from trueup.export.finished import Finished, finished

EVIL = "half \ud83d and <b>\x1b[31m"


async def moody(query: Query, reply: str) -> Verdict:
    if "kettle" in query.text or "guitar" in query.text:
        return Verdict(failed=f"unreadable: {EVIL}")
    right = ("sorry" in reply) is (query.should_answer is False)
    return Verdict((Score("Tone/of: <voice>", 5.0 if right else 2.0, EVIL),), dropped=(EVIL,))


def made(folder: Path, policy: Scripted, **judge: object) -> Finished:
    job = Job(
        data=data_file(folder), demonstrations=pool_file(folder), calls=40, held_out=20,
        out=str(folder / "run"),
    )  # fmt: skip
    asyncio.run(align(job, models={"policy": policy}, **judge))  # type: ignore[arg-type]
    return finished(folder / "run")


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run judged by code."""
    return made(tmp_path_factory.mktemp("export"), Scripted(naive))


@pytest.fixture(scope="package")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose replies, reasons and criteria are as bad as they get, some verdicts failed."""
    policy = Scripted(lambda request: naive(request) + EVIL)
    return made(tmp_path_factory.mktemp("nasty"), policy, judge=moody)
