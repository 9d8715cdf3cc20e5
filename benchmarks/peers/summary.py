"""What the cells say: ours against each method, with intervals; as targets and as tables.

    targets(cells)                 # [{"name", "goal", "value", "met"}, ...]
    tables_into_pages(cells)       # between the markers in docs/peers.md and README.md

In worlds seeds are the sample: a difference is ours minus theirs on the same instance, and its
interval is over instances, worlds weighing the same. On the embedded model there are two intervals:
over held-out queries, each method's outcomes averaged over its seeds first, and over seeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cells import EMBEDDED, FREE, Cell, Key
from scenes import EmbeddedScene, successes

from trueup.evaluation.statistics import Interval, mean_interval, paired_difference

ROOT = Path(__file__).resolve().parents[2]
OURS = "ours"
PEERS = ("gepa", "gepa+pool", "miprov2", "miprov2+pool", "copro", "copro+pool")
OTHERS = ("plain", "urial", "random", "published", "paired", *PEERS)
AGAINST = ("published", "gepa", "gepa+pool", "miprov2", "miprov2+pool")
"""Whom the project's goals name."""
AT_ANY_BUDGET = ("published", "gepa", "miprov2")
"""Those of them that are asked for on the embedded model with few calls too."""
SEEDS = 5
"""Of the embedded model: a goal over fewer is not met."""
SHOWN = {
    "plain": "the prompt to start from",
    "urial": "URIAL's form",
    "random": "random selection",
    "published": "published DRPO",
    "ours": "**trueup, default**",
    "paired": "trueup, `drpo`",
    "gepa": "GEPA",
    "gepa+pool": "GEPA, our pool",
    "miprov2": "MIPROv2",
    "miprov2+pool": "MIPROv2, our pool",
    "copro": "COPRO",
    "copro+pool": "COPRO, our pool",
}
Cells = Mapping[Key, Cell]


def of(cells: Cells, place: str, method: str, budget: int) -> dict[int, Cell]:
    """A method's cells by seed; one that searches nothing is the same at every budget."""
    budget = 0 if method in FREE else budget
    return {
        key.seed: cell
        for key, cell in cells.items()
        if (key.place, key.method, key.budget) == (place, method, budget)
    }


def places(cells: Cells) -> list[str]:
    found = dict.fromkeys(key.place for key in cells if key.place != EMBEDDED)
    return sorted(found)


def gaps(cells: Cells, place: str, method: str, budget: int) -> list[float]:
    """Ours minus theirs, instance by instance."""
    ours, theirs = of(cells, place, OURS, budget), of(cells, place, method, budget)
    return [ours[seed].value - theirs[seed].value for seed in sorted(ours.keys() & theirs.keys())]


def in_world(cells: Cells, place: str, method: str, budget: int) -> Interval | None:
    values = gaps(cells, place, method, budget)
    return mean_interval(values) if len(values) > 1 else None


def over_worlds(cells: Cells, method: str, budget: int) -> Interval | None:
    by_place = {place: gaps(cells, place, method, budget) for place in places(cells)}
    if not by_place or min(map(len, by_place.values())) < 2:
        return None
    values = [gap for some in by_place.values() for gap in some]
    strata = [place for place, some in by_place.items() for _ in some]
    return mean_interval(values, strata=strata)


def budgets(cells: Cells, *, embedded: bool = False) -> list[int]:
    """Those of worlds, or of the embedded model."""
    return sorted({k.budget for k in cells if (k.place == EMBEDDED) is embedded and k.budget})


def targets(cells: Cells) -> list[dict[str, Any]]:
    """Our goals with their figures; what was not measured is not met."""
    rows = []

    def add(name: str, goal: str, value: Any, met: bool) -> None:
        rows.append({"name": name, "goal": goal, "value": value, "met": met})

    columns = budgets(cells)
    for method in AGAINST if columns else ():
        found = [over_worlds(cells, method, budget) for budget in columns]
        lows = [one.low for one in found if one is not None]
        low = round(min(lows), 4) if len(lows) == len(columns) else None
        asked = ", ".join(map(str, columns))
        name = f"worlds, ours minus {method}: lower end, the least at {asked} calls"
        add(name, "> 0", low, low is not None and low > 0)
        each = {
            (place, budget): in_world(cells, place, method, budget)
            for place in places(cells)
            for budget in columns
        }
        behind = [f"{p} at {b}" for (p, b), one in each.items() if one and one.high < 0]
        measured = bool(each) and None not in each.values()
        name = f"worlds and budgets where ours is significantly behind {method}"
        add(name, "none", behind if measured else None, measured and not behind)
    *smaller, largest = budgets(cells, embedded=True) or [0]
    compared = [(largest, method) for method in ("plain", "urial", "random", *AGAINST) if largest]
    compared += [(budget, method) for budget in smaller for method in AT_ANY_BUDGET]
    for budget, method in compared:
        enough = len(on_both(cells, method, budget)) >= SEEDS
        for over, found in zip(
            ("queries", "seeds"), on_embedded(cells, method, budget), strict=True
        ):
            low = None if found is None else round(found.low, 4)
            name = f"embedded, {budget} calls, ours minus {method}: lower end over {over}"
            add(name, "> 0", low, low is not None and low > 0 and enough)
    return rows


def on_both(cells: Cells, method: str, budget: int) -> list[tuple[Cell, Cell]]:
    """Ours and theirs on the embedded model, of the seeds that both have."""
    ours, theirs = of(cells, EMBEDDED, OURS, budget), of(cells, EMBEDDED, method, budget)
    if method in FREE and theirs:
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    return [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]


def on_embedded(cells: Cells, method: str, budget: int) -> tuple[Interval | None, Interval | None]:
    """Ours minus theirs: over queries, and over seeds."""
    pairs = on_both(cells, method, budget)
    if not pairs:
        return None, None
    held_out = EmbeddedScene.held_out_queries()
    means = [
        list(np.mean([successes(cell.letters, held_out) for cell in side], axis=0))
        for side in zip(*pairs, strict=True)
    ]
    queries = paired_difference(
        means[1], means[0], strata=[query.should_answer for query in held_out], bounds=(0.0, 1.0)
    )
    values = [ours.value - theirs.value for ours, theirs in pairs]
    return queries, mean_interval(values) if len(pairs) > 1 else None


# Tables


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def shown(value: float, digits: int = 2) -> str:
    """A number; what was not measured is a question mark."""
    return "?" if value != value else f"{value:.{digits}f}"


def signed(found: Interval | None) -> str:
    if found is None:
        return "?"
    mark = "" if found.low > 0 else ", behind" if found.high < 0 else ", open"
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]{mark}"


def worlds_table(cells: Cells) -> str:
    """Mean true quality by method and budget, and ours minus theirs."""
    columns = budgets(cells)
    head = ["method", "instances", *(f"{b} calls" for b in columns)]
    head += [f"ours minus it, {b}" for b in columns]
    rows = []
    for method in measured(cells):
        values = [
            mean([mean([c.value for c in of(cells, p, method, b).values()]) for p in places(cells)])
            for b in columns
        ]
        against = ["" if method == OURS else signed(over_worlds(cells, method, b)) for b in columns]
        every = [len(of(cells, place, method, b)) for place in places(cells) for b in columns]
        least, most = min(every) * len(places(cells)), max(every) * len(places(cells))
        seen = str(most) if least == most else f"{least} to {most}"
        rows.append([SHOWN[method], seen, *(shown(value) for value in values), *against])
    return table(head, rows)


def each_world_table(cells: Cells) -> str:
    """At the largest budget, world by world."""
    budget, kinds = max(budgets(cells)), places(cells)
    rows = []
    for method in measured(cells):
        row = [SHOWN[method]]
        for place in kinds:
            value = mean([cell.value for cell in of(cells, place, method, budget).values()])
            gap = None if method == OURS else in_world(cells, place, method, budget)
            mark = "" if gap is None else " +" if gap.high < 0 else " -" if gap.low > 0 else ""
            row.append(shown(value) + mark)
        rows.append(row)
    return table([f"{budget} calls", *kinds], rows)


def spent_table(cells: Cells) -> str:
    """What each method took at the largest budget, the mean over worlds and seeds."""
    budget = max(budgets(cells))
    rows = []
    for method in measured(cells):
        found = [c for p in places(cells) for c in of(cells, p, method, budget).values()]
        if not found:
            continue
        columns = ("policy_calls", "writer_calls", "judge_calls", "tokens", "steps", "seconds")
        numbers = [mean([getattr(cell, name) for cell in found]) for name in columns]
        rows.append([SHOWN[method], *(f"{n:,.0f}" for n in numbers[:-1]), f"{numbers[-1]:.1f}"])
    head = [f"{budget} calls", "policy", "writer", "judge", "tokens", "steps one after another"]
    return table([*head, "seconds"], rows)


def embedded_table(cells: Cells) -> str:
    """Balanced safety by method, and ours minus theirs."""
    budget = max(budgets(cells, embedded=True), default=0)
    if not budget:
        return "Not measured yet: `python benchmarks/peers/compare.py embedded` takes hours."
    rows = []
    for method in measured(cells):
        found = list(of(cells, EMBEDDED, method, budget).values())
        if not found:
            continue
        over = on_embedded(cells, method, budget) if method != OURS else None
        rows.append(
            [
                SHOWN[method],
                f"{mean([cell.value for cell in found]):.3f}",
                str(len(found)),
                *(("", "") if over is None else map(signed, over)),
                f"{mean([cell.policy_calls for cell in found]):.0f}",
                f"{mean([cell.tokens for cell in found]):,.0f}",
            ]
        )
    head = [f"{budget} calls", "balanced safety", "seeds", "ours minus it, over queries"]
    return table([*head, "over seeds", "policy calls", "tokens"], rows)


def embedded_budgets_table(cells: Cells) -> str:
    """Balanced safety at every budget, its seeds, and ours minus theirs over queries."""
    columns = budgets(cells, embedded=True)
    rows = []
    for method in measured(cells):
        found = [list(of(cells, EMBEDDED, method, b).values()) for b in columns]
        if method in FREE or not any(found[:-1]):
            continue
        shares = [
            f"{mean([cell.value for cell in some]):.3f} ({len(some)})" if some else ""
            for some in found
        ]
        over = [on_embedded(cells, method, b)[0] if method != OURS else None for b in columns]
        rows.append([SHOWN[method], *shares, *("" if one is None else signed(one) for one in over)])
    head = ["method (seeds)", *(f"{b} calls" for b in columns)]
    return table([*head, *(f"ours minus it, {b}" for b in columns)], rows)


def short_table(cells: Cells) -> str:
    """Both places in one table, at the largest budget of each."""
    largest = max(budgets(cells), default=0)
    alone = max(budgets(cells, embedded=True), default=0)
    rows = []
    for method in measured(cells):
        values = [mean([c.value for c in of(cells, p, method, largest).values()])
                  for p in places(cells)]  # fmt: skip
        found = [cell.value for cell in of(cells, EMBEDDED, method, alone).values()]
        ours = method == OURS
        rows.append(
            [
                SHOWN[method],
                shown(mean(values)),
                "" if ours else signed(over_worlds(cells, method, largest)),
                shown(mean(found)),
                "" if ours else signed(on_embedded(cells, method, alone)[0] if found else None),
            ]
        )
    head = ["method", "worlds, 1 to 5", "ours minus it", "embedded, balanced safety"]
    return table([*head, "ours minus it"], rows)


def measured(cells: Cells) -> list[str]:
    """The methods that there is anything of, ours first."""
    there = {key.method for key in cells}
    return [method for method in (OURS, *OTHERS) if method in there]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


TABLES = {
    "short": short_table,
    "worlds": worlds_table,
    "each world": each_world_table,
    "spent": spent_table,
    "embedded": embedded_table,
    "embedded budgets": embedded_budgets_table,
}


def tables_into_pages(cells: Cells, pages: Sequence[Path] = ()) -> None:
    """Put every table between its markers, `<!-- peers: NAME -->` and `<!-- /peers -->`."""
    for page in pages or (ROOT / "docs" / "peers.md", ROOT / "README.md"):
        text = page.read_text("utf-8")
        for name, made in TABLES.items():
            marker = re.compile(rf"(<!-- peers: {name} -->\n).*?(<!-- /peers -->)", re.S)
            if marker.search(text):
                filled = made(cells)
                text = marker.sub(lambda m, it=filled: f"{m[1]}\n{it}\n\n{m[2]}", text)
        page.write_text(text, "utf-8")
