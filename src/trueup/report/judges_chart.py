"""Ways to judge as a picture: agreement with people, the line of a coin, a dot for each set.

    svg = judges_chart(results)         # what results.json of `trueup judge` holds

The large dot is the mean of the sets with its 95% interval; small ones are the sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trueup.report.drawing import GREY, dot, line, picture, text

LABEL, PLOT, VALUES, ROW, TOP = 170, 380, 150, 26, 58
LOW, HIGH = 0.2, 1.0
"""Ends of the axis; what lies outside is drawn at the end."""
MODEL, CODE = "#1f7a4d", "#8a5a00"


def judges_chart(results: Mapping[str, Any]) -> str:
    """The picture."""
    rows = [(name, row) for name, row in results["methods"].items() if row["all"]["agreement"]]
    width, height = LABEL + PLOT + VALUES, TOP + ROW * max(1, len(rows)) + 16
    head = "Agreement with people, 95% intervals; small dots are single sets"
    return picture(
        width,
        height,
        str(results["advice"]["text"]),
        [
            text(LABEL, 18, head),
            *(_grid(share, height - 12) for share in (0.25, 0.5, 0.75, 1.0)),
            *(_row(name, row, TOP + ROW * at + ROW // 2) for at, (name, row) in enumerate(rows)),
        ],
    )


def _grid(share: float, bottom: int) -> str:
    coin, x = share == 0.5, _x(share)
    dashes = "" if coin else "2 4"
    rule = line(x, TOP - 8, x, bottom, width=2 if coin else 1, opacity=0.6, dashes=dashes)
    return rule + text(x, TOP - 14, "coin" if coin else f"{share:g}", "middle")


def _row(name: str, row: Mapping[str, Any], y: int) -> str:
    found, colour = row["all"]["agreement"], MODEL if row["asks"] else CODE
    value = f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
    sets = [one["agreement"]["value"] for one in row["sets"].values() if one["agreement"]]
    return "\n".join(
        [
            text(LABEL - 12, y + 4, name, "end"),
            *(dot(_x(share), y, GREY, 2.5) for share in sets),
            line(_x(found["low"]), y, _x(found["high"]), y, colour, width=3, opacity=0.55),
            dot(_x(found["value"]), y, colour, 5),
            text(LABEL + PLOT + 14, y + 4, value),
        ]
    )


def _x(share: float) -> float:
    return LABEL + PLOT * (min(max(share, LOW), HIGH) - LOW) / (HIGH - LOW)
