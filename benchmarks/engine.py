"""Measures what a call costs us beside the server's own time; writes `results/engine.json`.

    python benchmarks/engine.py            # about a minute
    python benchmarks/engine.py --quick    # about 15 seconds, writes nothing

The same conversations go to a server that answers after 50 ms, from a process of its own: once by
bare aiohttp (a session, a POST, the JSON parsed), once through everything a call passes in a run:
hashed, looked up, budgeted, paced, sent, read and committed to disk. The two take turns, so that
whatever else the machine does falls on both; the ratio is the median over the turns. The
processor time of a call is that of the whole process, threads included. A remembered call is one
whose reply is in the file.

Both have the same number of requests at the server. A search asks for a whole round at once, so
ours has four times as many callers waiting; with no more callers than requests in flight, each
waits for its reply to be on disk before the next is asked, and that ratio is written down too.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from facts import machine
from loopback import serving

from trueup.models.budgeted import Budget, Budgeted
from trueup.models.endpoint import Endpoint
from trueup.models.remembered import Remembered
from trueup.store.calls import Calls
from trueup.types import Message, Request, Sampling

RESULTS = Path(__file__).resolve().parent / "results" / "engine.json"
DELAY = 0.05
IN_FLIGHT = (64, 128)
CALLERS = 4
SYSTEM = "You answer in two short paragraphs, kindly, and say so when you do not know. " * 8


@dataclass(frozen=True)
class Run:
    """One burst of calls."""

    calls: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.calls / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_seconds / self.calls


def requests(count: int, start: int) -> list[Request]:
    """Conversations of the size of a policy's: a system text and a question, all different."""
    return [
        Request(
            (Message("system", SYSTEM), Message("user", f"Question {number}: why is that so?")),
            Sampling(max_tokens=256),
        )
        for number in range(start, start + count)
    ]


async def burst(asks: Sequence[Callable[[], Awaitable[Any]]], callers: int) -> Run:
    """Everything asked, by so many at a time."""
    waiting = iter(asks)

    async def worker() -> None:
        for ask in waiting:
            await ask()

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(callers)))
    return Run(len(asks), time.perf_counter() - began, time.process_time() - cpu)


def body(request: Request) -> dict[str, Any]:
    return {
        "model": "loopback",
        "messages": [{"role": m.role, "content": m.content} for m in request.prompt],  # type: ignore[union-attr]
        "max_tokens": 256,
        "temperature": 0.0,
        "seed": 0,
    }


async def bare(url: str, asked: Sequence[Request], in_flight: int) -> Run:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(request: Request) -> str:
            async with session.post(f"{url}/v1/chat/completions", json=body(request)) as answer:
                data = await answer.json()
            text: str = data["choices"][0]["message"]["content"]
            return text

        await asyncio.gather(*(ask(one) for one in asked[:in_flight]))  # connections are made
        return await burst([lambda one=one: ask(one) for one in asked[in_flight:]], in_flight)  # type: ignore[misc]


async def ours(url: str, asked: Sequence[Request], in_flight: int, callers: int) -> tuple[Run, Run]:
    """The whole path; and the same calls again, out of the file."""
    with tempfile.TemporaryDirectory() as folder, Calls(Path(folder) / "calls.sqlite") as calls:
        endpoint = Endpoint(url, "loopback", concurrency=in_flight)
        model = Budgeted(Remembered(endpoint, calls, "policy"), Budget(calls=10**9))
        await asyncio.gather(*(model.reply(one) for one in asked[:in_flight]))
        rest = [lambda one=one: model.reply(one) for one in asked[in_flight:]]  # type: ignore[misc]
        paid = await burst(rest, callers)
        again = Budgeted(Remembered(endpoint, calls, "policy"), Budget(calls=10**9))
        rest = [lambda one=one: again.reply(one) for one in asked[in_flight:]]  # type: ignore[misc]
        remembered = await burst(rest, callers)
        assert sum(cost.calls_paid for cost in calls.ledger().process.values()) == len(asked)
        await endpoint.close()
    return paid, remembered


async def measured(url: str, in_flight: int, calls: int, turns: int) -> dict[str, Any]:
    bares, paid, remembered, ratios, locked = [], [], [], [], []
    for turn in range(turns):
        asked = requests(calls + in_flight, turn * 1_000_000)
        one = await bare(url, asked, in_flight)
        two, three = await ours(url, asked, in_flight, CALLERS * in_flight)
        lockstep, _ = await ours(url, asked, in_flight, in_flight)
        bares.append(one)
        paid.append(two)
        remembered.append(three)
        ratios.append(two.rate / one.rate)
        locked.append(lockstep.rate / one.rate)

    def median(values: Iterable[float]) -> float:
        return float(np.median(list(values)))

    return {
        "in_flight": in_flight,
        "calls": calls,
        "turns": turns,
        "bare_calls_per_s": round(median(run.rate for run in bares), 1),
        "bare_cpu_ms": round(median(run.cpu_ms for run in bares), 3),
        "calls_per_s": round(median(run.rate for run in paid), 1),
        "cpu_ms": round(median(run.cpu_ms for run in paid), 3),
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_with_as_many_callers_as_in_flight": round(median(locked), 3),
        "remembered_ms": round(median(1000 / run.rate for run in remembered), 4),
    }


def targets(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        at = f" at {row['in_flight']} in flight"
        found += [
            ("calls/s as a share of bare aiohttp" + at, ">= 0.8", row["ratio"], 0.8, 1),
            ("processor ms per call" + at, "<= 0.5", row["cpu_ms"], 0.5, -1),
            ("ms per remembered call" + at, "<= 0.1", row["remembered_ms"], 0.1, -1),
        ]
    return [
        {"name": name, "goal": goal, "value": value, "met": sign * value >= sign * limit}
        for name, goal, value, limit, sign in found
    ]


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    began = time.perf_counter()
    facts = machine()
    with serving(DELAY) as url:
        rows = [
            asyncio.run(measured(url, at, 20 * at if quick else 30 * at, 3 if quick else 5))
            for at in IN_FLIGHT
        ]
    results = {
        "command": "python benchmarks/engine.py",
        "machine": facts,
        "server_ms": 1000 * DELAY,
        "rows": rows,
        "targets": targets(rows),
        "seconds": round(time.perf_counter() - began, 1),
    }
    if not quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(row)
    for one in results["targets"]:  # type: ignore[attr-defined]
        print("met " if one["met"] else "MISS", one["name"], one["goal"], one["value"])
    print(f"{results['seconds']} s")


if __name__ == "__main__":
    main()
