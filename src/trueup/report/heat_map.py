"""Where a model changed, as a picture: a row per criterion, a column per category of queries.

    svg = heat_map(pictures["change"])      # evaluation.pictures

Green is better and purple worse, on the scale of the scores. A cell whose 95% interval leaves out
zero is in bold; with this many cells a few are so by chance, and the small number under each says
on how few queries it may rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trueup.report.drawing import BETTER, EVEN, WORSE, between, box, picture, shortened, spans, text

FULL = 2.0
"""A change by this much, of a scale from 1 to 5, has the full colour."""
MOST_ROWS, MOST_COLUMNS = 20, 12
LABEL, CELL, ROW, TOP, MARGIN = 200, 74, 40, 122, 90
DARK, LIGHT, STRONG = "#22262b", "#ffffff", 0.8
"""Words inside cells, which bring their own ground; light ones from this share of the colour."""


def heat_map(cells: Sequence[Mapping[str, Any]]) -> str:
    """The picture; one that says so where nothing was measured.

    A cell is {"criterion", "category", "value", "low", "high", "n"}, value after minus before.
    """
    rows = list(dict.fromkeys(cell["criterion"] for cell in cells))
    columns = list(dict.fromkeys(cell["category"] for cell in cells))
    left_out = max(0, len(rows) - MOST_ROWS), max(0, len(columns) - MOST_COLUMNS)
    rows, columns = rows[:MOST_ROWS], columns[:MOST_COLUMNS]
    width = LABEL + CELL * max(5, len(columns)) + MARGIN
    height = TOP + ROW * max(1, len(rows)) + 14 + 18 * any(left_out)
    found = {(cell["criterion"], cell["category"]): cell for cell in cells}
    parts = [
        text(12, 20, "Change of the score by category; bold where its 95% interval leaves out 0"),
        *(_heading(name, LABEL + CELL * (at + 0.5)) for at, name in enumerate(columns)),
    ]
    for down, criterion in enumerate(rows):
        y = TOP + ROW * down
        parts.append(text(LABEL - 12, y + ROW / 2 + 4, shortened(criterion, 26), "end"))
        for across, category in enumerate(columns):
            parts += _cell(found.get((criterion, category)), LABEL + CELL * across, y)
    if any(left_out):
        told = f"{left_out[0]} more criteria and {left_out[1]} more categories are not drawn"
        parts.append(text(12, height - 10, told))
    if not cells:
        parts.append(text(LABEL, TOP + 4, "nothing was measured"))
    return picture(width, height, "Change by category and criterion", parts)


def _heading(name: str, x: float) -> str:
    return text(x, TOP - 8, shortened(name or "no category", 18), turned=-35)


def _cell(cell: Mapping[str, Any] | None, x: float, y: float) -> list[str]:
    if cell is None:
        return [text(x + CELL / 2, y + ROW / 2 + 4, "–", "middle")]
    value = cell["value"]
    share = min(1.0, abs(value) / FULL)
    clear = spans(cell) and not cell["low"] <= 0 <= cell["high"]
    shown = f"{value:+.2f}" if round(value, 2) else "0"
    middle, words = x + CELL / 2, LIGHT if share > STRONG else DARK
    return [
        box(x + 1, y + 1, CELL - 2, ROW - 2, between(EVEN, BETTER if value > 0 else WORSE, share)),
        text(middle, y + ROW / 2 + 1, shown, "middle", colour=words, bold=clear),
        text(
            middle,
            y + ROW / 2 + 14,
            f"n {cell['n']}",
            "middle",
            colour=words,
            size=9,
        ),
    ]
