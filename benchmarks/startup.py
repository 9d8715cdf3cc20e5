"""Measures how soon the command line answers; writes `results/startup.json`.

    python benchmarks/startup.py            # a few seconds

Processor time, user and system together, of whole processes: `trueup --help`, `trueup align
--help`, `import trueup`, and a dry run, which reads and divides the bundled data and asks nobody.
The interpreter alone is measured too, since nobody can be quicker than that.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

from facts import machine

RESULTS = Path(__file__).resolve().parent / "results" / "startup.json"
REPEATS = 11
HELP_SECONDS = 0.5
"""The target: help in under half a second of processor time."""

COMMANDS = {
    "python": ["-c", "pass"],
    "import trueup": ["-c", "import trueup"],
    "trueup --help": ["-m", "trueup", "--help"],
    "trueup align --help": ["-m", "trueup", "align", "--help"],
    "trueup align --dry-run": [
        "-m", "trueup", "align", "--policy", "endpoint:http://localhost:8000#m", "--dry-run",
    ],
}  # fmt: skip


def cpu_seconds(arguments: list[str]) -> float:
    """Of one process from start to end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    measured = {}
    for name, arguments in COMMANDS.items():
        cpu_seconds(arguments)  # the first one compiles
        seconds = [cpu_seconds(arguments) for _ in range(REPEATS)]
        measured[name] = {
            "median_cpu_seconds": round(sorted(seconds)[REPEATS // 2], 3),
            "slowest_cpu_seconds": round(max(seconds), 3),
        }
        print(f"{name:<24} {measured[name]['median_cpu_seconds']:.3f} s")
    helped = measured["trueup --help"]["slowest_cpu_seconds"]
    results = {
        "what": "processor seconds, user and system, of whole processes",
        "command": "python benchmarks/startup.py",
        "machine": machine("cores", "processor", "system", "python"),
        "repeats": REPEATS,
        "targets": [
            {
                "name": "processor seconds of trueup --help, the slowest",
                "goal": f"< {HELP_SECONDS}",
                "value": helped,
                "met": helped < HELP_SECONDS,
            },
        ],
        "measured": measured,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
