"""Ways to judge as a picture: agreement with people, the line of a coin, a dot for each set.

    svg = judges_chart(results)         # what results.json of `trueup judge` holds

The large dot is the mean of the sets with its 95% interval; small ones are the sets. Plain SVG,
legible on light and dark pages, every text escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from trueup.report.escaping import printable

LABEL, PLOT, VALUES, ROW, TOP = 170, 380, 150, 26, 58
LOW, HIGH = 0.2, 1.0
"""Ends of the axis; what lies outside is drawn at the end."""
MODEL, CODE, GREY = "#1f7a4d", "#8a5a00", "#9aa0a6"


def judges_chart(results: Mapping[str, Any]) -> str:
    """The picture."""
    rows = [(name, row) for name, row in results["methods"].items() if row["all"]["agreement"]]
    width, height = LABEL + PLOT + VALUES, TOP + ROW * max(1, len(rows)) + 16
    drawn = [_row(name, row, TOP + ROW * at + ROW // 2) for at, (name, row) in enumerate(rows)]
    text = escape(printable(str(results["advice"]["text"])))
    bottom = height - 12
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" font-size="12">',
            f"<title>{text}</title>",
            _text(LABEL, 18, "Agreement with people, 95% intervals; small dots are single sets"),
            *(_grid(share, bottom) for share in (0.25, 0.5, 0.75, 1.0)),
            *drawn,
            "</svg>\n",
        ]
    )


def _grid(share: float, bottom: int) -> str:
    coin = share == 0.5
    stroke = f'stroke="{GREY}" stroke-width="{2 if coin else 1}"'
    dashes = "" if coin else ' stroke-dasharray="2 4"'
    label = "coin" if coin else f"{share:g}"
    return (
        f'<line x1="{_x(share):.1f}" x2="{_x(share):.1f}" y1="{TOP - 8}" y2="{bottom}" '
        f'{stroke}{dashes} stroke-opacity="0.6"/>'
        + _text(_x(share), TOP - 14, label, anchor="middle")
    )


def _row(name: str, row: Mapping[str, Any], y: int) -> str:
    found, colour = row["all"]["agreement"], MODEL if row["asks"] else CODE
    parts = [_text(LABEL - 12, y + 4, name, anchor="end")]
    for one in row["sets"].values():
        if one["agreement"]:
            x = _x(one["agreement"]["value"])
            parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="2.5" fill="{GREY}"/>')
    parts.append(
        f'<line x1="{_x(found["low"]):.1f}" x2="{_x(found["high"]):.1f}" y1="{y}" y2="{y}" '
        f'stroke="{colour}" stroke-width="3" stroke-opacity="0.55"/>'
    )
    parts.append(f'<circle cx="{_x(found["value"]):.1f}" cy="{y}" r="5" fill="{colour}"/>')
    value = f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
    parts.append(_text(LABEL + PLOT + 14, y + 4, value))
    return "\n".join(parts)


def _x(share: float) -> float:
    return LABEL + PLOT * (min(max(share, LOW), HIGH) - LOW) / (HIGH - LOW)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="#767b83">'
        f"{escape(printable(text))}</text>"
    )
