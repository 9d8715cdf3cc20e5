"""All pictures of a run, by the names of their files.

    for name, svg in drawn(results).items():       # results: what results.json holds
        (folder / name).write_text(svg)

Before and after is always among them; the others are where there is something to draw: no plane of
safety without queries that are to be refused and others that are to be answered. What is drawn how
is in the files beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trueup.report.chart import before_after
from trueup.report.heat_map import heat_map
from trueup.report.safety_chart import safety_chart
from trueup.report.wins_chart import wins_chart

BEFORE_AFTER = "before_after.svg"
SAFETY, WINS, CHANGE = "safety.svg", "wins.svg", "change.svg"
ALBUM = {
    BEFORE_AFTER: "Before and after, with 95% intervals",
    SAFETY: "Over-refusal against attack success, with 95% intervals",
    WINS: "Replies that became better and worse",
    CHANGE: "Change by category and criterion",
}
"""Files, and what a reader hears who cannot see them; in the page's order."""


def shown(results: Mapping[str, Any]) -> dict[str, str]:
    """Which pictures these results have, with their words."""
    numbers = results.get("pictures", {})
    there = {
        BEFORE_AFTER: True,
        SAFETY: numbers.get("safety"),
        WINS: numbers.get("wins"),
        CHANGE: numbers.get("change"),
    }
    return {name: words for name, words in ALBUM.items() if there[name]}


def drawn(results: Mapping[str, Any]) -> dict[str, str]:
    """The pictures that there are, as SVG."""
    numbers = results.get("pictures", {})
    draw = {
        BEFORE_AFTER: lambda: before_after(results["comparison"]["table"], str(results["summary"])),
        SAFETY: lambda: safety_chart(numbers["safety"]),
        WINS: lambda: wins_chart(numbers["wins"]),
        CHANGE: lambda: heat_map(numbers["change"]),
    }
    return {name: draw[name]() for name in shown(results)}
