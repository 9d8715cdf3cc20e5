"""Measures reading common beginnings once, on the embedded model; writes `results/prefixes.json`.

    python benchmarks/prefixes.py            # a few minutes on two cores
    python benchmarks/prefixes.py --quick    # the first case only, writes nothing

Two cases. A judge's: 24 requests at once for one token each, behind one page of 490 tokens. A
round's: 4 candidates with a page each, 8 queries to every candidate, 16 tokens written. Each is
run without sharing, with it, and with it once more as a later process would, which finds the
states on disk. Wall time depends on what else the machine does; processor time and tokens read
do not.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

from facts import machine  # noqa: E402

from trueup.models.embedded import Embedded  # noqa: E402
from trueup.types import Message, Request, Sampling  # noqa: E402

SENTENCE = "The rules of this house are many and each has its reason. "
SMALLEST_GAIN = 5.0


def judging() -> list[Request]:
    return [
        Request(
            (Message("system", SENTENCE * 37), Message("user", f"Number {n}: yes or no?")),
            Sampling(max_tokens=1),
        )
        for n in range(24)
    ]


def candidates() -> list[Request]:
    pages = [f"You are helper {one}. {SENTENCE * 20}" for one in "ABCD"]
    return [
        Request(
            (Message("system", page), Message("user", f"How do I repair thing number {n}?")),
            Sampling(max_tokens=16),
        )
        for n in range(8)
        for page in pages
    ]


async def measured(requests: Sequence[Request], *, share: bool) -> dict[str, Any]:
    model = Embedded(share_prefixes=share)
    await model.reply(Request((Message("user", "Hello."),), Sampling(max_tokens=1)))
    began, cpu = time.perf_counter(), time.process_time()
    replies = await asyncio.gather(*(model.reply(request) for request in requests))
    row = {
        "wall_s": round(time.perf_counter() - began, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "tokens_in": sum(reply.usage.tokens_in for reply in replies),
        "tokens_cached": sum(reply.usage.cached for reply in replies),
        "texts": [reply.text for reply in replies],
    }
    await model.close()
    return row


async def compared(name: str, requests: Sequence[Request]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        without = await measured(requests, share=False)
        shared = await measured(requests, share=True)
        later = await measured(requests, share=True)
    texts = [row.pop("texts") for row in (without, shared, later)]
    row = {
        "case": name,
        "without": without,
        "with": shared,
        "with, states on disk": later,
        "times_wall": round(without["wall_s"] / shared["wall_s"], 2),
        "times_wall_states_on_disk": round(without["wall_s"] / later["wall_s"], 2),
        "times_cpu": round(without["cpu_s"] / shared["cpu_s"], 2),
        "times_cpu_states_on_disk": round(without["cpu_s"] / later["cpu_s"], 2),
        "same_texts": sum(a == b == c for a, b, c in zip(*texts, strict=True)) / len(requests),
    }
    print(json.dumps(row, indent=1), flush=True)
    return row


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    began, facts = time.perf_counter(), machine()
    rows = [asyncio.run(compared("24 requests behind one page of 490 tokens", judging()))]
    if not quick:
        rows.append(asyncio.run(compared("4 candidates, 8 queries each", candidates())))
    judged = rows[0]
    targets = [
        {"name": f"times as fast, {judged['case']}{where}", "goal": f">= {SMALLEST_GAIN:g}",
         "value": judged[key], "met": judged[key] >= SMALLEST_GAIN}
        for where, key in (
            ("", "times_wall"), (", states on disk", "times_wall_states_on_disk"),
            (", processor time", "times_cpu"),
            (", processor time, states on disk", "times_cpu_states_on_disk"),
        )
    ]  # fmt: skip
    results = {
        "command": "python benchmarks/prefixes.py",
        "machine": facts,
        "rows": rows,
        "targets": targets,
        "seconds": round(time.perf_counter() - began, 1),
    }
    if not quick:
        path = HERE / "results" / "prefixes.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for one in targets:
        print("met " if one["met"] else "MISS", one["name"], one["goal"], one["value"])


if __name__ == "__main__":
    main()
