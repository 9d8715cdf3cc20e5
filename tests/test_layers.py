"""Imports point down, rooms of one level never meet, and foreign names stay behind their fences."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "trueup"

LEVELS = [
    {"types", "errors", "paths"},
    {"loop", "data", "models", "store", "report"},
    {"judges"},
    {"prompt", "evaluation"},
    {"aligned", "jobs/deadline", "jobs/tally"},
    {"jobs/job"},
    {"jobs/gate", "jobs/material", "jobs/scoring"},
    {"jobs/plan"},
    {"jobs/estimate", "jobs/outcome", "jobs/searching", "jobs/subjects"},
    {
        "jobs/alignment",
        "jobs/judging",
        "jobs/evaluate_job",
        "jobs/contenders",
        "jobs/trials",
    },
    {"jobs/evaluating", "jobs/contest", "jobs/transferring", "jobs/trimming", "export"},
    {"jobs/comparing"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
FENCES = {
    "sqlite3": {"store"},
    "aiohttp": {"models/line"},
    "xllamacpp": {"models/embedded"},
    "huggingface_hub": {"models/named"},
    "sentence_transformers": {"models/sentences"},
    "torch": {"judges/reward_model"},
    "transformers": {"judges/reward_model"},
    "datasets": {"data/rows"},
    "pyarrow": {"data/rows", "data/parquet", "export/parquet"},
    "inspect_ai": {"export/inspect_evaluation", "export/inspect_log", "export/inspect_task"},
    "mlflow": {"export/mlflow_run"},
    "bm25s": {"prompt/similarity"},
    "json_repair": {"models/shape"},
    "jinja2": {"report/markdown"},
    "tomli_w": {"aligned", "jobs/job"},
    "typer": {"cli", "commands"},
    "rich": {"commands"},
}
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


def place(*parts: str) -> str:
    """What has a level: a module where its room is divided, else the room."""
    return next((one for one in ("/".join(parts[:2]), parts[0]) if one in LEVEL), "/".join(parts))


def complaints(src: Path) -> list[str]:
    found = []
    for path in sorted(src.rglob("*.py")):
        where = path.relative_to(src).with_suffix("").as_posix()
        room = where.split("/")[0]
        if where == "__init__":  # names every public module, and loads none
            continue
        here = place(*where.split("/"))
        for name in imported(path):
            package, *below = name.split(".")
            if package in FENCES and not {where, room} & FENCES[package]:
                found.append(f"{where} imports {package}")
            if package == "trueup" and below and place(*below) != here:
                there = place(*below)
                if here not in LEVEL or there not in LEVEL:
                    found.append(f"{where} imports {name}: no level is given for one of them")
                elif LEVEL[there] >= LEVEL[here]:
                    found.append(f"{where} imports {name}, which is not below it")
    return found


def imported(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point"
            module = node.module or ""
            inner = [
                f"{module}.{alias.name}" for alias in node.names
            ]  # from trueup.jobs import job
            modules = [one for one in inner if "/".join(one.split(".")[1:]) in LEVEL]
            names += modules or [module]
    return names


def test_imports_point_down() -> None:
    assert complaints(SRC) == []


@pytest.mark.parametrize(
    ("file", "planted", "complaint"),
    [
        (
            "types.py",
            "import trueup.jobs.job",
            "types imports trueup.jobs.job, which is not below it",
        ),
        (
            "evaluation/evaluate.py",
            "from trueup.prompt.prompt import Prompt",
            "evaluation/evaluate imports trueup.prompt.prompt, which is not below it",
        ),
        (
            "prompt/prompt.py",
            "def f():\n    from trueup import cli",
            "prompt/prompt imports trueup.cli, which is not below it",
        ),
        ("judges/judge.py", "import sqlite3", "judges/judge imports sqlite3"),
        ("models/model.py", "from aiohttp import web", "models/model imports aiohttp"),
    ],
)
def test_a_planted_import_is_seen(tmp_path: Path, file: str, planted: str, complaint: str) -> None:
    copy = tmp_path / "trueup"
    shutil.copytree(SRC, copy, ignore=shutil.ignore_patterns("*.jsonl", "*.npz", "__pycache__"))
    with (copy / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{planted}\n")
    before = complaints(SRC)
    assert [one for one in complaints(copy) if one not in before] == [complaint]
