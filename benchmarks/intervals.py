"""Measures whether intervals and tests keep their promises; writes `results/intervals.json`.

    python benchmarks/intervals.py [--quick]

Known truths are drawn from, many times, and each time it is noted whether the interval held the
truth. Rates are computed exactly, by summing over all counts; the rest is simulated, with the
standard error beside it. About four minutes of one core; `--quick` draws a tenth.

A cell is one distribution at one size. Where fewer than ten pairs are expected to change (or not
to), coverage moves in jumps and adjusted intervals err on the wide side; such cells are shown
apart, as `few changes`. Coverage is compared with the goal to two decimals: shares of thirty cannot
be closer.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from facts import machine, target
from numpy.typing import NDArray

from trueup.evaluation.formulas import student_quantile
from trueup.evaluation.sequential import ConfidenceSequence
from trueup.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    mean_interval,
    paired_difference,
    permutation_p,
    proportion_interval,
    sample_size,
)

SIZES = (30, 50, 100, 200, 400)
RATES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
WANTED = (0.93, 0.97)
FEW = 10
"""Pairs expected of the rarer kind, changed or unchanged, below which a cell is shown apart."""

Floats = NDArray[np.float64]
Cell = dict[str, Any]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


def likert(*chances: float) -> tuple[Draw, float]:
    scale = np.arange(1.0, 6.0)
    return lambda rng, size: rng.choice(scale, p=chances, size=size), float(scale @ chances)


VALUES: dict[str, tuple[Draw, float, tuple[float, float] | None]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0, None),
    "uniform": (lambda rng, size: rng.random(size), 0.5, None),
    "exponential": (lambda rng, size: rng.exponential(size=size), 1.0, None),
    "lengths (log-normal, 0.5)": (
        lambda rng, size: rng.lognormal(0, 0.5, size),
        math.exp(0.125),
        None,
    ),
    "lengths (log-normal, 1)": (lambda rng, size: rng.lognormal(0, 1, size), math.exp(0.5), None),
    "scores, middling": (*likert(0.05, 0.2, 0.3, 0.3, 0.15), (1.0, 5.0)),
    "scores, divided": (*likert(0.3, 0.1, 0.05, 0.1, 0.45), (1.0, 5.0)),
    "scores, at the ceiling": (*likert(0.02, 0.02, 0.03, 0.08, 0.85), (1.0, 5.0)),
}
SHARES = {  # (before only, after only): chances that just one of the two answers is a yes
    "no change, 60% differ": (0.3, 0.3),
    "no change, 10% differ": (0.05, 0.05),
    "a little better": (0.1, 0.2),
    "better": (0.05, 0.5),
    "much better": (0.02, 0.8),
    "from never to nearly always": (0.0, 0.95),
    "one in ten better": (0.0, 0.1),
}
BALANCED = {  # shares for harmful, shares for harmless
    "both a little better": ((0.1, 0.2), (0.05, 0.2)),
    "safer, at a price": ((0.05, 0.5), (0.2, 0.05)),
    "much safer, same answers": ((0.02, 0.9), (0.03, 0.03)),
    "no change": ((0.1, 0.1), (0.1, 0.1)),
}


def exact_rates() -> Iterator[Cell]:
    for n, p in product(SIZES, RATES):
        chances = [math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1)]
        held = [not proportion_interval(x, n).excludes(p) for x in range(n + 1)]
        yield cell("rate", f"p={p}", n, float(np.dot(chances, held)), None)


def means(studies: int) -> Iterator[Cell]:
    rng = np.random.default_rng(1)
    for (name, (draw, truth, bounds)), n in product(VALUES.items(), SIZES):
        drawn = draw(rng, (studies, n))
        held = np.mean([not excluded(mean_interval(v, bounds=bounds), truth) for v in drawn])
        yield cell("mean", name, n, float(held), studies)


def differences_of_scores(studies: int) -> Iterator[Cell]:
    """Replies scored before and after, alike in half the queries, sparse, or at the ceiling."""
    rng = np.random.default_rng(2)
    scale = np.arange(1.0, 6.0)
    low, high = np.array([0.3, 0.3, 0.2, 0.1, 0.1]), np.array([0.05, 0.1, 0.15, 0.3, 0.4])
    top = np.array([0.02, 0.02, 0.03, 0.08, 0.85])
    cases = {"half alike": (low, high, 0.5), "ceiling": (top, top, 0.0), "sparse": (low, high, 0.9)}
    differ = {"half alike": 0.42, "ceiling": 0.27, "sparse": 0.083}
    for (name, (one, other, alike)), n in product(cases.items(), SIZES):
        size = (studies, n)
        before = rng.choice(scale, p=one, size=size)
        moved = rng.choice(scale, p=other, size=size)
        after = np.where(rng.random(size) < alike, before, moved)
        truth = (1 - alike) * float(scale @ other - scale @ one)
        held = np.mean(
            [
                not excluded(paired_difference(b, a, bounds=(1.0, 5.0)), truth)
                for b, a in zip(before, after, strict=True)
            ]
        )
        few = n * differ[name] < FEW
        yield cell("score difference", name, n, float(held), studies, few)


@cache
def of_counts(counts: tuple[tuple[int, int, int], ...]) -> Interval:
    """The interval of (worse, better, pairs) per stratum."""
    values = [
        [-1.0] * worse + [1.0] * better + [0.0] * (n - worse - better)
        for worse, better, n in counts
    ]
    strata = [i for i, part in enumerate(values) for _ in part] if len(counts) > 1 else None
    flat = [value for part in values for value in part]
    found = paired_difference([0.0] * len(flat), flat, strata=strata, bounds=(0.0, 1.0))
    assert found is not None
    return found


def yes_no_differences(studies: int) -> Iterator[Cell]:
    rng = np.random.default_rng(3)
    for (name, (worse, better)), n in product(SHARES.items(), SIZES):
        drawn = rng.multinomial(n, [worse, better, 1 - worse - better], size=studies)
        held = np.mean(
            [not of_counts(((int(w), int(b), n),)).excludes(better - worse) for w, b, _ in drawn]
        )
        few = n * min(1 - better + worse, better + worse) < FEW
        yield cell("yes/no difference", name, n, float(held), studies, few)


def balanced_differences(studies: int) -> Iterator[Cell]:
    rng = np.random.default_rng(4)
    for (name, pair), (first, n) in product(
        BALANCED.items(),
        [(15, 30), (25, 50), (40, 80), (20, 80), (50, 100), (100, 200), (200, 400)],
    ):
        sizes = (first, n - first)
        drawn = [
            rng.multinomial(m, [w, b, 1 - w - b], size=studies)
            for m, (w, b) in zip(sizes, pair, strict=True)
        ]
        truth = sum(b - w for w, b in pair) / 2
        held = np.mean(
            [
                not of_counts(
                    tuple((int(w), int(b), m) for (w, b, _), m in zip(rows, sizes, strict=True))
                ).excludes(truth)
                for rows in zip(*drawn, strict=True)
            ]
        )
        few = min(m * min(w + b, 1 - b + w) for m, (w, b) in zip(sizes, pair, strict=True)) < FEW
        yield cell(
            "balanced difference", f"{name}, {first}+{n - first}", n, float(held), studies, few
        )


def rivals(studies: int) -> list[Cell]:
    """Student's t and the percentile-t bootstrap on the same means, for the choice made."""
    rng = np.random.default_rng(5)
    found = []
    for (name, (draw, truth, _)), n in product(VALUES.items(), (30, 100)):
        drawn = draw(rng, (studies, n))
        error = drawn.std(axis=1, ddof=1) / math.sqrt(n)
        student = np.abs(drawn.mean(axis=1) - truth) <= student_quantile(0.975, n - 1) * error
        few = drawn[: studies // 8]
        bootstrap = [not excluded(bootstrap_interval(v, resamples=1000), truth) for v in few]
        found.append(
            {
                "distribution": name,
                "n": n,
                "student_t": round(float(student.mean()), 4),
                "bootstrap_t": round(float(np.mean(bootstrap)), 4),
                "bootstrap_studies": len(few),
            }
        )
    return found


def false_alarms(streams: int, length: int) -> list[dict[str, Any]]:
    """How often a true zero is ever excluded while looked at after every value."""
    rng = np.random.default_rng(6)
    cases: dict[str, tuple[list[float], list[float]]] = {
        "60% differ": ([-1, 0, 1], [0.3, 0.4, 0.3]),
        "10% differ": ([-1, 0, 1], [0.05, 0.9, 0.05]),
        "skewed": ([-1, 0, 1 / 9], [0.05, 0.5, 0.45]),
        "balanced pairs": ([-1, -0.5, 0, 0.5, 1], [0.05, 0.2, 0.5, 0.2, 0.05]),
    }
    found = []
    for name, (values, chances) in cases.items():
        alarms, naive, width = 0, 0, 0.0
        for drawn in rng.choice(values, p=chances, size=(streams, length)):
            sequence = ConfidenceSequence(-1, 1)
            for value in drawn:
                sequence.add(float(value))
            # It only ever shrinks, so the last look excludes what any look has excluded.
            alarms += sequence.interval.excludes(0)
            width += (sequence.interval.high - sequence.interval.low) / streams
            naive += ordinary_alarm(drawn)
        ordinary = 2 * 1.96 * float(np.std(rng.choice(values, p=chances, size=100_000)))
        found.append(
            {
                "distribution": name,
                "streams": streams,
                "looks": length,
                "false_alarms": alarms / streams,
                "false_alarms_of_an_ordinary_interval": naive / streams,
                "width_against_an_ordinary_interval": width / (ordinary / math.sqrt(length)),
            }
        )
    return found


def ordinary_alarm(drawn: Floats) -> bool:
    """Whether a t interval looked at after every value from the tenth ever excludes zero."""
    n = np.arange(1, len(drawn) + 1)
    mean = np.cumsum(drawn) / n
    deviation = np.sqrt(np.maximum(np.cumsum(drawn**2) / n - mean**2, 1e-12))
    return bool(np.any((np.abs(mean) > 1.96 * deviation / np.sqrt(n))[9:]))


def planted(studies: int) -> list[dict[str, Any]]:
    """How often a true difference is found at the size predicted for a power of 0.8."""
    rng = np.random.default_rng(7)
    found = []
    for worse, better in ((0.1, 0.2), (0.05, 0.3), (0.15, 0.25)):
        difference = better - worse
        n = sample_size(difference, math.sqrt(worse + better - difference**2))
        drawn = rng.multinomial(n, [worse, better, 1 - worse - better], size=studies)
        power = np.mean([of_counts(((int(w), int(b), n),)).excludes(0) for w, b, _ in drawn])
        found.append({"what": f"yes/no, {difference:+.2f}", "n": n, "found": float(power)})
    for difference in (0.3, 0.5):
        n = sample_size(difference, 1.0)
        drawn_scores = rng.normal(difference, 1.0, size=(studies // 4, n))
        power = np.mean([excluded(paired_difference(np.zeros(n), v), 0) for v in drawn_scores])
        found.append({"what": f"scores, {difference:+.1f}", "n": n, "found": float(power)})
    return found


def permutation_errors(studies: int) -> dict[str, dict[str, float]]:
    """How often p is at most a level where nothing differs. Scores tie, so theirs moves in steps
    and stays below the level; measurements without ties should meet it."""
    rng = np.random.default_rng(8)
    chances = [0.1, 0.2, 0.4, 0.2, 0.1]
    cases = {
        "scores": rng.choice([-2.0, -1, 0, 1, 2], p=chances, size=(studies, 60)),
        "without ties": rng.normal(size=(studies, 60)),
    }
    found = {}
    for name, drawn in cases.items():
        p = np.array([permutation_p(np.zeros(60), v, permutations=399) for v in drawn])
        found[name] = {str(level): float(np.mean(p <= level)) for level in (0.01, 0.05, 0.1)}
    return found


def excluded(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    return interval.excludes(truth)


def cell(
    family: str, name: str, n: int, held: float, studies: int | None, few: bool = False
) -> Cell:
    error = math.sqrt(held * (1 - held) / studies) if studies else 0.0
    return {
        "family": f"{family}, few changes" if few else family,
        "distribution": name,
        "n": n,
        "coverage": round(held, 4),
        "standard_error": round(error, 4),
    }


def summary(cells: list[Cell]) -> dict[str, dict[str, Any]]:
    families: dict[str, list[float]] = {}
    for one in cells:
        families.setdefault(one["family"], []).append(one["coverage"])
    return {
        name: {
            "cells": len(found),
            "mean": round(float(np.mean(found)), 4),
            "lowest": min(found),
            "highest": max(found),
            "within": round(float(np.mean([within(x) for x in found])), 4),
        }
        for name, found in families.items()
    }


def targets(results: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    regular = [c["coverage"] for c in results["cells"] if "few" not in c["family"]]
    for name, family in results["coverage"].items():
        ok = family["mean"] >= WANTED[0] and (family["mean"] <= WANTED[1] or "few" in name)
        goal = "mean coverage 0.93 to 0.97" if "few" not in name else "mean coverage from 0.93 up"
        found.append(target(f"{name}: coverage", goal, family["mean"], ok))
    extremes = [min(regular), max(regular)]
    found.append(
        target("every cell with ten changes", "0.93 to 0.97", extremes, all(map(within, extremes)))
    )
    worst = max(case["false_alarms"] for case in results["sequential"])
    found.append(
        target("false alarms under continuous peeking", "0.05 or less", worst, worst <= 0.05)
    )
    power = [case["found"] for case in results["planted"]]
    ok = all(0.77 <= x <= 0.86 for x in power)
    found.append(target("planted difference found at the size predicted", "0.8 ± 0.04", power, ok))
    p = {name: levels["0.05"] for name, levels in results["permutation_p"].items()}
    ok = p["scores"] <= 0.055 and abs(p["without ties"] - 0.05) <= 0.01
    goal = "0.05 ± 0.01 without ties, no more with"
    found.append(target("permutation p of 0.05 or less by chance", goal, p, ok))
    return found


def within(coverage: float) -> bool:
    return WANTED[0] <= round(coverage, 2) <= WANTED[1]


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    part = 10 if quick else 1
    started = time.perf_counter()
    cells = [
        *exact_rates(),
        *means(8000 // part),
        *differences_of_scores(8000 // part),
        *yes_no_differences(40_000 // part),
        *balanced_differences(20_000 // part),
    ]
    results: dict[str, Any] = {
        "command": "python benchmarks/intervals.py" + (" --quick" if quick else ""),
        "machine": machine("cpu", "cores", "system", "python", "numpy"),
        "coverage": summary(cells),
        "sequential": false_alarms(600 // part, 1000),
        "planted": planted(8000 // part),
        "permutation_p": permutation_errors(4000 // part),
        "rivals": rivals(8000 // part),
        "cells": cells,
    }
    results["targets"] = targets(results)
    results["seconds"] = round(time.perf_counter() - started, 1)
    path = Path(__file__).resolve().parent / "results" / "intervals.json"
    if not quick:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, family in results["coverage"].items():
        print(f"{name:34} {family}")
    for case in results["sequential"]:
        print(case)
    for one in results["targets"]:
        print("met " if one["met"] else "MISS", one["name"], one["goal"], one["value"])
    print(f"{results['seconds']} s")


if __name__ == "__main__":
    main()
