"""Curves of quality against what it took, a panel for each place, as plain SVG.

    lines = {"ours": [Spot(50, 3.1, 3.0, 3.2), Spot(100, 3.4, 3.3, 3.5)]}
    panels = [Panel("easy", "policy calls", lines, floor=2.4)]
    Path("docs/search.svg").write_text(curves("True quality, 1 to 5", panels))

Lines are means over seeds, bands their 95% intervals; the dashed line is the plain prompt. Legible
on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.sax.saxutils import escape

COLOURS = ("#1f7a4d", "#b04632", "#8a8f98", "#3566a8", "#7fa6dc", "#8a5a00", "#c9a04a")
GREY = "#9aa0a6"
WIDE, HIGH, ACROSS = 230, 150, 3
LEFT, TOP, GAP_X, GAP_Y = 40, 64, 50, 52


class Spot(NamedTuple):
    """A mean with its 95% interval, at what it took."""

    took: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """Every method at one place."""

    title: str
    unit: str
    """What the methods took, under the axis."""
    lines: Mapping[str, Sequence[Spot]]
    floor: float
    """The plain prompt, which takes nothing."""


def curves(title: str, panels: Sequence[Panel]) -> str:
    """The picture."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}
    rows = -(-len(panels) // ACROSS)
    width = LEFT + ACROSS * (WIDE + GAP_X)
    height = TOP + rows * (HIGH + GAP_Y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        _text(LEFT, 16, title),
    ]
    x = float(LEFT)
    for name in names:
        parts.append(f'<rect x="{x:.0f}" y="26" width="14" height="4" fill="{colours[name]}"/>')
        parts.append(_text(x + 18, 32, name))
        x += 34 + 6.4 * len(name)
    for at, panel in enumerate(panels):
        left = LEFT + (at % ACROSS) * (WIDE + GAP_X)
        parts += _panel(panel, colours, left, TOP + (at // ACROSS) * (HIGH + GAP_Y))
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, colours: Mapping[str, str], left: float, top: float) -> list[str]:
    spots = [spot for line in panel.lines.values() for spot in line]
    low = min([panel.floor, *(spot.low for spot in spots)])
    high = max([panel.floor, *(spot.high for spot in spots)])
    most = max((spot.took for spot in spots), default=1.0)
    digits = 1 if high > 1 else 2

    def place(took: float, value: float) -> tuple[float, float]:
        across = left + WIDE * took / most
        return across, top + HIGH * (1 - (value - low) / max(high - low, 1e-9))

    parts = [
        _text(left, top - 6, panel.title, weight="bold"),
        f'<rect x="{left}" y="{top}" width="{WIDE}" height="{HIGH}" fill="none" stroke="{GREY}" '
        'stroke-opacity="0.5"/>',
        _text(left - 4, top + 8, f"{high:.{digits}f}", "end"),
        _text(left - 4, top + HIGH, f"{low:.{digits}f}", "end"),
        _text(left, top + HIGH + 13, "0"),
        _text(left + WIDE / 2, top + HIGH + 13, panel.unit, "middle"),
        _text(left + WIDE, top + HIGH + 13, f"{most:,.0f}", "end"),
    ]
    y = place(0, panel.floor)[1]
    parts.append(
        f'<line x1="{left}" y1="{y:.1f}" x2="{left + WIDE}" y2="{y:.1f}" stroke="{GREY}" '
        'stroke-dasharray="3 3"/>'
    )
    for name, line in panel.lines.items():
        upper = [place(spot.took, spot.high) for spot in line]
        lower = [place(spot.took, spot.low) for spot in line]
        middle = [place(spot.took, spot.mean) for spot in line]
        parts += [
            f'<polygon points="{_points([*upper, *lower[::-1]])}" fill="{colours[name]}" '
            f'fill-opacity="0.15" stroke="{colours[name]}" stroke-opacity="0.15"/>',
            f'<polyline points="{_points(middle)}" fill="none" stroke="{colours[name]}" '
            'stroke-width="1.8"/>',
        ]
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colours[name]}"/>' for x, y in middle
        ]
    return parts


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="#6b7178">{escape(text)}</text>'
    )
