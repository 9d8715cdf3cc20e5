"""Measures a whole `trueup align` on the embedded model; writes `results/whole_run.json`.

    python benchmarks/whole_run.py            # some minutes on two cores that do nothing else

The default job, smaller: 60 policy calls and 20 held-out queries. Its estimate, made before the
first call, is set beside what the ledger says in the end. Then the same job with common beginnings
read once for all slots (`share_prefixes`): wall time, processor time, and how many tokens of the
prompts the server had to read. Demonstrations are retrieved for each query, so that the prompts of
a default run have hardly more in common than an instruction of one line: how much any cache could
have saved is counted from the prompts themselves, and that bounds what sharing can gain.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

from facts import machine  # noqa: E402

from trueup import Job, align  # noqa: E402
from trueup.jobs.estimate import estimate  # noqa: E402
from trueup.jobs.plan import prepare  # noqa: E402
from trueup.models.embedded import Embedded  # noqa: E402

RESULTS = HERE / "results" / "whole_run.json"
WITHIN = 0.25
TIMES = 2.0


def ledger(results: dict[str, Any]) -> dict[str, int]:
    costs = results["costs"]["in_all"].values()
    return {
        "calls": sum(cost["calls_paid"] for cost in costs),
        "tokens_in": sum(cost["tokens_in"] for cost in costs),
        "tokens_out": sum(cost["tokens_out"] for cost in costs),
        "tokens_cached": sum(cost["tokens_cached"] for cost in costs),
    }


async def run(folder: str, *, share: bool) -> dict[str, Any]:
    os.environ["XDG_CACHE_HOME"] = folder
    job = Job(calls=60, held_out=20, out=f"{folder}/run")
    model = Embedded(share_prefixes=share)
    rows = estimate(prepare(job, models={"policy": model}))
    began, cpu = time.perf_counter(), time.process_time()
    outcome = await align(job, models={"policy": model})
    return {
        "share_prefixes": share,
        "wall_s": round(time.perf_counter() - began, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "expected": {
            "calls": sum(row.calls for row in rows),
            "tokens_in": sum(row.tokens_in for row in rows),
            "tokens_out": sum(row.tokens_out for row in rows),
            "seconds": round(sum(row.seconds for row in rows), 1),
        },
        "took": ledger(dict(outcome.results)),
        "in_common": round(in_common(outcome.folder / "calls.sqlite"), 3),
        "prefixes": None if model.shared is None else counted(model.shared),
        "summary": outcome.results["summary"],
    }


def in_common(calls: Path) -> float:
    """Of all prompts' letters, the share with which an earlier prompt begins too."""
    with closing(sqlite3.connect(f"{calls.as_uri()}?mode=ro", uri=True)) as file:
        rows = file.execute("SELECT request FROM calls ORDER BY created").fetchall()
    prompts = [json.loads(text)["prompt"] for (text,) in rows]
    before: list[str] = []
    letters = shared = 0
    for prompt in prompts:
        text = "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
        at = bisect.bisect(before, text)
        near = before[max(0, at - 1) : at + 1]
        letters += len(text)
        shared += max((alike(text, one) for one in near), default=0)
        before.insert(at, text)
    return shared / letters


def alike(one: str, other: str) -> int:
    """How many letters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def counted(counts: Any) -> dict[str, int]:
    return {name: getattr(counts, name) for name in ("read", "saved", "loaded", "found")}


def targets(without: dict[str, Any], shared: dict[str, Any] | None) -> list[dict[str, Any]]:
    expected, took = without["expected"], without["took"]
    found = []
    for name, said, was in (
        ("calls", expected["calls"], took["calls"]),
        ("tokens", expected["tokens_in"] + expected["tokens_out"],
         took["tokens_in"] + took["tokens_out"]),
    ):  # fmt: skip
        ratio = round(said / was, 3)
        found.append(
            {"name": f"{name} estimated over {name} in the ledger", "goal": "0.75 to 1.25",
             "value": ratio, "met": abs(ratio - 1) <= WITHIN}
        )  # fmt: skip
    if shared is not None:
        times = round(without["cpu_s"] / shared["cpu_s"], 2)
        found.append(
            {"name": "times less processor time for a whole run, beginnings shared",
             "goal": f">= {TIMES:g}", "value": times, "met": times >= TIMES}
        )  # fmt: skip
    return found


def main() -> None:
    began, facts = time.perf_counter(), machine()
    rows = []
    for share in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(asyncio.run(run(folder, share=share)))
        print(json.dumps(rows[-1]), flush=True)
        results = {
            "command": "python benchmarks/whole_run.py",
            "machine": facts,
            "rows": rows,
            "targets": targets(rows[0], rows[1] if share else None),
            "seconds": round(time.perf_counter() - began, 1),
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for one in targets(*rows):
        print("met " if one["met"] else "MISS", one["name"], one["goal"], one["value"])


if __name__ == "__main__":
    main()
