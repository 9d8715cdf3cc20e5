"""Our search beside published DRPO and random search, in worlds where the truth is known.

    python benchmarks/search.py                            # six worlds, 20 seeds
    python benchmarks/search.py --seeds 2 --worlds easy    # a look
    python benchmarks/search.py --add curves.jsonl         # with another program's curves

Every method has the same policy, judge (`dynamic`, fourteen criteria) and writer, the world's
queries and its pool of demonstrations. Published DRPO shows the two nearest of the pool, as
published; ours and random also have the world's lines ("no lines given": not those). Curves are of
the true quality, exact, on queries that nobody searched on, against policy calls, tokens of all
roles, and serial steps: calls that had to wait for one another. At a budget each method is what it
would have given back had it been stopped there; before its first answer it is the plain prompt.

`--add` reads rows of another program's runs (in the same worlds, over HTTP: see
benchmarks/worlds/README.md), one JSON object a line,

    {"method": "GEPA", "world": "easy", "seed": 100, "policy_calls": 50, "calls": 101,
     "tokens": 9000, "steps": 60, "system": "You are ...",
     "demonstrations": [{"query": "...", "reply": "..."}]}

and judges their prompts by the same truth. Seeds start at 100: those below were looked at while
the method was made. What is done is kept in benchmarks/.cache, so a run that was stopped goes on.
Writes benchmarks/results/search.json and docs/search.svg.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import math
import multiprocessing
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from curves import Panel, Spot, curves
from facts import machine, target
from worlds.play import Actor, Point, play
from worlds.rules import KINDS
from worlds.world import World

from trueup import POOL, Demonstration, Dynamic, Prompt, Query
from trueup.evaluation.formulas import student_quantile
from trueup.loop import rounds
from trueup.models.several import together
from trueup.prompt import METHODS
from trueup.prompt.candidates import Candidate
from trueup.prompt.measuring import Measuring
from trueup.prompt.retrieval import Retrieval
from trueup.prompt.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
FIRST_SEED = 100
BUDGETS = (10, 20, 30, 50, 75, 100, 150, 200, 300)
Models = Callable[[str], Actor]


def material(world: World) -> dict[str, Any]:
    pool = [Demonstration(q, r, shows_answer="can't help" not in r) for q, r in world.pool]
    return {
        "search": [Query(text) for text in world.search],
        "validation": [Query(text) for text in world.validation],
        "pool": pool,
    }


def remedies(world: World) -> dict[str, list[str]]:
    found = defaultdict(list)
    for line, criterion in world.lines:
        found[criterion].append(line)
    return dict(found)


async def _searched(
    name: str, models: Models, start: Prompt, settings: Settings, **given: Any
) -> AsyncIterator[Prompt]:
    method = METHODS[name](
        policy=models("policy"),
        judge=Dynamic(models("judge"), POOL),
        writer=models("writer"),
        start=start,
        settings=settings,
        **given,
    )
    async for turn in rounds(method):
        yield turn.state.beam[0].candidate.prompt


def ours(world: World, models: Models) -> AsyncIterator[Prompt]:
    settings = Settings(seed=world.seed)
    given = {**material(world), "remedies": remedies(world)}
    return _searched("composed", models, Prompt(world.start), settings, **given)


def ours_without_lines(world: World, models: Models) -> AsyncIterator[Prompt]:
    """No lines but the writer's."""
    settings = Settings(seed=world.seed)
    return _searched("composed", models, Prompt(world.start), settings, **material(world))


def paired(world: World, models: Models) -> AsyncIterator[Prompt]:
    """Whole prompts compared in pairs: our search before it took prompts apart."""
    settings = Settings(seed=world.seed)
    given = {**material(world), "remedies": remedies(world)}
    return _searched("drpo", models, Prompt(world.start), settings, **given)


def published(world: World, models: Models) -> AsyncIterator[Prompt]:
    given = material(world)
    start = Prompt(world.start, tuple(given["pool"]), Retrieval(2, order="nearest first"))
    settings = Settings.published(seed=world.seed)
    return _searched("published", models, start, settings, **given)


async def at_random(world: World, models: Models) -> AsyncIterator[Prompt]:
    """Three random lines and four random demonstrations, on 16 queries, the best mean kept."""
    rng = random.Random(world.seed)
    given = material(world)
    judge, settings = Dynamic(models("judge"), POOL), Settings()
    measuring = Measuring(models("policy"), judge, settings.reply)
    best: tuple[float, Prompt] = (0.0, Prompt(world.start))
    for _ in range(18):
        lines = [line for line, _ in rng.sample(world.lines, 3)]
        shown = tuple(rng.sample(given["pool"], 4))
        instruction = "\n".join([world.start, *lines])
        candidate = Candidate(Prompt(instruction, shown, Retrieval(4, by="fixed")))
        await together([measuring.measure([candidate], rng.sample(given["search"], 16))])
        mean = measuring.archive.mean(candidate)
        best = max(best, (mean or 0.0, candidate.prompt), key=lambda pair: pair[0])
        yield best[1]


METHODS_SHOWN: dict[str, Callable[[World, Models], AsyncIterator[Prompt]]] = {
    "ours": ours,
    "ours, no lines given": ours_without_lines,
    "published DRPO": published,
    "random": at_random,
    "paired": paired,
}


def one(task: tuple[str, str, int]) -> tuple[str, str, int, list[Point]]:
    method, kind, seed = task
    return method, kind, seed, play(World(kind, seed), METHODS_SHOWN[method])


def version() -> str:
    """A hash of the code that decides what a search does in a world."""
    digest = hashlib.sha256()
    for folder in (ROOT / "src" / "trueup" / "prompt", ROOT / "benchmarks" / "worlds"):
        for path in sorted(folder.glob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                body = getattr(node, "body", None)
                if isinstance(body, list):  # what is said beside the code decides nothing
                    said = [one for one in body if isinstance(one, ast.Expr)]
                    node.body = [  # type: ignore[attr-defined]
                        one
                        for one in body
                        if one not in said or not isinstance(one.value, ast.Constant)
                    ]
            digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def remembered(path: Path) -> dict[tuple[str, str, int], list[Point]]:
    """What was played before with the same code."""
    if not path.is_file():
        return {}
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    return {
        (name, kind, seed): [Point(*one) for one in points] for name, kind, seed, points in rows
    }


def added(path: Path) -> dict[tuple[str, str, int], list[Point]]:
    """Another program's prompts, judged by the truth."""
    found: dict[tuple[str, str, int], list[Point]] = defaultdict(list)
    worlds: dict[tuple[str, int], World] = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        key = (row["world"], int(row["seed"]))
        world = worlds.setdefault(key, World(*key))
        shown = [(pair["query"], pair["reply"]) for pair in row.get("demonstrations", ())]
        found[row["method"], *key].append(
            Point(
                row["policy_calls"],
                row["calls"],
                row["tokens"],
                row["steps"],
                world.true_quality(row["system"], shown),
            )
        )
    return {key: sorted(points, key=lambda one: one.policy_calls) for key, points in found.items()}


def at(points: Sequence[Point], budget: float, by: str, plain: float) -> float:
    """What there is when so much has been spent."""
    affordable = [one for one in points if getattr(one, by) <= budget]
    return affordable[-1].quality if affordable else plain


def interval(values: Sequence[float]) -> list[float]:
    """Mean, and a 95% t interval over seeds."""
    mean = fmean(values)
    if len(values) < 2:
        return [round(mean, 3)] * 3
    half = student_quantile(0.975, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return [round(one, 3) for one in (mean, mean - half, mean + half)]


def summary(
    found: dict[tuple[str, str, int], list[Point]], plain: dict[tuple[str, int], float]
) -> dict[str, Any]:
    """By world and method: the quality at each budget, and what the whole search took."""
    worlds: dict[str, Any] = {}
    names = list(dict.fromkeys(method for method, _, _ in found))
    for kind in dict.fromkeys(kind for kind, _ in plain):
        rows = worlds[kind] = {
            "plain": interval([value for (k, _), value in plain.items() if k == kind])
        }
        for name in names:
            runs = {seed: p for (m, k, seed), p in found.items() if (m, k) == (name, kind)}
            if not runs:
                continue
            rows[name] = {
                "seeds": len(runs),
                "final": interval([p[-1].quality for p in runs.values()]),
                "spent": {
                    by: round(fmean(getattr(p[-1], by) for p in runs.values()), 1)
                    for by in ("policy_calls", "calls", "tokens", "steps")
                },
                "by_policy_calls": {
                    budget: interval(
                        [at(p, budget, "policy_calls", plain[kind, s]) for s, p in runs.items()]
                    )
                    for budget in BUDGETS
                },
                "by_steps": {
                    budget: interval(
                        [at(p, budget, "steps", plain[kind, s]) for s, p in runs.items()]
                    )
                    for budget in (4, 8, 12, 16, 20, 25, 30, 50, 75)
                },
                "by_tokens": {
                    budget: interval(
                        [at(p, budget, "tokens", plain[kind, s]) for s, p in runs.items()]
                    )
                    for budget in (5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000)
                },
            }
    return worlds


def drawn(worlds: dict[str, Any]) -> str:
    """The curves against policy calls, a panel for each world."""
    panels = []
    for kind, rows in worlds.items():
        lines = {
            name: [Spot(float(budget), *three) for budget, three in row["by_policy_calls"].items()]
            for name, row in rows.items()
            if name != "plain"
        }
        panels.append(Panel(kind, "policy calls", lines, floor=rows["plain"][0]))
    return curves("True quality on held-out queries, 1 to 5", panels)


def against_published(
    found: dict[tuple[str, str, int], list[Point]], plain: dict[tuple[str, int], float], name: str
) -> dict[str, Any]:
    """Ours, stopped at a quarter of published DRPO's calls and a third of its steps, less
    published DRPO's end: seed by seed."""
    worlds: dict[str, Any] = {}
    every: list[float] = []
    for kind in dict.fromkeys(kind for kind, _ in plain):
        differences = []
        for (_, seed), base in ((key, v) for key, v in plain.items() if key[0] == kind):
            theirs = found["published DRPO", kind, seed][-1]
            stopped = [
                p
                for p in found[name, kind, seed]
                if 4 * p.policy_calls <= theirs.policy_calls
                and 4 * p.calls <= theirs.calls
                and 3 * p.steps <= theirs.steps
            ]
            differences.append((stopped[-1].quality if stopped else base) - theirs.quality)
        worlds[kind] = interval(differences)
        every += differences
    return {"all": interval(every), **worlds}


def targets(results: dict[str, Any]) -> list[dict[str, Any]]:
    seeds = len(results["seeds"])
    found = [target("seeds a world", "20 or more", seeds, seeds >= 20)]
    for name, rows in results["against_published"].items():
        for kind, (mean, low, high) in rows.items():
            goal = "0 or more (mean, then its 95% interval)"
            title = f"{name} at 1/4 of the calls and 1/3 of the steps, less published's end: {kind}"
            found.append(target(title, goal, [mean, low, high], mean >= 0))
    rows = results["against_published"]["ours"]["all"]
    found.append(target("the same over all worlds, above 0", "> 0", rows, rows[1] > 0))
    others = ["random", "published DRPO", *results["added"]]
    measured = {name for methods in results["worlds"].values() for name in methods}
    for other in (name for name in others if name in measured):
        behind = [
            f"{kind} at {budget}"
            for kind, methods in results["worlds"].items()
            if other in methods
            for budget in BUDGETS
            if budget >= 50
            and methods["ours"]["by_policy_calls"][budget][2]
            < methods[other]["by_policy_calls"][budget][1]
        ]
        ahead = "in no world behind (intervals apart) from 50 policy calls up"
        found.append(target(f"ours against {other}", ahead, behind or "nowhere behind", not behind))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first seed")
    parser.add_argument("--worlds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS_SHOWN), default=None)
    parser.add_argument("--add", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "search.json")
    parser.add_argument("--only-kept", action="store_true", help="play nothing, show what is there")
    args = parser.parse_args()
    started = time.perf_counter()
    names = args.methods or ["ours", "published DRPO", "random"]
    seeds = range(args.first, args.first + args.seeds)
    tasks = [(name, kind, seed) for seed in seeds for kind in args.worlds for name in names]
    kept = ROOT / "benchmarks" / ".cache" / f"search-{version()}.jsonl"
    found = {key: points for key, points in remembered(kept).items() if key in set(tasks)}
    todo = [] if args.only_kept else [task for task in tasks if task not in found]
    kept.parent.mkdir(exist_ok=True)
    with multiprocessing.Pool(min(os.cpu_count() or 1, 8)) as pool, kept.open("a") as file:
        for name, kind, seed, points in pool.imap_unordered(one, todo):
            found[name, kind, seed] = points
            row = [name, kind, seed, [list(asdict(point).values()) for point in points]]
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"\r{len(found)} of {len(tasks)}", end="", file=sys.stderr, flush=True)
    whole = [s for s in seeds if all((n, k, s) in found for n in names for k in args.worlds)]
    plain = {
        (kind, seed): World(kind, seed).true_quality(World(kind, seed).start)
        for kind in args.worlds
        for seed in whole
    }
    found = {key: points for key, points in found.items() if key[2] in whole}
    others = [added(path) for path in args.add]
    for more in others:
        found |= {key: points for key, points in more.items() if (key[1], key[2]) in plain}
    results: dict[str, Any] = {
        "command": " ".join(["python benchmarks/search.py", *sys.argv[1:]]),
        "machine": machine("cpu", "cores", "system", "python", "numpy"),
        "seeds": whole,
        "worlds": summary(found, plain),
        "added": sorted({key[0] for more in others for key in more}),
        "against_published": {
            name: against_published(found, plain, name) for name in names if name.startswith("ours")
        },
        "curves": [
            {"method": m, "world": k, "seed": s, "points": [[*asdict(p).values()] for p in points]}
            for (m, k, s), points in sorted(found.items())
        ],
    }
    for curve in results["curves"]:
        curve["points"] = [[*row[:4], round(row[4], 4)] for row in curve["points"]]
    results["targets"] = targets(results)
    results["seconds"] = round(time.perf_counter() - started, 1)
    args.out.parent.mkdir(exist_ok=True)
    text = json.dumps(results, ensure_ascii=False)
    args.out.write_text(text.replace('{"method"', '\n{"method"') + "\n", encoding="utf-8")
    if args.out.name == "search.json":
        (ROOT / "docs" / "search.svg").write_text(drawn(results["worlds"]), encoding="utf-8")
    print()
    for kind, methods in results["worlds"].items():
        print(f"{kind}, plain {methods['plain'][0]:.2f}")
        for name, row in methods.items():
            if name != "plain":
                shown = " ".join(f"{row['by_policy_calls'][b][0]:.2f}" for b in BUDGETS)
                print(f"  {name:22} {shown}  end {row['final'][0]:.2f} {row['spent']}")
    for item in results["targets"]:
        print("met " if item["met"] else "MISS", item["name"], item["goal"], item["value"])
    print(f"{results['seconds']} s")


if __name__ == "__main__":
    main()
