"""Runs every benchmark at a size for two cores, in half an hour at most; then one table of targets.

    make bench                                   # or: python benchmarks/all.py
    python benchmarks/all.py --only engine death
    python benchmarks/all.py --table             # the table and the picture alone, from the results

Each script is a process of its own with a limit of time; what does not fit into the half hour is
named and left out. Scripts whose whole run takes hours are run small, to see that they work, and
the figures of their last whole run stay: the table says of each figure when it was measured. It is
written into `docs/targets.md` with a picture beside it, and nothing is left out because it was
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

from targets_chart import picture  # noqa: E402

ROOT = HERE.parent
RESULTS = HERE / "results"
PAGE, PICTURE = ROOT / "docs" / "targets.md", ROOT / "docs" / "targets.svg"
WHOLE = 30 * 60
"""Seconds for everything."""


@dataclass(frozen=True)
class Step:
    """One script, and how long it may take."""

    name: str
    script: str
    seconds: int
    options: tuple[str, ...] = ()
    small: bool = False
    """Only to see that it works: its results and pages stay as they were."""


STEPS = (
    Step("startup", "startup.py", 60),
    Step("engine", "engine.py", 180),
    Step("critical_path", "critical_path.py", 180),
    Step("prefixes", "prefixes.py", 180),
    Step("whole_run", "whole_run.py", 300),
    Step("death", "death.py", 600),
    Step("faults", "faults.py", 120, ("--quick",), small=True),
    Step("checks", "checks.py", 180),
    Step("growth", "growth.py", 180),
    Step("fuzz", "fuzz.py", 300, ("--quick",), small=True),
    Step("intervals", "intervals.py", 120, ("--quick",), small=True),
    Step("search", "search.py", 120, ("--seeds", "1", "--worlds", "easy"), small=True),
    Step(
        "peers",
        "peers/compare.py",
        180,
        ("embedded", "--smoke", "--methods", "plain", "ours", "gepa"),
        small=True,
    ),
    Step("evaluation", "evaluation.py", 240, ("--memory",), small=True),
)
"""In this order; `judges`, `balanced_safety` and `word_vectors` only have whole runs, of hours."""


def kept(step: Step) -> dict[Path, bytes]:
    """What a small run must not change."""
    if not step.small:
        return {}
    files = [RESULTS / f"{step.name}.json", ROOT / "README.md", *(ROOT / "docs").glob("*.*")]
    return {path: path.read_bytes() for path in files if path.is_file()}


def run(step: Step, seconds: float) -> str:
    """Run it; what became of it, in words."""
    before = kept(step)
    source = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        [sys.executable, str(HERE / step.script), *step.options],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": source}, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            status = process.wait(seconds)
            said = "done" if status == 0 else f"ended with status {status}"
        except subprocess.TimeoutExpired:
            said = f"stopped after {seconds:.0f} s"
        finally:
            if process.poll() is None:
                # The whole group: a script that starts a server leaves none behind.
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
            for path, content in before.items():
                if path.read_bytes() != content:
                    path.write_bytes(content)
    return f"{said}, small" if step.small else said


def everything(steps: Sequence[Step]) -> dict[str, str]:
    """Run the steps as far as the half hour goes."""
    began, outcomes = time.monotonic(), {}
    for step in steps:
        left = WHOLE - (time.monotonic() - began)
        print(f"\n== {step.name}", flush=True)
        if not (HERE / step.script).is_file():
            outcomes[step.name] = "not there"
        elif left < 10:
            outcomes[step.name] = "left out: no time"
        else:
            started = time.monotonic()
            said = run(step, min(step.seconds, left))
            outcomes[step.name] = f"{said}, {time.monotonic() - started:.0f} s"
        print(f"== {step.name}: {outcomes[step.name]}", flush=True)
    return outcomes


def found() -> list[dict[str, Any]]:
    """Every target of every results file, with the file's name and day."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        day = datetime.fromtimestamp(measured_at(path), UTC).date().isoformat()
        for target in json.loads(path.read_text("utf-8")).get("targets", []):
            rows.append({**target, "benchmark": path.stem, "day": day})
    return rows


def measured_at(path: Path) -> float:
    """When the file was written: by the history where it is unchanged, since clones are new."""
    command = ["git", "log", "-1", "--format=%ct", "--", str(path)]
    dirty = ["git", "status", "--porcelain", "--", str(path)]
    try:
        if not subprocess.run(dirty, cwd=ROOT, capture_output=True, check=True).stdout:
            written = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
            return float(written.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        pass  # no git, or no history
    return path.stat().st_mtime


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(one)}" for name, one in value.items())
    if isinstance(value, list):
        if not value:
            return "none"
        return " to ".join(map(shown, value)) if len(value) == 2 else ", ".join(map(shown, value))
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "not measured"}[value]
    return str(value)


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """All targets as a page."""
    met = sum(bool(row["met"]) for row in rows)
    lines = [
        "# Targets",
        "",
        f"Written by `make bench`: {met} of {len(rows)} are met. Each was set before it was",
        "measured; `benchmarks/results/` has all figures with the machine and the command.",
        "",
        "![how far each figure is from its goal](targets.svg)",
        "",
        "| benchmark | target | goal | value | met | measured |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = (row["benchmark"], row["name"], row["goal"], shown(row["value"]),
                 "yes" if row["met"] else "**no**", row["day"])  # fmt: skip
        lines.append("| " + " | ".join(str(one).replace("|", "\\|") for one in cells) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--only", nargs="+", choices=[step.name for step in STEPS])
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    began = time.monotonic()
    steps = [one for one in STEPS if args.only is None or one.name in args.only]
    outcomes = {} if args.table else everything(steps)
    rows = found()
    PAGE.write_text(page(rows), encoding="utf-8")
    PICTURE.write_text(picture(rows), encoding="utf-8")
    print()
    for row in rows:
        mark = "met " if row["met"] else "MISS"
        print(f"{mark} {row['benchmark']:16} {row['name']}  {row['goal']}  {shown(row['value'])}")
    for name, said in outcomes.items():
        print(f"{name:16} {said}")
    met = sum(bool(row["met"]) for row in rows)
    print(f"{met} of {len(rows)} met; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
