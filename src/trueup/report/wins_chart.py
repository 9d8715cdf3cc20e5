"""How often one model's reply was the better one: a bar per row, of wins, ties and losses.

    svg = wins_chart(pictures["wins"])      # evaluation.pictures

A mean may rise because a few replies rose a lot; this says how many did. The win rate beside each
bar counts ties as half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trueup.report.drawing import BETTER, EVEN, WORSE, box, line, picture, shortened, spans, text

PARTS = (
    ("wins", "better", BETTER, "#ffffff"),
    ("ties", "the same", EVEN, "#22262b"),
    ("losses", "worse", WORSE, "#ffffff"),
)
"""Each part of a bar: its key, its word, its colour, and the colour of words on it."""
MOST_ROWS = 24
LABEL, PLOT, VALUES, ROW, TOP, BAR = 200, 360, 170, 28, 66, 20
NARROW = 22
"""Pixels that a number needs."""


def wins_chart(rows: Sequence[Mapping[str, Any]], title: str = "After against before") -> str:
    """The picture; one that says so where there is nothing to draw.

    A row is {"name", "wins", "ties", "losses", "rate"}, the rate an interval or None.
    """
    rows = [row for row in rows if row["wins"] + row["ties"] + row["losses"]][:MOST_ROWS]
    height = TOP + ROW * max(1, len(rows)) + 12
    parts = [text(12, 20, f"{title}, reply by reply; win rates with 95% intervals"), *_legend()]
    parts += [_row(row, TOP + ROW * at) for at, row in enumerate(rows)]
    if rows:
        middle = LABEL + PLOT / 2
        parts.append(line(middle, TOP - 6, middle, height - 10, dashes="2 4"))
    else:
        parts.append(text(LABEL, TOP + 14, "nothing was measured"))
    return picture(LABEL + PLOT + VALUES, height, title, parts)


def _legend() -> list[str]:
    parts = []
    for at, (_, word, colour, _) in enumerate(PARTS):
        x = LABEL + 100 * at
        parts += [box(x, 36, 12, 12, colour), text(x + 18, 46, word)]
    return parts


def _row(row: Mapping[str, Any], top: float) -> str:
    total, x = sum(row[key] for key, *_ in PARTS), float(LABEL)
    y = top + BAR - 6
    parts = [text(LABEL - 12, y, shortened(row["name"], 26), "end")]
    for key, _, colour, words in PARTS:
        width = PLOT * row[key] / total
        if row[key]:
            parts.append(box(x, top, width, BAR, colour))
        if width >= NARROW:
            parts.append(text(x + width / 2, y, str(row[key]), "middle", colour=words))
        x += width
    return "\n".join([*parts, text(LABEL + PLOT + 14, y, _rate(row["rate"]))])


def _rate(rate: Mapping[str, Any] | None) -> str:
    if rate is None:
        return "–"
    if not spans(rate):
        return f"{rate['value']:.0%}"
    return f"{rate['value']:.0%} [{rate['low']:.0%}, {rate['high']:.0%}]"
