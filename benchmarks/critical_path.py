"""Measures how long a search waits beyond its server; writes `results/critical_path.json`.

    python benchmarks/critical_path.py            # about a minute
    python benchmarks/critical_path.py --quick    # the published search without skips, one seed

A search is a chain: an instruction is written, the policy answers under it, the judge scores, and
the next is written. Nobody is faster than the chain times what the server takes for an answer; here
that is 200 ms, always. The chain is read off the server's own record: the most requests of which
each came after the one before was answered. Published settings, through everything a run goes
through (store, budget, HTTP), once with a judge that finds no reply good enough to skip and once
with one that does, when the paper's code goes on for up to ten more levels; and our settings.
Beside them the same waves by bare aiohttp, which keeps nothing: what HTTP takes by itself.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import aiohttp  # noqa: E402
from facts import machine  # noqa: E402
from tests.faults.world import POOL_OF_DEMONSTRATIONS, queries, said  # noqa: E402
from tests.models.fake_server import Body, FakeServer  # noqa: E402

from trueup.judges.criteria import POOL  # noqa: E402
from trueup.judges.dynamic import Dynamic  # noqa: E402
from trueup.loop import rounds  # noqa: E402
from trueup.models.budgeted import Budget, Budgeted  # noqa: E402
from trueup.models.endpoint import Endpoint  # noqa: E402
from trueup.models.remembered import Remembered  # noqa: E402
from trueup.prompt import METHODS  # noqa: E402
from trueup.prompt.prompt import Prompt  # noqa: E402
from trueup.prompt.settings import Settings  # noqa: E402
from trueup.store.calls import Calls  # noqa: E402

RESULTS = HERE / "results" / "critical_path.json"
DELAY = 0.2
LONGEST_CHAIN = 60
OVERHEAD = 1.05
AUTHORS = "281 to 351 calls, one after another"


def strict(body: Body, place: int) -> str:
    """A judge that is never quite content: no query is skipped."""
    text = said(body, place)
    scored = '"score"' in text
    return text.replace('"score": 5', '"score": 4') if scored else text


def chain(begins: Sequence[float]) -> int:
    """The most requests of which each came after the one before was answered."""
    length, free = 0, 0.0
    for begin in sorted(begins):
        if begin >= free:
            length, free = length + 1, begin + DELAY
    return length


def serve(told: Connection, skips: bool) -> None:
    """A server in a process of its own; when asked, it tells when its requests came."""

    async def until_asked() -> None:
        async with FakeServer() as server:
            server.write = said if skips else strict
            server.delay = DELAY
            told.send(server.url)
            await asyncio.to_thread(told.recv)
            told.send([one.at for one in server.seen if one.method == "POST"])

    asyncio.run(until_asked())


@contextmanager
def serving(skips: bool) -> Iterator[Connection]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, skips))
    process.start()
    try:
        yield here
    finally:
        process.join(5)
        process.kill()


async def search(name: str, settings: Settings, *, skips: bool) -> dict[str, Any]:
    budget = Budget()
    with tempfile.TemporaryDirectory() as folder, serving(skips) as server:
        endpoint = Endpoint(server.recv(), "fake", concurrency=64)
        await endpoint.check()
        with Calls(Path(folder) / "calls.sqlite") as store:
            policy, writer, judge = (
                Budgeted(Remembered(endpoint, store, role), budget)
                for role in ("policy", "writer", "judge")
            )
            method = METHODS[name](
                policy=policy, judge=Dynamic(judge, POOL), search=queries(60),
                validation=queries(8, 60), start=Prompt("Be helpful."),
                pool=() if name == "published" else POOL_OF_DEMONSTRATIONS,
                writer=writer, settings=settings,
            )  # fmt: skip
            levels, began, cpu = 0, time.perf_counter(), time.process_time()
            async for _ in rounds(method):
                levels += 1
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        await endpoint.close()
        server.send("enough")
        came = server.recv()
    length = chain(came)
    return {
        "calls": len(came),
        "rounds": levels,
        "chain": length,
        "wall_s": round(seconds, 3),
        "cpu_s": round(cpu, 3),
        "wall_over_chain": round(seconds / (length * DELAY), 4),
    }


async def bare() -> dict[str, Any]:
    """As many steps of six requests as the published search has, and nothing else."""
    steps, wave = 59, 6
    body = {"model": "fake", "messages": [{"role": "user", "content": "Why? " * 300}]}
    with serving(False) as server:
        url = f"{server.recv()}/v1/chat/completions"
        async with aiohttp.ClientSession() as session:

            async def ask() -> Any:
                async with session.post(url, json=body) as answer:
                    return await answer.json()

            await ask()
            began, cpu = time.perf_counter(), time.process_time()
            for _ in range(steps):
                await asyncio.gather(*(ask() for _ in range(wave)))
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        server.send("enough")
        server.recv()
    return {
        "case": "bare aiohttp, the same steps",
        "chain": steps,
        "wall_s": round(seconds, 3),
        "cpu_s": round(cpu, 3),
        "wall_over_chain": round(seconds / (steps * DELAY), 4),
    }


def cases(quick: bool) -> list[tuple[str, Settings, bool]]:
    found = [("published, no query skipped", Settings.published(seed=0), False)]
    if quick:
        return found
    found += [("published, good replies skipped", Settings.published(seed=n), True) for n in (0, 1)]
    ours = replace(Settings(), calls=150, validation=8)
    return [*found, ("ours, 150 policy calls", ours, True)]


def targets(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        ratio, length = row["wall_over_chain"], row["chain"]
        name = f"{row['case']}, seed {row['seed']}"
        found.append(
            {"name": f"wall time over chain x 200 ms: {name}", "goal": f"<= {OVERHEAD}",
             "value": ratio, "met": ratio <= OVERHEAD}
        )  # fmt: skip
        if row["case"].startswith("published"):
            found.append(
                {"name": f"chain: {name}", "goal": f"<= {LONGEST_CHAIN}",
                 "value": length, "met": length <= LONGEST_CHAIN}
            )  # fmt: skip
    return found


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    began, facts = time.perf_counter(), machine()
    rows = []
    for name, settings, skips in cases(quick):
        row = {"case": name, "seed": settings.seed}
        method = "published" if name.startswith("published") else "drpo"
        row |= asyncio.run(search(method, settings, skips=skips))
        print(row, flush=True)
        rows.append(row)
    control = asyncio.run(bare())
    print(control, flush=True)
    for row in rows:
        row["over_bare_aiohttp"] = round(row["wall_over_chain"] / control["wall_over_chain"], 4)
    results = {
        "command": "python benchmarks/critical_path.py",
        "machine": facts,
        "server_ms": 1000 * DELAY,
        "authors": AUTHORS,
        "rows": [*rows, control],
        "targets": targets(rows),
        "seconds": round(time.perf_counter() - began, 1),
    }
    if not quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for one in results["targets"]:  # type: ignore[attr-defined]
        print("met " if one["met"] else "MISS", one["name"], one["goal"], one["value"])
    print(f"{results['seconds']} s")


if __name__ == "__main__":
    main()
