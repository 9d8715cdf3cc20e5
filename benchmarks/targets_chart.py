"""How far each figure is from its goal, as a picture: one line, the goal in the middle.

    svg = picture(rows)      # rows with name, goal, value, met, benchmark

To the right of the line is better than the goal, to the left is worse, as a factor on a
logarithmic scale that ends at ten times. Only goals that are one number with a direction can be
drawn (`>= 0.8`, `<= 60`); the others are in the table. Plain SVG, legible on light and dark pages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

LABEL, PLOT, VALUES = 470, 300, 150
ROW, TOP, LONGEST = 18, 40, 74
MET, MISSED, GREY = "#1f7a4d", "#b3452c", "#9aa0a6"
FARTHEST = 10.0
"""The factor at which the scale ends."""
_GOAL = re.compile(r"^(>=|<=|>|<)\s*([0-9][0-9,]*(?:\.[0-9]+)?)$")


def factor(goal: str, value: object) -> float | None:
    """How many times better than its goal a value is; None where that cannot be said."""
    read = _GOAL.match(goal.strip())
    if read is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    limit = float(read[2].replace(",", ""))
    if limit <= 0 or value <= 0:
        return None
    return value / limit if read[1].startswith(">") else limit / value


def picture(rows: Sequence[Mapping[str, Any]]) -> str:
    drawable = [
        (row, times)
        for row in rows
        if (times := factor(str(row["goal"]), row["value"])) is not None
    ]
    width, height = LABEL + PLOT + VALUES, TOP + ROW * max(1, len(drawable)) + 10
    middle, bottom = _x(1.0), TOP + ROW * len(drawable)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" font-size="11">',
        "<title>Each figure beside its goal</title>",
        _text(middle, 14, "goal", "middle"),
    ]
    for times, said in ((0.1, "10 times worse"), (10.0, "10 times better")):
        parts.append(_text(_x(times), 28, said, "middle"))
    for times in (0.1, 0.5, 1.0, 2.0, 10.0):
        parts.append(
            f'<line x1="{_x(times):.1f}" x2="{_x(times):.1f}" y1="{TOP - 6}" y2="{bottom}" '
            f'stroke="{GREY}" stroke-opacity="{0.9 if times == 1 else 0.35}"/>'
        )
    for at, (row, times) in enumerate(drawable):
        y, colour = TOP + ROW * at + ROW / 2, MET if row["met"] else MISSED
        name = f"{row['benchmark']}: {row['name']}"
        name = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
        value = f"{row['value']:.4g} ({row['goal']})"
        parts += [
            _text(LABEL - 10, y + 4, name, "end"),
            f'<line x1="{middle:.1f}" x2="{_x(times):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            'stroke-width="3" stroke-opacity="0.5"/>',
            f'<circle cx="{_x(times):.1f}" cy="{y}" r="4.5" fill="{colour}"/>',
            _text(LABEL + PLOT + 24, y + 4, value, "start"),
        ]
    return "\n".join([*parts, "</svg>\n"])


def _x(times: float) -> float:
    share = math.log(min(max(times, 1 / FARTHEST), FARTHEST)) / math.log(FARTHEST)
    return LABEL + PLOT * (share + 1) / 2


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="#767b83">{escape(text)}</text>'
    )
