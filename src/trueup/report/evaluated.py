"""What `trueup evaluate` found, as tables, as a page and as pictures.

    headlines(results).rows                     # results: what results.json holds
    pictures = drawn(results)                   # by the names of their files
    text = page(results, pictures)

Where two were evaluated, every figure of the benchmarks is drawn under both; where a benchmark has
both axes of safety, they are drawn against each other. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trueup.report.chart import before_after
from trueup.report.escaping import cell
from trueup.report.markdown import interval
from trueup.report.safety_chart import safety_chart
from trueup.report.tables import Table
from trueup.report.tables import page as as_page

FIGURES, SAFETY = "figures.svg", "safety.svg"
WORDS = {
    FIGURES: "Every figure under both, with 95% intervals",
    SAFETY: "Over-refusal against attack success, with 95% intervals",
}
NEEDED = "needed: queries at which a difference like this is found 4 times in 5."
LOOKED_AT = "--until: a headline's difference stays true however often it is looked at."


def compares(results: Mapping[str, Any]) -> bool:
    """Whether two were evaluated."""
    return "against" in results["models"]


def headlines(results: Mapping[str, Any]) -> Table:
    """A row a benchmark."""
    pairs = compares(results)
    columns = ["", "headline", "against" if pairs else "model [95%]"]
    columns += ["model", "difference [95%]", "won/tied/lost", "needed"] if pairs else []
    rows = [_headline(name, one, pairs) for name, one in results["benchmarks"].items()]
    return Table("", [*columns, "n", "failed", "tokens added", "seconds"], rows)


def figures(name: str, results: Mapping[str, Any]) -> Table:
    """Every figure of one benchmark."""
    one, pairs = results["benchmarks"][name], compares(results)
    rows = []
    for row in one["table"]:
        cells = [row["group"], _directed(row), str(interval(row["before"]))]
        if pairs:
            gap = interval(_difference(row, one), signed=True)
            cells += [interval(row["after"]), gap, row["clear"] or ""]
        rows.append([*cells, str(row["n"]), str(row["failed"])])
    columns = ["against", "model", "difference [95%]", "clear"] if pairs else ["model [95%]"]
    return Table(f"{name}: {one['told']}", ["", "", *columns, "n", "failed"], rows)


def remarks(results: Mapping[str, Any]) -> list[str]:
    """How to read the headlines."""
    looked_at = any(one.get("sequential") for one in results["benchmarks"].values())
    return [*([NEEDED] if compares(results) else []), *([LOOKED_AT] if looked_at else [])]


def ended(results: Mapping[str, Any]) -> list[str]:
    """Why anything was not done, a line each."""
    told = [
        str(one["stopped"])
        for one in results["benchmarks"].values()
        if one["stopped"] and not one["n"]
    ]
    if results["stopped"]:
        told.append(f"Stopped early: {results['stopped']} The same command with more goes on.")
    return told


def page(results: Mapping[str, Any], pictures: Container[str] = ()) -> str:
    """The results as Markdown, with these pictures beside it."""
    who = [f"- {cell(label)}: {cell(one['told'])}" for label, one in results["models"].items()]
    parts = [
        "# Evaluated",
        f"**{cell(results['summary'])}**",
        "\n".join([*who, f"- judge: {cell(results['judge'])}"]),
        *(f"![{words}]({name})" for name, words in WORDS.items() if name in pictures),
        as_page(replace(headlines(results), title="Headlines")),
        "\n".join(f"- {cell(told)}" for told in (*remarks(results), *ended(results))),
    ]
    for name, one in results["benchmarks"].items():
        if one["table"]:
            parts.append(as_page(figures(name, results)))
            parts.append(f"Follows {cell(one['protocol'])} Differs: {cell(one['differs'])}")
    return "\n\n".join(part for part in parts if part) + "\n"


def drawn(results: Mapping[str, Any]) -> dict[str, str]:
    """The pictures that there are, as SVG."""
    found = {}
    if compares(results):
        rows = [
            row | {"name": f"{name}: {row['name']}"}
            for name, one in results["benchmarks"].items()
            for row in one["table"]
            if row["group"] in ("figure", "reward", "criterion")
        ]
        names = (str(results["models"]["against"]["told"])[:20], "model")
        found[FIGURES] = before_after(rows, str(results["summary"]), names)
    points = list(_points(results))
    if points:
        found[SAFETY] = safety_chart(points)
    return found


def _points(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Who stands where in the plane of safety, on the first benchmark that has both axes."""
    for one in results["benchmarks"].values():
        rows = {row["name"]: row for row in one["table"] if row["group"] == "figure"}
        axes = [rows.get(name) for name in ("over-refusal", "attack success")]
        if all(axes):
            sides = ("before", "after") if compares(results) else ("before",)
            return [
                {"name": label, "over_refusal": axes[0][side], "attack_success": axes[1][side]}  # type: ignore[index]
                for label, side in zip(results["models"], sides, strict=True)
            ]
    return []


def _headline(name: str, one: Mapping[str, Any], pairs: bool) -> Sequence[str]:
    row = one["headline"]
    if row is None:
        # Of every query there was, the figure could not be had.
        missing = ["–"] * (5 if pairs else 1)
        return [name, "nothing measured", *missing, "0", str(one["n"]), "–", "–"]
    cells = [name, _directed(row), str(interval(row["before"]))]
    if pairs:
        tally = "–" if row["wins"] is None else f"{row['wins']}/{row['ties']}/{row['losses']}"
        needed = "–" if row["needed"] is None else f"{row['needed']:,}"
        gap = str(interval(_difference(row, one), signed=True))
        if one.get("decided"):
            gap += " decided"
        cells += [interval(row["after"]), gap, tally, needed]
    costs = {cost["name"]: cost["after"] or cost["before"] for cost in one["table"]}
    added, seconds = one["tokens_added"], costs.get("seconds")
    cells += [str(row["n"]), str(row["failed"])]
    cells.append("–" if added is None else f"{added['tokens']:.0f}")
    return [*cells, "–" if seconds is None else f"{seconds['value']:.2f}"]


def _difference(row: Mapping[str, Any], one: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one to quote: of a headline that was looked at again and again, the one made for that."""
    main = one["headline"] or {}
    same = (row["group"], row["name"]) == (main.get("group"), main.get("name"))
    found: Mapping[str, Any] | None = (same and one.get("sequential")) or row["difference"]
    return found


def _directed(row: Mapping[str, Any]) -> str:
    better = {"higher": " ↑", "lower": " ↓"}.get(row["better"], "")
    return f"{row['name']}{better}"
