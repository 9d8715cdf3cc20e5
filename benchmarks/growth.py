"""What grows when the pool, the queries, the lines and the prompt grow ten times and more.

    python benchmarks/growth.py                       # ten times and a hundred times; two minutes
    python benchmarks/growth.py --times 1 10

The policy and the judge are functions that answer at once, so all the time is the search's own.
Five things grow, one at a time: the pool of demonstrations, the queries to search on, the lines to
compose of, the beam, and the length of the instruction to start from. Calls must not depend on any
of them (a search is bounded by its budget), serial steps neither; time and memory may grow with
what there is to read, but no faster. Writes benchmarks/results/growth.json.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from facts import machine, target

from trueup import Demonstration, Prompt, Query, Request, Score, Scripted, Verdict
from trueup.loop import rounds
from trueup.prompt import METHODS
from trueup.prompt.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
USUAL = {"pool": 40, "queries": 40, "lines": 12, "beam": 2, "words": 40}
NOT_OF = {"composed": "beam", "drpo": "lines"}
"""composed goes on from one prompt; drpo adds one line at a time."""
WORDS = ("kettle", "guitar", "garden", "window", "engine", "camera", "bottle", "carpet", "pillow")
CALLS = 120


def text(number: int, words: int = 8) -> str:
    return " ".join(f"{WORDS[(number * 7 + at * at) % 9]}{number + at}" for at in range(words))


async def searched(method: str, sizes: dict[str, int]) -> dict[str, Any]:
    policy = Scripted(lambda request: f"About it: {_last(request)[:40]}.")

    async def judge(query: Query, reply: str) -> Verdict:
        return Verdict((Score("Depth", 1.0 + len(query.text + reply) % 5),))

    search = METHODS[method](
        policy=policy,
        judge=judge,
        search=[Query(f"What of {text(n)}?") for n in range(sizes["queries"])],
        validation=[Query(f"And what of {text(n, 6)}?") for n in range(8)],
        start=Prompt(f"You are a helpful assistant. {text(0, sizes['words'])}"),
        pool=[
            Demonstration(f"How is {text(n, 7)}?", text(n, 20), shows_answer=n % 2 == 0)
            for n in range(sizes["pool"])
        ],
        remedies={"Depth": [f"Mind the {text(n, 4)}." for n in range(sizes["lines"])]},
        settings=Settings(calls=CALLS, validation=8, beam=sizes["beam"]),
    )
    gc.collect()
    tracemalloc.start()
    started = time.process_time()
    turns = 0
    async for turn in rounds(search):
        turns += 1
        search.record(turn)
    seconds = time.process_time() - started
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    calls = len({one.content() for one in policy.requests})
    return {
        "calls": calls,
        "rounds": turns,
        "cpu_seconds": round(seconds, 2),
        "peak_mb": round(memory / 2**20, 2),
    }


def _last(request: Request) -> str:
    assert not isinstance(request.prompt, str)
    return request.prompt[-1].content


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--methods", nargs="+", default=["composed", "drpo"])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "growth.json")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for method in args.methods:
        asyncio.run(searched(method, USUAL))  # What is imported on the way is nobody's growth.
        for what, size in USUAL.items():
            if NOT_OF.get(method) == what:
                continue
            for times in args.times:
                sizes = {**USUAL, what: size * times}
                found = asyncio.run(searched(method, sizes))
                rows.append({"method": method, "grows": what, "times": times, **found})
                print(rows[-1], flush=True)
    targets = []
    for method in args.methods:
        for what in USUAL:
            of = {r["times"]: r for r in rows if (r["method"], r["grows"]) == (method, what)}
            if not of:
                continue
            most, one = of[max(of)], of[min(of)]
            calls = [row["calls"] for row in of.values()]
            targets.append(
                target(
                    f"{method}, {what}: policy calls",
                    f"{CALLS} at most",
                    calls,
                    max(calls) <= CALLS,
                )
            )
            for by in ("cpu_seconds", "peak_mb"):
                grown = most[by] / max(one[by], 0.05)
                goal = f"{max(of)} times at most at {max(of)} times the size"
                name = f"{method}, {what}: {by}"
                targets.append(target(name, goal, round(grown, 1), grown <= max(of)))
    results = {
        "command": " ".join(["python benchmarks/growth.py", *sys.argv[1:]]),
        "machine": machine("cpu", "cores", "system", "python", "numpy"),
        "usual": USUAL,
        "rows": rows,
        "targets": targets,
    }
    args.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in targets:
        print("met " if row["met"] else "MISS", row["name"], row["goal"], row["value"])


if __name__ == "__main__":
    main()
