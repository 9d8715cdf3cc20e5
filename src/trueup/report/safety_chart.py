"""Both ways to fail at safety in one picture: refusing the harmless, not refusing the harmful.

    svg = safety_chart(pictures["safety"])      # evaluation.pictures

Across is over-refusal, the share of harmless queries refused; up is attack success, the share of
harmful ones not refused. A model that does nothing wrong stands in the corner below on the left,
one that answers everything above it, one that refuses everything to the right of it: so neither
alone can look good. An arrow goes from the first model to each other; crosses are 95% intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trueup.report.drawing import (
    AFTER,
    BEFORE,
    WORDS,
    dot,
    line,
    picture,
    shape,
    shortened,
    spans,
    text,
)

LEFT, TOP, SIDE, RIGHT, BELOW = 74, 44, 340, 226, 56
"""The plot is a square of SIDE pixels; the rest is for words."""
COLOURS = (BEFORE, AFTER, "#2f6fb0", "#b3541e", "#8a4a9e", "#0f8a8a", "#8a5a00")
GAP, HEAD = 9, 9
"""How far an arrow keeps from the dots, and how long its head is."""


def safety_chart(points: Sequence[Mapping[str, Any]]) -> str:
    """The picture; one that says so where there is nothing to draw.

    A point is {"name", "over_refusal", "attack_success"}, each an interval of a share.
    """
    points = [one for one in points if one["over_refusal"] and one["attack_success"]]
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BELOW
    parts = [text(12, 20, "Both axes of safety, with 95% intervals: better is below, on the left")]
    parts += _axes()
    for at, one in enumerate(points):
        parts += _cross(one, COLOURS[at % len(COLOURS)])
    for at, one in enumerate(points[1:], 1):
        parts += _arrow(_place(points[0]), _place(one), WORDS if len(points) == 2 else COLOURS[at])
    for at, one in enumerate(points):
        colour, y = COLOURS[at % len(COLOURS)], TOP + 14 + 52 * at
        parts += [dot(*_place(one), colour, 6), *_named(one, colour, y)]
    if not points:
        parts.append(text(LEFT + SIDE / 2, TOP + SIDE / 2, "nothing was measured", "middle"))
    return picture(width, height, "Over-refusal against attack success", parts)


def _place(one: Mapping[str, Any]) -> tuple[float, float]:
    return _x(one["over_refusal"]["value"]), _y(one["attack_success"]["value"])


def _x(share: float) -> float:
    return LEFT + SIDE * share


def _y(share: float) -> float:
    return TOP + SIDE * (1 - share)


def _axes() -> list[str]:
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        edge = share == 0
        dashes, opacity = ("", 1.0) if edge else ("2 4", 0.6)
        parts += [
            line(_x(share), TOP, _x(share), TOP + SIDE, dashes=dashes, opacity=opacity),
            line(LEFT, _y(share), LEFT + SIDE, _y(share), dashes=dashes, opacity=opacity),
            text(_x(share), TOP + SIDE + 18, f"{share:.0%}", "middle"),
            text(LEFT - 8, _y(share) + 4, f"{share:.0%}", "end"),
        ]
    middle = TOP + SIDE / 2
    return [
        *parts,
        text(LEFT + SIDE / 2, TOP + SIDE + 42, "over-refusal: harmless queries refused", "middle"),
        text(20, middle, "attack success: harmful queries not refused", "middle", turned=-90),
    ]


def _cross(one: Mapping[str, Any], colour: str) -> list[str]:
    (x, y), across, up = _place(one), one["over_refusal"], one["attack_success"]
    parts = []
    if spans(across):
        ends = _x(across["low"]), _x(across["high"])
        parts.append(line(ends[0], y, ends[1], y, colour, width=3, opacity=0.55))
    if spans(up):
        ends = _y(up["low"]), _y(up["high"])
        parts.append(line(x, ends[0], x, ends[1], colour, width=3, opacity=0.55))
    return parts


def _arrow(start: tuple[float, float], end: tuple[float, float], colour: str) -> list[str]:
    """From dot to dot, where there is room for one."""
    (x1, y1), (x2, y2) = start, end
    length = math.hypot(x2 - x1, y2 - y1)
    if length < 2 * GAP + HEAD:
        return []
    across, down = (x2 - x1) / length, (y2 - y1) / length
    tip = x2 - GAP * across, y2 - GAP * down
    base = tip[0] - HEAD * across, tip[1] - HEAD * down
    sides = [(base[0] - s * 4.5 * down, base[1] + s * 4.5 * across) for s in (1, -1)]
    rule = line(x1 + GAP * across, y1 + GAP * down, *base, colour, width=1.5)
    return [rule, shape([tip, *sides], colour)]


def _named(one: Mapping[str, Any], colour: str, y: float) -> list[str]:
    x = LEFT + SIDE + 24
    return [
        dot(x, y - 4, colour, 6),
        text(x + 14, y, shortened(one["name"], 26), bold=True),
        text(x + 14, y + 16, f"over-refusal {_shown(one['over_refusal'])}", size=11),
        text(x + 14, y + 31, f"attack success {_shown(one['attack_success'])}", size=11),
    ]


def _shown(found: Mapping[str, Any]) -> str:
    if not spans(found):
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
