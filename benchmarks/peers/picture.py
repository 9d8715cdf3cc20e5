"""Quality against what it took, in worlds and on the embedded model, as one picture.

    picture_into_docs(cells)       # docs/peers.svg

A line joins a method's budgets. Six panels: policy calls, tokens of all roles and calls one after
another, each in worlds (means over worlds and instances) and on the embedded model (over seeds).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from cells import EMBEDDED, Cell  # noqa: E402
from curves import Panel, Spot, curves  # noqa: E402
from summary import Cells, budgets, mean, of, places  # noqa: E402

from trueup.evaluation.statistics import mean_interval  # noqa: E402

PICTURE = ROOT / "docs" / "peers.svg"
LINES = {
    "ours": "trueup",
    "published": "published DRPO",
    "random": "random",
    "gepa": "GEPA",
    "gepa+pool": "GEPA, our pool",
    "miprov2": "MIPROv2",
    "miprov2+pool": "MIPROv2, our pool",
}
UNITS = {"policy_calls": "policy calls", "tokens": "tokens", "steps": "calls one after another"}


def spot(by_place: Sequence[Sequence[Cell]], took: str, bounds: tuple[float, float]) -> Spot | None:
    """The mean of one method and budget; places weigh the same."""
    if not all(by_place):
        return None
    values = [cell.value for cells in by_place for cell in cells]
    strata = [at for at, cells in enumerate(by_place) for _ in cells]
    value = mean([mean([cell.value for cell in cells]) for cells in by_place])
    spent = mean([mean([getattr(cell, took) for cell in cells]) for cells in by_place])
    if len(values) == len(by_place):
        return Spot(spent, value, value, value)
    found = mean_interval(values, strata=strata)
    return Spot(spent, value, max(found.low, bounds[0]), min(found.high, bounds[1]))


def panel(cells: Cells, where: Sequence[str], title: str, took: str) -> Panel:
    """Every method of LINES at these places."""
    asked = budgets(cells, embedded=EMBEDDED in where)
    bounds = (0.0, 1.0) if EMBEDDED in where else (1.0, 5.0)
    lines = {}
    for method, name in LINES.items():
        spots = [
            spot([list(of(cells, place, method, budget).values()) for place in where], took, bounds)
            for budget in asked
        ]
        lines[name] = sorted(one for one in spots if one is not None)
    plain = [[cell.value for cell in of(cells, place, "plain", 0).values()] for place in where]
    return Panel(title, UNITS[took], lines, floor=mean([mean(values) for values in plain]))


def picture(cells: Cells) -> str:
    """The SVG."""
    worlds = places(cells)
    return curves(
        "Held-out quality against what the search took, at budgets of "
        f"{', '.join(map(str, budgets(cells)))} policy calls",
        [
            *(panel(cells, worlds, "six worlds, 1 to 5", took) for took in UNITS),
            *(panel(cells, [EMBEDDED], "embedded, balanced safety", took) for took in UNITS),
        ],
    )


def picture_into_docs(cells: Cells) -> None:
    PICTURE.write_text(picture(cells), "utf-8")
