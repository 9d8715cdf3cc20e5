"""The examples run as they stand, with models that play a part."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import trueup
from tests.playing import data_file, naive, pool_file, served
from trueup import Model, Outcome, Scripted

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Jobs of few calls on small files, and a model that plays the embedded one."""
    settings = {
        "data": data_file(tmp_path), "demonstrations": pool_file(tmp_path), "calls": 60,
        "held_out": 12,
    }  # fmt: skip

    class SmallJob(trueup.Job):
        def __init__(self, **given: Any) -> None:
            super().__init__(**(settings | {k: v for k, v in given.items() if k != "held_out"}))

    def opened(name: str, **options: Any) -> Model:
        assert name == "embedded"
        return Scripted(naive)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trueup, "Job", SmallJob)
    monkeypatch.setattr("trueup.jobs.plan.open_model", opened)
    monkeypatch.setattr("trueup.aligned.open_model", opened)
    monkeypatch.setattr("trueup.jobs.evaluate_job.open_model", opened)
    return tmp_path


def test_every_example_is_tested_and_short() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {
        "align_embedded", "align_endpoint", "evaluate_model", "inspect_task", "own_judge",
        "use_aligned",
    }  # fmt: skip  # inspect_task's test is in tests/export/test_inspect.py
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 40


def test_align_embedded_and_use_it(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(example("align_embedded").main())
    said = capsys.readouterr().out
    assert said.startswith("balanced safety 0.50 → 1.00")
    assert "I'm sorry, but I can't help with that." in said

    (folder,) = (small / "runs").iterdir()
    asyncio.run(example("use_aligned").main(str(folder)))
    assert capsys.readouterr().out.splitlines()[0] == "You are a helpful assistant."

    asyncio.run(example("evaluate_model").main(str(folder), data_file(small)))
    said = capsys.readouterr().out
    assert "reward " in said and "tokens to each request." in said and "queries.jsonl" in said


def test_your_own_judge(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(example("own_judge").main())
    assert "→" in capsys.readouterr().out
    outcome = trueup.jobs.outcome.load(small / "runs" / "own-judge")
    assert outcome.results["judge"] == "your own judge, brief_and_kind."


def test_align_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = example("align_endpoint")
    jobs: list[trueup.Job] = []

    async def align(job: trueup.Job) -> Outcome:
        jobs.append(job)
        small = job.model_copy(
            update={"demonstrations": pool_file(tmp_path), "calls": 40, "held_out": 12}
        )
        models = {
            "policy": Scripted(naive),
            "judge": Scripted(lambda request: "{}", "judge"),
            "writer": Scripted(lambda request: "{}", "writer"),
        }
        return await real(
            small.model_copy(update={"judge": "checks", "writer": "none"}), models=models
        )

    real = trueup.align
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trueup, "align", align)
    with served() as server:
        asyncio.run(module.main(server.url, "fake", "fake", data_file(tmp_path)))
    assert capsys.readouterr().out.startswith("balanced safety 0.50 → ")
    assert jobs[0].judge_model == f"endpoint:{server.url}#fake"
