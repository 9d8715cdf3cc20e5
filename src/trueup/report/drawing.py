"""What pictures are made of: words, lines, dots and boxes, as plain SVG.

    svg = picture(400, 80, "One dot", [dot(40, 40, AFTER), text(60, 44, "after")])

No style sheet, no script, no font of its own: the same file is legible on light and dark pages,
since nothing but mid tones is drawn on the page itself, and in a viewer that knows little of SVG.
Every text passes through `text` and `picture`, which escape it. It knows nothing of results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from trueup.report.escaping import printable

BEFORE, AFTER = "#8a8f98", "#1f7a4d"
"""The base model and the aligned one."""
BETTER, WORSE, EVEN = "#1f7a4d", "#8a4a9e", "#eceef0"
"""Green and purple, which people who see no red or no green can tell apart."""
GREY, WORDS = "#9aa0a6", "#767b83"
"""Rules, and words that stand on the page: as far from white as from black."""


def picture(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """The whole file; the title is what a reader hears who cannot see it."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="sans-serif" '
            'font-size="12">',
            f"<title>{escape(printable(title))}</title>",
            *parts,
            "</svg>\n",
        ]
    )


def text(
    x: float,
    y: float,
    words: str,
    anchor: str = "start",
    *,
    colour: str = WORDS,
    size: int | None = None,
    bold: bool = False,
    turned: float = 0,
) -> str:
    """Words beginning, centred ("middle") or ending ("end") at a point; turned by degrees."""
    more = f' font-size="{size}"' if size else ""
    more += ' font-weight="bold"' if bold else ""
    more += f' transform="rotate({turned:g} {x:.0f} {y:.0f})"' if turned else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}"{more}>'
        f"{escape(printable(words))}</text>"
    )


def line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    colour: str = GREY,
    *,
    width: float = 1,
    opacity: float = 1,
    dashes: str = "",
) -> str:
    """A straight line; `dashes` as SVG has them, "2 4"."""
    more = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}" stroke-opacity="{opacity:g}"{more}/>'
    )


def dot(x: float, y: float, colour: str, radius: float = 4.5) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>'


def box(x: float, y: float, width: float, height: float, colour: str) -> str:
    """A filled rectangle."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def shape(points: Iterable[tuple[float, float]], colour: str) -> str:
    """A filled polygon."""
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{told}" fill="{colour}"/>'


def shortened(name: str, longest: int) -> str:
    """A name with its end cut off where it would not fit."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def between(one: str, other: str, share: float) -> str:
    """The colour that far (0 to 1) from one "#rrggbb" to the other."""
    pairs = ((int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(low + (high - low) * share):02x}" for low, high in pairs)


def spans(found: Mapping[str, Any]) -> bool:
    """Whether an estimate has an interval to draw."""
    return found["low"] is not None and found["high"] is not None
