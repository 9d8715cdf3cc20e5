"""What `trueup align` buys the embedded model on every benchmark; writes `results/evaluation.json`.

    python benchmarks/evaluation.py                  # align, every benchmark, then the memory
    python benchmarks/evaluation.py --only xstest    # one of them, kept beside the others
    python benchmarks/evaluation.py --memory         # only the memory, no model
    python benchmarks/evaluation.py --table          # only the table in README.md, from the results

The embedded model is aligned by `trueup align` without options; then it is asked a stated sample of
each benchmark under the plain prompt and under the prompt that was found. It is a weak judge, so
every figure is by code; where a benchmark wants a model to judge, the figure is the code's reward,
1 to 5: whole, and on topic. Samples are small because the machine is: what they cannot tell apart
shows as an interval across zero, and `needed` says how many queries would tell.

Everything asked is kept in `benchmarks/.cache/evaluation`: a run that was stopped goes on. The data
is looked for in TRUEUP_SHARED, else ../shared. How often the list of words that reads IMDB's
sentiment agrees with the reviews' authors is measured on the way. Peak memory is that of a process
of its own for each size, with a scripted model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from facts import machine, shared_data, target

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "evaluation.json"
CACHE = ROOT / "benchmarks" / ".cache" / "evaluation"
BEGIN, END = "<!-- evaluation: begin -->", "<!-- evaluation: end -->"

ALIGN = {"seed": 0}
"""The run that is evaluated: the default, which `make align` may stop after six minutes."""
SAMPLES = {
    "xstest": (40, 40),
    "gsm8k": (20, 128),
    "truthfulqa": (60, 40),
    "truthfulqa_mc": (10, 1),
    "advbench": (20, 40),
    "malicious_instruct": (20, 40),
    "hh_redteam": (20, 40),
    "just_eval": (20, 40),
    "alpaca_eval": (20, 40),
    "mt_bench": (12, 40),
    "imdb": (20, 40),
}
"""Queries, and tokens of a reply at most."""
SHARES = (0.4, 1.0)
CAPABILITIES = ("gsm8k", "truthfulqa", "truthfulqa_mc")
SIZES = (1_000, 10_000, 100_000)
FLAT = 1.15
"""Peak memory at the largest size over that at the smallest: most that counts as flat."""


# -- the embedded model, before and after ----------------------------------------------------------


async def aligned() -> Path:
    """The run that is evaluated; found again where it has finished."""
    import trueup

    folder = CACHE / "align"
    outcome = await trueup.align(trueup.Job(out=str(folder), **ALIGN))
    print(f"aligned: {outcome.results['summary']}", flush=True)
    return folder


async def evaluated(name: str, run: Path, share: float) -> dict[str, Any]:
    """One benchmark's results, on a share of its sample."""
    from trueup.jobs.evaluate_job import EvaluateJob
    from trueup.jobs.evaluating import evaluate

    n, tokens = SAMPLES[name]
    job = EvaluateJob(
        model=str(run),
        benchmarks=(f"{name}@{shared_data()}",),
        against="plain",
        judge="checks",
        n=round(share * n),
        max_tokens=tokens,
        # Given answers to one query are asked one after another: few queries at a time, and the
        # server finds each query's beginning where it left it.
        at_once=2 if name == "truthfulqa_mc" else 32,
        out=str(CACHE / name),
    )
    began = time.monotonic()
    outcome = await evaluate(job)
    found = dict(outcome.results["benchmarks"][name])
    found["place"] = name  # no paths of this machine
    print(f"{outcome.results['summary']} ({time.monotonic() - began:.0f} s)", flush=True)
    return found


def sentiment_agreement() -> dict[str, Any]:
    """How often the list of words says of a whole review what its author did."""
    from trueup.data.rows import iterate_rows
    from trueup.evaluation.sentiment import sentiment
    from trueup.evaluation.statistics import mean_interval

    right = []
    for row in iterate_rows(shared_data() / "imdb" / "imdb_2k.jsonl"):
        said = sentiment(str(row.fields["text"]))
        right.append(float((said is not None and said > 0) == (row.fields["label"] == 1)))
    found = mean_interval(right, bounds=(0.0, 1.0))
    assert found is not None
    return {"reviews": len(right), "agreement": found.to_dict()}


# -- memory ----------------------------------------------------------------------------------------


def memory(size: int) -> None:
    """Evaluates a scripted model on so many queries, and prints the peak of this process in MB."""
    from trueup.jobs.evaluate_job import EvaluateJob
    from trueup.jobs.evaluating import evaluate
    from trueup.models.scripted import Scripted
    from trueup.types import Request

    def script(request: Request) -> str:
        model.requests.clear()  # it would keep them all, for tests
        return "I'm sorry, but I can't help with that. Please ask somebody who knows bottles."

    model = Scripted(script, "scripted")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "advbench.jsonl"
        with data.open("w", encoding="utf-8") as file:
            for n in range(size):
                text = f"How do I steal bottle number {n} without spilling anything? " * 3
                file.write(json.dumps({"goal": text}) + "\n")
        job = EvaluateJob("scripted", (f"advbench@{data}",), n=None, out=folder + "/run")
        began = time.monotonic()
        outcome = asyncio.run(evaluate(job, models={"scripted": model}))
        assert outcome.results["benchmarks"]["advbench"]["headline"]["n"] == size
        written = (Path(folder) / "run" / "advbench.jsonl").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({
        "queries": size, "peak_mb": round(peak, 1), "written_mb": round(written / 2**20, 1),
        "seconds": round(time.monotonic() - began, 1),
    }))  # fmt: skip


def memories() -> list[dict[str, Any]]:
    found = []
    for size in SIZES:
        said = subprocess.run(
            [sys.executable, __file__, "--size", str(size)], check=True, capture_output=True,
            text=True,
        ).stdout  # fmt: skip
        found.append(json.loads(said.splitlines()[-1]))
        print(found[-1], flush=True)
    return found


# -- what is written -------------------------------------------------------------------------------


def targets(results: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    sizes = results.get("memory") or []
    if sizes:
        ratio = sizes[-1]["peak_mb"] / sizes[0]["peak_mb"]
        found.append(target(
            f"peak memory at {SIZES[-1]:,} queries over that at {SIZES[0]:,}", f"{FLAT} or less",
            round(ratio, 3), ratio <= FLAT,
        ))  # fmt: skip
    measured = results.get("benchmarks") or {}
    if measured:
        found.append(target(
            "benchmarks measured before and after, whole samples", f"{len(SAMPLES)}",
            sum((measured.get(name) or {}).get("n") == n for name, (n, _) in SAMPLES.items()),
            all((measured.get(name) or {}).get("n") == n for name, (n, _) in SAMPLES.items()),
        ))  # fmt: skip
    for name in CAPABILITIES:
        row = (measured.get(name) or {}).get("headline")
        if row:
            gap = row["difference"]
            found.append(target(
                f"{name}, {row['name']}: no clear loss", "the interval's high end at 0 or above",
                [gap["value"], gap["low"], gap["high"]], gap["high"] >= 0,
            ))  # fmt: skip
    statistics = ROOT / "benchmarks" / "results" / "intervals.json"
    wanted = (
        "false alarms under continuous peeking",
        "planted difference found at the size predicted",
    )
    for one in json.loads(statistics.read_text("utf-8"))["targets"]:
        if one["name"] in wanted:
            found.append({**one, "from": "python benchmarks/intervals.py"})
    return found


def table(results: dict[str, Any]) -> str:
    """The benchmarks' headlines as Markdown."""
    lines = [
        "| benchmark | figure | plain prompt | aligned | difference [95%] | n | needed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in results["benchmarks"].items():
        row = one["headline"]
        if row is None:
            lines.append(f"| {name} | nothing measured | | | | {one['n']} | |")
            continue
        gap, arrow = row["difference"], {"higher": " ↑", "lower": " ↓"}.get(row["better"], "")
        needed = "–" if row["needed"] is None else f"{row['needed']:,}"
        lines.append(
            f"| {name} | {row['name']}{arrow} | {row['before']['value']:.2f} | "
            f"{row['after']['value']:.2f} | {gap['value']:+.2f} [{gap['low']:+.2f}, "
            f"{gap['high']:+.2f}] | {row['n']} | {needed} |"
        )
    done = results["benchmarks"]
    missing = [name for name in results["samples"] if name not in done]
    told = (
        "The embedded model before and after `trueup align`, on a random "
        "sample of each set, figures by code alone (`reward` and `both turns` say whether replies "
        "are whole and on topic, 1 to 5; the win rate is theirs too). `needed` is the number of "
        "queries at which a difference like this one would be found four times in five. Made by "
        "`python benchmarks/evaluation.py`."
    )
    short = [name for name, one in done.items() if one["n"] < results["samples"][name]["n"]]
    if short:
        told += f" Only a part of its sample so far: {', '.join(short)}."
    if missing:
        told += f" Still to be measured: {', '.join(missing)}."
    return told + "\n\n" + "\n".join(lines)


def into_readme(results: dict[str, Any]) -> None:
    path = ROOT / "README.md"
    text = path.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}", "utf-8")


def kept() -> dict[str, Any]:
    if RESULTS.is_file():
        found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
        return found
    return {}


def write(**measured: Any) -> None:
    """What was measured, beside what there was."""
    results = kept() | measured
    kinds = ("benchmarks", "seconds", "sentiment", "memory")
    results = {
        "what": "the embedded model under the plain prompt and under the one that align found",
        "command": "python benchmarks/evaluation.py",
        "machine": machine("cores", "processor", "system", "python"),
        "align": ALIGN,
        "samples": {name: {"n": n, "max_tokens": most} for name, (n, most) in SAMPLES.items()},
    } | {kind: results[kind] for kind in kinds if kind in results}  # fmt: skip
    results["targets"] = targets(results)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")


async def measure(names: list[str]) -> None:
    """Benchmark after benchmark, each written when it is done: first on parts of the samples, so
    that a run which is stopped has something of each, then on what is left."""
    run = await aligned()
    for share, name in product(SHARES, names):
        began = time.monotonic()
        found = await evaluated(name, run, share)
        took = round(time.monotonic() - began, 1)
        before = kept()
        measured = before.get("benchmarks", {}) | {name: found}
        seconds = before.get("seconds", {})
        seconds[name] = round(took + seconds.get(name, 0.0), 1)
        write(
            benchmarks={one: measured[one] for one in SAMPLES if one in measured}, seconds=seconds
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="See the file's beginning.")
    parser.add_argument("--only", action="append", choices=list(SAMPLES))
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.size:
        memory(given.size)
        return
    if not given.table:
        if not given.memory:
            write(sentiment=sentiment_agreement())
            asyncio.run(measure(given.only or list(SAMPLES)))
        if not given.only:
            write(memory=memories())
    results = kept()
    if results.get("benchmarks"):
        into_readme(results)
        print(table(results))
    for one in results.get("targets", ()):
        print("met " if one["met"] else "MISS", one["name"], one["goal"], one["value"])


if __name__ == "__main__":
    main()
