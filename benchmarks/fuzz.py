"""Gives 100,000 damaged inputs to everything that reads what others wrote; `results/fuzz.json`.

    python benchmarks/fuzz.py                  # several minutes
    python benchmarks/fuzz.py --quick          # half a minute, writes nothing
    python benchmarks/fuzz.py --seed 7         # other inputs
    python benchmarks/fuzz.py --only dynamic   # one reader again, its row replaced
    python benchmarks/fuzz.py --continue       # the readers that a stopped run did not come to

The readers are those of `tests/faults/targets.py`: answers over HTTP, what models write for judges
and writers, data files, job, prompt and criteria files. hypothesis draws the inputs. A case fails
when anything but our own exceptions comes out, or when it takes longer than ten seconds.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from facts import machine  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from tests.faults.targets import Target, targets  # noqa: E402

CASES = 5_000
LONGEST = 10.0
"""Seconds for one case."""


def fuzzed(target: Target, cases: int, number: int) -> dict[str, Any]:
    """Run a target on so many inputs."""
    found = {"cases": 0, "slowest_s": 0.0, "failure": None}

    @seed(number)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def run(value: object) -> None:
        began = time.perf_counter()
        faulthandler.dump_traceback_later(6 * LONGEST, exit=True)
        try:
            target.run(value)
        finally:
            took = time.perf_counter() - began
            found["cases"] += 1
            found["slowest_s"] = max(found["slowest_s"], took)
        assert took < LONGEST, f"took {took:.1f} s"

    began = time.perf_counter()
    try:
        run()
    except Exception:
        found["failure"] = traceback.format_exc(limit=-6)
    faulthandler.cancel_dump_traceback_later()
    found["slowest_s"] = round(found["slowest_s"], 3)
    found["seconds"] = round(time.perf_counter() - began, 1)
    return found


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    number = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
    logging.getLogger("trueup").setLevel(logging.ERROR)
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else None
    path = HERE / "results" / "fuzz.json"
    going_on = only is not None or "--continue" in sys.argv
    before: dict[str, Any] = {"rows": {}, "memory_mib": 0}
    if going_on and path.is_file():
        before = json.loads(path.read_text("utf-8"))
    rows: dict[str, Any] = before["rows"]
    with tempfile.TemporaryDirectory() as folder:
        for name, target in targets(Path(folder)).items():
            if only not in (None, name) or (only is None and name in rows):
                continue
            row = rows[name] = fuzzed(target, CASES // 20 if quick else CASES, number)
            print(f"{name:22} {row['cases']:6} cases  slowest {row['slowest_s']:.3f} s", flush=True)
            if row["failure"]:
                print(row["failure"])
            if not quick:
                written(path, rows, before["memory_mib"], number)
    for one in summed(rows, before["memory_mib"], number)["targets"]:
        print("met " if one["met"] else "MISS", one["name"], one["goal"], one["value"])


def written(path: Path, rows: dict[str, Any], memory: int, number: int) -> None:
    """After every reader: a run that is stopped goes on from there."""
    path.parent.mkdir(exist_ok=True)
    results = summed(rows, memory, number)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def summed(rows: dict[str, Any], memory: int, number: int) -> dict[str, Any]:
    """All readers together."""
    cases = sum(row["cases"] for row in rows.values())
    failing = sum(row["failure"] is not None for row in rows.values())
    slowest = max(row["slowest_s"] for row in rows.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    memory = max(peak, memory)
    return {
        "command": f"python benchmarks/fuzz.py --seed {number}",
        "machine": machine("python", "hypothesis"),
        "rows": rows,
        "memory_mib": memory,
        "targets": [
            {"name": "cases", "goal": ">= 100000", "value": cases, "met": cases >= 100_000},
            {"name": "readers that failed", "goal": "0", "value": failing, "met": failing == 0},
            {"name": "slowest case, s", "goal": "< 10", "value": slowest, "met": slowest < 10},
            {"name": "memory, MiB", "goal": "< 1024", "value": memory, "met": memory < 1024},
        ],
        "seconds": round(sum(row["seconds"] for row in rows.values()), 1),
    }


if __name__ == "__main__":
    main()
