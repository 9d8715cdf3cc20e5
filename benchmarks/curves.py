"""Curves of true quality against policy calls, a panel for each world, as plain SVG.

    Path("docs/search.svg").write_text(curves(results["worlds"]))

Lines are means over seeds, bands their 95% intervals; the dashed line is the plain prompt. Legible
on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

COLOURS = ("#1f7a4d", "#5aa17f", "#b04632", "#8a8f98", "#3566a8", "#8a5a00", "#7b4ea3")
GREY = "#9aa0a6"
WIDE, HIGH, ACROSS = 230, 150, 3
LEFT, TOP, GAP_X, GAP_Y = 40, 64, 50, 52


def curves(worlds: Mapping[str, Any]) -> str:
    """The picture."""
    names = list(dict.fromkeys(n for rows in worlds.values() for n in rows if n != "plain"))
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}
    rows = -(-len(worlds) // ACROSS)
    width = LEFT + ACROSS * (WIDE + GAP_X)
    height = TOP + rows * (HIGH + GAP_Y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" font-size="11">',
        "<title>True quality on held-out queries against policy calls</title>",
        _text(LEFT, 16, "True quality on held-out queries, 1 to 5, against policy calls"),
    ]
    x = float(LEFT)
    for name in names:
        parts.append(f'<rect x="{x:.0f}" y="26" width="14" height="4" fill="{colours[name]}"/>')
        parts.append(_text(x + 18, 32, name))
        x += 34 + 6.4 * len(name)
    for at, (kind, found) in enumerate(worlds.items()):
        left = LEFT + (at % ACROSS) * (WIDE + GAP_X)
        parts += _panel(kind, found, colours, left, TOP + (at // ACROSS) * (HIGH + GAP_Y))
    return "\n".join([*parts, "</svg>\n"])


def _panel(
    kind: str, found: Mapping[str, Any], colours: Mapping[str, str], left: float, top: float
) -> list[str]:
    methods = {name: row["by_policy_calls"] for name, row in found.items() if name != "plain"}
    values = [v for row in methods.values() for three in row.values() for v in three]
    low, high = min([found["plain"][0], *values]), max(values)
    most = max(float(budget) for row in methods.values() for budget in row)

    def place(budget: float, value: float) -> tuple[float, float]:
        across = left + WIDE * float(budget) / most
        return across, top + HIGH * (1 - (value - low) / max(high - low, 1e-9))

    parts = [
        _text(left, top - 6, kind, weight="bold"),
        f'<rect x="{left}" y="{top}" width="{WIDE}" height="{HIGH}" fill="none" stroke="{GREY}" '
        'stroke-opacity="0.5"/>',
        _text(left - 4, top + 8, f"{high:.1f}", "end"),
        _text(left - 4, top + HIGH, f"{low:.1f}", "end"),
        _text(left, top + HIGH + 13, "0"),
        _text(left + WIDE, top + HIGH + 13, f"{most:.0f}", "end"),
    ]
    y = place(0, found["plain"][0])[1]
    parts.append(
        f'<line x1="{left}" y1="{y:.1f}" x2="{left + WIDE}" y2="{y:.1f}" stroke="{GREY}" '
        'stroke-dasharray="3 3"/>'
    )
    for name, row in methods.items():
        upper = [place(b, three[2]) for b, three in row.items()]
        lower = [place(b, three[1]) for b, three in row.items()]
        band = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *lower[::-1]])
        line = " ".join(
            f"{x:.1f},{y:.1f}" for x, y in (place(b, three[0]) for b, three in row.items())
        )
        parts.append(f'<polygon points="{band}" fill="{colours[name]}" fill-opacity="0.15"/>')
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colours[name]}" stroke-width="1.8"/>'
        )
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="#6b7178">{escape(text)}</text>'
    )
