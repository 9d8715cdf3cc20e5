"""Imports point down, rooms of one level never meet, and foreign names stay behind their fences."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "trueup"

LEVELS = [
    {"types", "errors"},
    {"loop", "data", "models", "store", "report"},
    {"judges"},
    {"prompt", "evaluation"},
    {"aligned", "tally"},
    {"job"},
    {"gate"},
    {"plan"},
    {"estimate", "searching", "subjects"},
    {"alignment", "judging", "evaluate_job", "contenders", "trials"},
    {"screen", "judge_command", "evaluating", "comparing", "export"},
    {"evaluate_command", "compare_command", "transferring", "trimming"},
    {"transfer_command"},
    {"cli"},
    {"__main__"},
]
FENCES = {
    "sqlite3": {"store"},
    "aiohttp": {"models/line"},
    "xllamacpp": {"models/embedded"},
    "huggingface_hub": {"models/named"},
    "sentence_transformers": {"models/sentences"},
    "torch": {"models/local", "judges/reward_model"},
    "transformers": {"models/local", "judges/reward_model"},
    "datasets": {"data/rows"},
    "pyarrow": {"data/rows", "data/parquet", "export/parquet"},
    "inspect_ai": {"export/inspect_log", "export/inspect_task"},
    "mlflow": {"export/mlflow_run"},
    "bm25s": {"prompt/similarity"},
    "json_repair": {"judges/ask", "models/shape"},
    "jinja2": {"report/markdown"},
    "tomli_w": {"aligned", "job"},
    "typer": {
        "cli",
        "judge_command",
        "evaluate_command",
        "compare_command",
        "transfer_command",
        "export/command",
    },
    "rich": {"screen", "judge_command", "evaluate_command", "compare_command"},
}
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


def complaints(src: Path) -> list[str]:
    found = []
    for path in sorted(src.rglob("*.py")):
        where = path.relative_to(src).with_suffix("").as_posix()
        room = where.split("/")[0]
        if room == "__init__":  # names every public module, and loads none
            continue
        for name in imported(path):
            package, *below = name.split(".")
            if package in FENCES and not {where, room} & FENCES[package]:
                found.append(f"{where} imports {package}")
            if package == "trueup" and below and below[0] != room:
                if room not in LEVEL or below[0] not in LEVEL:
                    found.append(f"{where} imports {name}: no level is given for one of them")
                elif LEVEL[below[0]] >= LEVEL[room]:
                    found.append(f"{where} imports {name}, which is not below it")
    return found


def imported(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point"
            if node.module == "trueup":  # from trueup import job
                names += [f"trueup.{alias.name}" for alias in node.names if alias.name in LEVEL]
            names.append(node.module or "")
    return names


def test_imports_point_down() -> None:
    assert complaints(SRC) == []


@pytest.mark.parametrize(
    ("file", "planted", "complaint"),
    [
        ("types.py", "import trueup.job", "types imports trueup.job, which is not below it"),
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
