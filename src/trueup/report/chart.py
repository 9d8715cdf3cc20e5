"""Before and after as a picture: a line per measure, a dot for each model, bars for the intervals.

    svg = before_after(results)         # what results.json holds

Shares and rewards only, since those have ends to draw between. It is plain SVG without a style
sheet, a script or a font of its own, legible on light and dark pages alike, and every text in it is
escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from trueup.report.escaping import printable

GROUPS = ("safety", "reward", "criterion", "behaviour")
SCALES = {"share": (0.0, 1.0), "score": (1.0, 5.0)}
MOST_ROWS = 24
LABEL, PLOT, VALUES = 190, 360, 130
"""Widths of the three columns, in pixels."""
ROW, TOP = 26, 44
BEFORE, AFTER, GREY = "#8a8f98", "#1f7a4d", "#9aa0a6"


def before_after(results: Mapping[str, Any]) -> str:
    """The picture; one that says so where nothing was measured."""
    rows = [
        row
        for row in results["comparison"]["table"]
        if row["group"] in GROUPS and row["unit"] in SCALES and row["before"] and row["after"]
    ][:MOST_ROWS]
    width, height = LABEL + PLOT + VALUES, TOP + ROW * max(1, len(rows)) + 12
    drawn = [_row(row, TOP + ROW * at + ROW // 2) for at, row in enumerate(rows)]
    if not rows:
        drawn = [_text(LABEL, TOP + ROW // 2 + 4, "nothing was measured")]
    title = escape(printable(str(results["summary"])))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" font-size="12">',
            f"<title>{title}</title>",
            *_legend(),
            *drawn,
            "</svg>\n",
        ]
    )


def _legend() -> list[str]:
    y = 20
    return [
        f'<circle cx="{LABEL}" cy="{y}" r="5" fill="{BEFORE}"/>',
        _text(LABEL + 10, y + 4, "before"),
        f'<circle cx="{LABEL + 80}" cy="{y}" r="5" fill="{AFTER}"/>',
        _text(LABEL + 90, y + 4, "after, with 95% intervals"),
    ]


def _row(row: Mapping[str, Any], y: int) -> str:
    low, high = SCALES[row["unit"]]
    before, after = row["before"], row["after"]

    def x(value: float) -> float:
        return LABEL + PLOT * (min(max(value, low), high) - low) / (high - low)

    name = row["name"] if len(row["name"]) <= 28 else row["name"][:27] + "…"
    parts = [
        _text(LABEL - 12, y + 4, name, anchor="end"),
        _line(LABEL, LABEL + PLOT, y, GREY, 1, 0.4),
        *_estimate(x, before, y - 4, BEFORE),
        *_estimate(x, after, y + 4, AFTER),
        _text(LABEL + PLOT + 14, y + 4, f"{before['value']:.2f} → {after['value']:.2f}"),
    ]
    return "\n".join(parts)


def _estimate(x: Any, found: Mapping[str, Any], y: int, colour: str) -> list[str]:
    parts = []
    if found["low"] is not None and found["high"] is not None:
        parts.append(_line(x(found["low"]), x(found["high"]), y, colour, 3, 0.55))
    return [*parts, f'<circle cx="{x(found["value"]):.1f}" cy="{y}" r="4.5" fill="{colour}"/>']


def _line(left: float, right: float, y: int, colour: str, width: int, opacity: float) -> str:
    return (
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-opacity="{opacity}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="#767b83">'
        f"{escape(printable(text))}</text>"
    )
