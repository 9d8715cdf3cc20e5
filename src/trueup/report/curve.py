"""Quality against tokens as a picture: what a prompt still does as it is made shorter.

    svg = curve(results)            # what results.json of `trueup trim` holds

The line goes from the whole prompt through each step that was kept; small grey dots are pieces left
out alone. Quality is balanced safety where it is known, else the mean reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from trueup.report.drawing import AFTER, BEFORE, GREY, dot, line, picture, text

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 320, 60, 20, 30, 48


def curve(results: Mapping[str, Any]) -> str:
    """The picture; one that says so where nothing was measured."""
    steps = [one for one in results["steps"] if one["kept"]]
    safe = all(one["safety"] is not None for one in steps)
    name, high, low = ("safety", 1.0, 0.0) if safe else ("reward", 5.0, 1.0)
    alone = [one for one in results["alone"] if one[name] is not None]
    steps = [one for one in steps if one[name] is not None]
    title = str(results["summary"])
    if not steps:
        return picture(WIDTH, HEIGHT, title, [text(LEFT, HEIGHT / 2, "nothing was measured")])
    most = max(one["tokens"] for one in (*steps, *alone)) or 1.0

    def x(tokens: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * tokens / most

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [
        line(LEFT, y(low), WIDTH - RIGHT, y(low)),
        line(LEFT, y(low), LEFT, y(high)),
        *(text(LEFT - 8, y(at) + 4, f"{at:g}", "end") for at in (low, (low + high) / 2, high)),
        *(text(x(at), y(low) + 16, f"{at:.0f}", "middle") for at in (0, most / 2, most)),
        text((LEFT + WIDTH) / 2, HEIGHT - 10, "input tokens of a request", "middle"),
        text(LEFT, TOP - 12, "balanced safety" if safe else "mean reward"),
    ]
    if safe:
        floor = results["floor"]
        parts.append(line(LEFT, y(floor), WIDTH - RIGHT, y(floor), dashes="3 4"))
        parts.append(text(WIDTH - RIGHT, y(floor) + 14, "floor", "end"))
    parts += [dot(x(one["tokens"]), y(one[name]), GREY, 3) for one in alone]
    parts += [
        line(x(one["tokens"]), y(one[name]), x(two["tokens"]), y(two[name]), AFTER, width=2)
        for one, two in pairwise(steps)
    ]
    parts += [
        dot(x(one["tokens"]), y(one[name]), AFTER if at else BEFORE) for at, one in enumerate(steps)
    ]
    return picture(WIDTH, HEIGHT, title, parts)
