"""Before and after as a picture: a line per measure, a dot for each model, bars for the intervals.

    svg = before_after(results["comparison"]["table"], "0.49 → 0.87")

Shares and rewards only, since those have ends to draw between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trueup.report.drawing import AFTER, BEFORE, dot, line, picture, shortened, spans, text

GROUPS = ("safety", "reward", "criterion", "behaviour", "figure")
SCALES = {"share": (0.0, 1.0), "score": (1.0, 5.0)}
MOST_ROWS = 24
LABEL, PLOT, VALUES = 200, 360, 130
"""Widths of the three columns, in pixels."""
ROW, TOP = 26, 44


def before_after(
    rows: Iterable[Mapping[str, Any]], title: str, names: tuple[str, str] = ("before", "after")
) -> str:
    """The picture of a comparison's rows; one that says so where nothing was measured."""
    rows = [
        row
        for row in rows
        if row["group"] in GROUPS and row["unit"] in SCALES and row["before"] and row["after"]
    ][:MOST_ROWS]
    height = TOP + ROW * max(1, len(rows)) + 12
    drawn = [_row(row, TOP + ROW * at + ROW // 2) for at, row in enumerate(rows)]
    if not rows:
        drawn = [text(LABEL, TOP + ROW // 2 + 4, "nothing was measured")]
    return picture(LABEL + PLOT + VALUES, height, title, [*_legend(names), *drawn])


def _legend(names: tuple[str, str]) -> list[str]:
    y = 20
    return [
        dot(LABEL, y, BEFORE),
        text(LABEL + 10, y + 4, names[0]),
        dot(LABEL + 80, y, AFTER),
        text(LABEL + 90, y + 4, f"{names[1]}, with 95% intervals"),
    ]


def _row(row: Mapping[str, Any], y: int) -> str:
    low, high = SCALES[row["unit"]]
    before, after = row["before"], row["after"]

    def x(value: float) -> float:
        return LABEL + PLOT * (min(max(value, low), high) - low) / (high - low)

    return "\n".join(
        [
            text(LABEL - 12, y + 4, shortened(row["name"], 26), "end"),
            line(LABEL, y, LABEL + PLOT, y, opacity=0.4),
            *_estimate(x, before, y - 4, BEFORE),
            *_estimate(x, after, y + 4, AFTER),
            text(LABEL + PLOT + 14, y + 4, f"{before['value']:.2f} → {after['value']:.2f}"),
        ]
    )


def _estimate(
    x: Callable[[float], float], found: Mapping[str, Any], y: int, colour: str
) -> list[str]:
    parts = []
    if spans(found):
        parts.append(line(x(found["low"]), y, x(found["high"]), y, colour, width=3, opacity=0.55))
    return [*parts, dot(x(found["value"]), y, colour)]
