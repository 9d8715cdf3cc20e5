"""Measures a search through a proxy that breaks 30% of the answers; writes `results/faults.json`.

    python benchmarks/faults.py            # about a minute
    python benchmarks/faults.py --quick    # a few seconds, writes nothing

A server decides every answer by the request alone, so a fault that got through would change scores
and, soon, the prompt. The same search (`tests/faults/world.py`) runs without faults and, for a
number of seeds, through `tests/faults/proxy.py`: refusals with and without Retry-After, errors,
hangs, resets, truncated and doubled JSON, wrong content types, no choices, NaN, replies cut short;
and this machine's clock jumps by up to a day whenever it is looked at.
Counted are the calls that reached the server, the prompts that differ, and answers that were whole
and were asked for again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from facts import machine  # noqa: E402
from tests.faults.proxy import FaultProxy, jumping_clock  # noqa: E402
from tests.faults.world import deterministic, search  # noqa: E402
from tests.models.fake_server import FakeServer  # noqa: E402

RATE = 0.3


async def run(judged_by: str, rate: float, seed: int) -> tuple[Any, FaultProxy]:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            FakeServer() as server,
            FaultProxy(deterministic(server).url, rate=rate, seed=seed) as proxy,
        ):
            with jumping_clock(seed):
                return await search(proxy.url, Path(folder), judged_by=judged_by), proxy


async def measured(seeds: int) -> dict[str, Any]:
    runs, faults = [], Counter[str]()
    for judged_by in ("dynamic", "likelihood"):
        whole, unbroken = await run(judged_by, 0.0, 0)
        for seed in range(seeds):
            found, proxy = await run(judged_by, RATE, seed)
            faults += proxy.faults
            runs.append(
                {
                    "judge": judged_by,
                    "seed": seed,
                    "same_prompt": found.found == whole.found,
                    "same_rounds": found.records == whole.records,
                    "calls": proxy.calls,
                    "calls_without_faults": unbroken.calls,
                    "ratio": round(proxy.calls / unbroken.calls, 3),
                    "paid_twice": sum(count - 1 for count in proxy.whole.values()),
                }
            )
    return {"runs": runs, "faults": dict(sorted(faults.items()))}


def targets(found: dict[str, Any]) -> list[dict[str, Any]]:
    runs = found["runs"]
    same = sum(run["same_prompt"] and run["same_rounds"] for run in runs)
    worst = max(run["ratio"] for run in runs)
    twice = sum(run["paid_twice"] for run in runs)
    return [
        {"name": "runs at 30% faults that end as without", "goal": f"all {len(runs)}",
         "value": same, "met": same == len(runs)},
        {"name": "calls against a run without faults, the worst run", "goal": "<= 1.6",
         "value": worst, "met": worst <= 1.6},
        {"name": "whole answers paid for twice", "goal": "0", "value": twice, "met": twice == 0},
    ]  # fmt: skip


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    logging.getLogger("trueup").setLevel(logging.ERROR)
    began, facts = time.perf_counter(), machine()
    found = asyncio.run(measured(1 if quick else 10))
    results = {
        "command": "python benchmarks/faults.py",
        "machine": facts,
        "rate": RATE,
        **found,
        "targets": targets(found),
        "seconds": round(time.perf_counter() - began, 1),
    }
    if not quick:
        path = HERE / "results" / "faults.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(found["faults"])
    for one in results["targets"]:
        print("met " if one["met"] else "MISS", one["name"], one["goal"], one["value"])
    print(f"{results['seconds']} s")


if __name__ == "__main__":
    main()
