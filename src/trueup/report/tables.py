"""Tables of prompts or judges side by side, for the terminal and for a page alike.

    for table in compared(results):         # what results.json of `trueup compare` holds
        print(table.title, table.header, table.rows)
    page = beside(results)                  # the same as Markdown; matrix, shorter: of the others
    tables = judged(results)                # of `trueup judge`

A table is texts in rows: where they are shown decides how they are drawn. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trueup.report.escaping import cell
from trueup.report.markdown import interval
from trueup.report.safety_chart import safety_chart

GROUPS = ("safety", "reward", "criterion")
SAFETY = "safety.svg"
BY_CATEGORY = (("behaviour", "right behaviour"), ("category", "reward"))


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, the names of columns, and rows of texts."""

    title: str
    """Empty where the columns say enough."""
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def compared(results: Mapping[str, Any]) -> list[Table]:
    """What `trueup compare` found: the headline, what it costs, measures, categories."""
    candidates, reference = results["candidates"], results["reference"]
    found = [_headline(candidates, reference), *_seeds(results), _costs(candidates, reference)]
    for group, name in (*((one, one) for one in GROUPS), *BY_CATEGORY):
        table = _by_measure(candidates, group, name)
        # Where queries say how they should be met, behaviour by category says it without a judge.
        if table.rows and not (group == "category" and found[-1].title.startswith("right")):
            found.append(table)
    return found


def beside(results: Mapping[str, Any]) -> str:
    """The page of `trueup compare`."""
    told = [f"- {cell(name)}: {cell(one['told'])}" for name, one in results["candidates"].items()]
    title = f"Compared on {results['held_out']} held-out queries"
    told = ["\n".join(told), f"![over-refusal against attack success]({SAFETY})"]
    return _sheet(title, results, told, compared(results))


def plane(results: Mapping[str, Any]) -> str:
    """Every candidate of `trueup compare` in the plane of safety, the reference first."""
    candidates, reference = results["candidates"], results["reference"]
    others = [one["safety"] for name, one in candidates.items() if name != reference]
    return safety_chart([candidates[reference]["safety"], *others])


def matrix(results: Mapping[str, Any]) -> str:
    """The page of `trueup transfer`."""
    title = f"Prompts on other models, {results['held_out']} held-out queries"
    return _sheet(title, results, [], transferred(results))


def shorter(results: Mapping[str, Any]) -> str:
    """The page of `trueup trim`; the curve is a picture beside it."""
    title = f"Trimmed: chosen on {results['choosing']} queries, reported on {results['reporting']}"
    return _sheet(title, results, ["![what each step saved](curve.svg)"], trimmed(results))


def _sheet(
    title: str, results: Mapping[str, Any], told: Sequence[str], tables: Sequence[Table]
) -> str:
    head = [f"# {title}", f"**{cell(results['summary'])}**", f"Judge: {cell(results['judge'])}"]
    if results.get("stopped"):
        head.append(f"Stopped early: {cell(results['stopped'])}")
    notes = "\n".join(f"- {cell(note)}" for note in results["notes"])
    return "\n\n".join([*head, *told, *map(page, tables), *([notes] if notes else []), READ]) + "\n"


READ = (
    "Ranges are 95% intervals, paired over queries. p is adjusted for the number of candidates "
    "(Holm). Tokens and seconds are those of one reply; seconds depend on what else the model was "
    "doing."
)


def page(table: Table) -> str:
    """A table as Markdown."""
    lines = [
        f"## {table.title}\n",
        "| " + " | ".join(table.header) + " |",
        "| --- |" + " ---: |" * (len(table.header) - 1),
        *("| " + " | ".join(str(cell(one)) for one in row) + " |" for row in table.rows),
    ]
    return "\n".join(lines)


def p_value(p: float | None) -> str:
    """A p value as text."""
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _headline(candidates: Mapping[str, Any], reference: str) -> Table:
    name = next((one["headline"] for one in candidates.values() if one["headline"]), None)
    rows = []
    for candidate, one in candidates.items():
        alone = _row(one["alone"], name)
        against = _row(one["against"] or (), name)
        rows.append(
            [
                candidate,
                interval(alone["before"] if alone else None, _unit(alone)),
                interval(against["difference"], against["unit"], signed=True) if against else "–",
                p_value(against["p_holm"]) if against else "–",
                f"{against['wins']}/{against['ties']}/{against['losses']}" if against else "–",
                against["clear"] or "–" if against else "–",
            ]
        )
    return Table(
        name or "nothing could be measured",
        ["", "held-out", f"minus {reference}", "p", "win/tie/loss", "clear"],
        rows,
    )


def _seeds(results: Mapping[str, Any]) -> list[Table]:
    """What searches made several times are together; nothing where each was made once."""
    searches = results.get("searches") or {}
    rows = [
        [
            family,
            str(one["seeds"]),
            interval(one["after"], one["unit"]),
            interval(one["difference"], one["unit"], signed=True),
            f"{one['clearly_better']} of {one['seeds']}",
        ]
        for family, one in searches.items()
    ]
    reference = results["reference"]
    header = ["", "seeds", "held-out", f"minus {reference}", "clearly better"]
    title = "In the mean over seeds, intervals over seeds"
    return [Table(title, header, rows)] if rows else []


def _costs(candidates: Mapping[str, Any], reference: str) -> Table:
    rows = []
    for candidate, one in candidates.items():
        cost, spent = one["cost"], one["search"]
        usd = cost["usd_per_thousand"]
        gain = cost["gain_per_100_tokens"]
        rows.append(
            [
                candidate,
                interval(cost["tokens_in"], "tokens"),
                "–" if candidate == reference else interval(cost["added"], "tokens", signed=True),
                "–" if cost["cached"] is None else f"{cost['cached']:.0%}",
                interval(cost["seconds"], "seconds"),
                "unknown" if usd is None else f"${usd:.4f}",
                "–" if gain is None else f"{gain:+.3f}",
                f"{spent['policy_calls']} of {spent['calls']}" if spent else "0",
            ]
        )
    return Table(
        "What it costs",
        ["", "tokens in", f"more than {reference}", "cached", "seconds", "usd per 1,000 replies",
         "gain per 100 tokens", "calls of the search (policy, of all)"],
        rows,
    )  # fmt: skip


def _by_measure(candidates: Mapping[str, Any], group: str, title: str) -> Table:
    names: dict[str, None] = {}
    for one in candidates.values():
        names.update(dict.fromkeys(r["name"] for r in one["alone"] if r["group"] == group))
    rows = []
    for name in names:
        row = [name]
        for one in candidates.values():
            found = _row([r for r in one["alone"] if r["group"] == group], name)
            gap = _row([r for r in one["against"] or () if r["group"] == group], name)
            mark = {"better": " +", "worse": " −"}.get(gap["clear"] or "", "") if gap else ""
            row.append(interval(found["before"] if found else None, _unit(found)) + mark)
        rows.append(row)
    heading = f"{title} by category" if group in dict(BY_CATEGORY) else title
    return Table(f"{heading} (+ clearly better, − clearly worse)", ["", *candidates], rows)


def _row(rows: Sequence[Mapping[str, Any]], name: str | None) -> Mapping[str, Any] | None:
    return next((one for one in rows if one["name"] == name), None)


def _unit(row: Mapping[str, Any] | None) -> str:
    return str(row["unit"]) if row else "share"


def transferred(results: Mapping[str, Any]) -> list[Table]:
    """What `trueup transfer` found: prompts by models, with what each gains on each."""
    models, cells = list(results["cells"]), results["cells"]
    prompts = [name for name in next(iter(cells.values()), {}) if name != "plain"]
    name, plain = "nothing could be measured", ["plain"]
    rows = []
    for prompt in prompts:
        row = [prompt]
        for model in models:
            head = cells[model][prompt]["headline"]
            if head is None:
                row.append("–")
                continue
            name = head["name"]
            gap = interval(head["difference"], head["unit"], signed=True)
            value = _value(head["after"], head["unit"])
            own = ", its own" if cells[model][prompt]["own"] else ""
            row.append(f"{value} ({gap}{own}; p {p_value(head['p_holm'])})")
        rows.append(row)
    for model in models:
        head = next((cells[model][one]["headline"] for one in prompts), None)
        plain.append(_value(head["before"], head["unit"]) if head else "–")
    title = f"{name} (and minus plain on that model), {results['held_out']} held-out queries"
    return [Table(title, ["prompt", *models], [plain, *rows])]


def _value(found: Mapping[str, Any] | None, unit: str = "share", signed: bool = False) -> str:
    """An estimate without its range."""
    return interval(found, unit, signed).partition(" ")[0]


def trimmed(results: Mapping[str, Any]) -> list[Table]:
    """What `trueup trim` found: each piece alone, the steps, and the report."""
    alone = [[one["piece"]["name"], *_figures(one), _needed(one)] for one in results["alone"]]
    steps = [
        [one["removed"], *_figures(one), "left out" if one["kept"] else "needed after all"]
        for one in results["steps"][1:]
    ]
    shown = ("safety", "reward", "criterion", "cost")
    rows = [
        [one["name"], interval(one["before"], one["unit"]), interval(one["after"], one["unit"]),
         interval(one["difference"], one["unit"], signed=True), one["clear"] or "–"]
        for one in results["table"]
        if one["group"] in shown
    ]  # fmt: skip
    figures = ["tokens saved", "reward", "change ± error", "balanced safety"]
    return [
        Table(f"Left out alone, on {results['choosing']} queries", ["", *figures, "needed"], alone),
        Table("Together, the most expensive first", ["", *figures, ""], steps),
        Table(
            f"Whole against trimmed, on {results['reporting']} other queries",
            ["", "whole", "trimmed", "difference", "clear"],
            rows,
        ),
    ]


def _needed(one: Mapping[str, Any]) -> str:
    return "not measured" if not one["measured"] else "no" if one["passes"] else "yes"


def _figures(one: Mapping[str, Any]) -> list[str]:
    change = "–" if one["change"] is None else f"{one['change']:+.2f}"
    if one["error"] is not None:
        change += f" ± {one['error']:.2f}"
    return [
        f"{one['saved']:.0f}" if one["measured"] else "–",
        "–" if one["reward"] is None else f"{one['reward']:.2f}",
        change,
        "–" if one["safety"] is None else f"{one['safety']:.2f}",
    ]


def judged(results: Mapping[str, Any]) -> list[Table]:
    """What `trueup judge` found: each way to judge, its sets, and whose replies it favours.

    The last is left out where no judge clearly favours a model's replies more than people do.
    """
    methods, sets = results["methods"], list(results["sets"])
    by_set = [
        [name, *(interval(row["sets"][one]["agreement"]) for one in sets)]
        for name, row in methods.items()
    ]
    own = [
        [name, model, interval(found, signed=True)]
        for name, row in methods.items()
        for model, found in row["all"]["own"].items()
        if row["asks"] and (found["low"] or 0) > 0
    ]
    header = [
        "method", "agreement [95%]", "length-balanced", "less length", "likes first", "likes long",
        "shorter right", "longer right", "same twice", "unreadable", "tokens", "s",
    ]  # fmt: skip
    found = [
        Table("", header, [_way_to_judge(name, row["all"]) for name, row in methods.items()]),
        Table("", ["agreement by set", *sets], by_set),
    ]
    if own:
        found.append(Table("", ["favours more than people do", "model", "by"], own))
    return found


def _way_to_judge(name: str, figures: Mapping[str, Any]) -> list[str]:
    return [
        name,
        interval(figures["agreement"]) + (" ?" if figures["at_chance"] else ""),
        interval(figures["length_balanced"]),
        _value(figures["length_controlled"]),
        _value(figures["position"]),
        _value(figures["longer"], signed=True),
        _value(figures["where_shorter_is_right"]),
        _value(figures["where_longer_is_right"]),
        _value(figures["retest"]),
        _value(figures["unreadable"]),
        f"{figures['tokens_in']:.0f}/{figures['tokens_out']:.0f}",
        f"{figures['seconds']:.1f}",
    ]
