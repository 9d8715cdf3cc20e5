"""What was measured, cell by cell, as it lies in `benchmarks/results/peers.json`.

    cells = read(path)                        # {Key("easy", "gepa", 100, 3): Cell(value=3.1, ...)}
    cells[key] = cell
    write(path, cells, facts)

A cell is one method at one place (a world, or "embedded"), with one budget and one seed. In worlds
a file of one object a cell would be long, so the cells of a place, a budget and a method are
columns. A run that was stopped goes on with the cells that are not there yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

EMBEDDED = "embedded"
FREE = ("plain", "urial")
"""Methods that search nothing: the same at every budget, kept under budget 0."""


class Key(NamedTuple):
    """Which cell."""

    place: str
    method: str
    budget: int
    seed: int


@dataclass(frozen=True)
class Cell:
    """One method's result and what it took."""

    value: float
    """True quality (1 to 5) in worlds, balanced safety (0 to 1) on the embedded model."""
    policy_calls: int
    writer_calls: int
    judge_calls: int
    tokens: int
    steps: int
    seconds: float
    over: int = 0
    """Requests refused because the budget was spent."""
    demonstrations: int = 0
    """Shown to each query."""
    letters: str = ""
    """One for each held-out query, on the embedded model."""
    instruction: str | None = None
    """In worlds only of the first seed."""
    note: str = ""


def read(path: Path) -> dict[Key, Cell]:
    """The cells of earlier runs; none where there is no file."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    cells = {}
    for row in found.get("worlds", ()):
        for place, seed in enumerate(row["seeds"]):
            values = {name: column[place] for name, column in row["columns"].items()}
            cells[Key(row["world"], row["method"], row["budget"], seed)] = Cell(**values)
    for one in found.get("embedded", ()):
        key = Key(EMBEDDED, one.pop("method"), one.pop("budget"), one.pop("seed"))
        cells[key] = Cell(**one)
    return cells


def write(path: Path, cells: Mapping[Key, Cell], facts: Mapping[str, Any]) -> None:
    """Facts first, then the cells, a line for each column or cell."""
    groups: dict[tuple[str, str, int], list[int]] = {}
    embedded = []
    for key in sorted(cells):
        if key.place == EMBEDDED:
            embedded.append(key)
        else:
            groups.setdefault(key[:3], []).append(key.seed)
    rows = [
        {
            "world": place,
            "method": method,
            "budget": budget,
            "seeds": seeds,
            "columns": {
                one.name: [
                    getattr(cells[Key(place, method, budget, seed)], one.name) for seed in seeds
                ]
                for one in fields(Cell)
            },
        }
        for (place, method, budget), seeds in groups.items()
    ]
    for row in rows:
        row["columns"] = {
            name: column
            for name, column in row["columns"].items()
            if any(one not in ("", None) for one in column) or name in NEEDED
        }
    whole = [
        {"method": key.method, "budget": key.budget, "seed": key.seed, **asdict(cells[key])}
        for key in embedded
    ]
    lines = ",\n".join(
        [
            *(
                f" {json.dumps(name)}: {json.dumps(value, indent=1)}"
                for name, value in facts.items()
            ),
            ' "worlds": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]",
            ' "embedded": [\n' + ",\n".join(f"  {json.dumps(one)}" for one in whole) + "\n ]",
        ]
    )
    half = path.with_suffix(f".{os.getpid()}.half")
    half.write_text("{\n" + lines + "\n}\n", "utf-8")
    half.replace(path)


NEEDED = frozenset(one.name for one in fields(Cell)) - {"letters", "instruction", "note"}
