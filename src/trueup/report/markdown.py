"""One run as one page of Markdown: what changed, how sure that is, how it came about.

    text = report(results)          # what results.json holds

The page, with its pictures beside it (`album`), is made of the run's results alone, so it can be
made again at any time; wording and order are in `report.md.j2`. It measures nothing and opens
nothing. All that models and users wrote is escaped (see `escaping`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from trueup.report.album import shown
from trueup.report.escaping import Safe, cell, fence

REPORT = "report.md"

GROUPS = {
    "safety": "Safety",
    "reward": "Reward",
    "criterion": "By criterion",
    "category": "Reward by category",
    "behaviour": "Right behaviour by category",
    "outcome": "What became of the queries",
    "length": "Length",
    "cost": "Cost of a reply",
}
"""Groups of measures, in the page's order."""
SAMPLES = 8
"""Queries shown with both replies."""


def report(results: Mapping[str, Any]) -> str:
    """The page."""
    return _template().render(
        r=results,
        groups=list(_grouped(results["comparison"]["table"])),
        samples=_samples(results["comparison"]),
        pictures={name: Safe(f"![{words}]({name})") for name, words in shown(results).items()},
        failed=sum(results["verdicts"]["failed"].values()),
    )


def interval(found: Mapping[str, Any] | None, unit: str = "share", signed: bool = False) -> Safe:
    """An estimate with its range, as text."""
    if found is None:
        return Safe("–")
    sign = "+" if signed else ""
    digits = 1 if unit in ("words", "tokens") else 2
    value = f"{found['value']:{sign}.{digits}f}"
    if found["low"] is None or found["high"] is None:
        return Safe(value)
    return Safe(f"{value} [{found['low']:{sign}.{digits}f}, {found['high']:{sign}.{digits}f}]")


def number(value: float | None, digits: int = 2) -> Safe:
    """A number, or a dash where there is none."""
    return Safe("–" if value is None else f"{value:,.{digits}f}")


class _Environment(Environment):
    """Reads `row.clear` as the results' "clear", not as what every dict can do."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


@cache
def _template() -> Template:
    environment = _Environment(
        loader=FunctionLoader(_file),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Not HTML: whatever is put in is made harmless as Markdown instead.
        autoescape=False,
        finalize=lambda value: value if isinstance(value, Safe) else cell(value),
    )
    environment.filters |= {"fence": fence, "interval": interval, "number": number}
    return environment.get_template("report.md.j2")


def _file(name: str) -> str:
    return (resources.files("trueup.report") / name).read_text("utf-8")


def _grouped(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {name: [] for name in GROUPS}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    return ((GROUPS.get(name, name), found) for name, found in groups.items() if found)


def _samples(comparison: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Queries with both replies: those that changed most either way, gains and losses in turn."""
    pairs = [
        {"query": one["query"], "before": one, "after": other, "gain": _gain(one, other)}
        for one, other in zip(
            comparison["before"].get("results", ()),
            comparison["after"].get("results", ()),
            strict=False,
        )
    ]
    gains = sorted((p for p in pairs if p["gain"] > 0), key=lambda p: -p["gain"])
    losses = sorted((p for p in pairs if p["gain"] < 0), key=lambda p: p["gain"])
    shown = gains[: SAMPLES // 2] + losses[: SAMPLES // 2]
    if len(shown) < SAMPLES:
        shown += [p for p in pairs if p["gain"] == 0][: SAMPLES - len(shown)]
    return shown


def _gain(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    if before["reward"] is None or after["reward"] is None:
        return 0.0
    return float(after["reward"] - before["reward"])
