"""`trueup judge`: its options, and what it prints.

    trueup judge --model embedded --data llmbar@~/data --data mine.csv --n 60

A table of the ways to judge, their agreement set by set, and at the end the advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.commands import options
from trueup.commands.starting import agreed, running

if TYPE_CHECKING:
    from trueup.jobs.judging import JudgeJob


def judge(
    model: Annotated[
        str, typer.Option(help="The model to judge with: embedded, gguf:PATH, endpoint:URL#MODEL.")
    ] = "embedded",
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Comparisons that people labelled: a file with query, first, second and better "
            "(or chosen and rejected), or NAME@PATH of llmbar, llmbar_natural, llmbar_prefs, "
            "pandalm, judgebench, hhh, mt_bench_human, xstest_completions. Give it once for each."
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Ways to judge, with commas between, or all; by default the quick ones."),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Comparisons of each set.")] = 100,
    retest: Annotated[int, typer.Option(min=0, help="How many of these to ask twice.")] = 10,
    seed: Annotated[int, typer.Option(help="Which comparisons are sampled.")] = 0,
    leave_out_ties: Annotated[
        bool, typer.Option("--leave-out-ties", help="Leave out comparisons labelled as ties.")
    ] = False,
    column: options.Column = None,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Comparisons under way at a time.")
    ] = None,
    out: options.Out = None,
    yes: options.Yes = False,
) -> None:
    """Find out what a model is worth as a judge, against people's labels.

    The same command again goes on where it stopped, and pays nothing twice.
    """
    from trueup.jobs.judging import JudgeJob

    job = JudgeJob(
        model=model,
        data=tuple(data or ()),
        methods=methods,
        n=n,
        retest=retest,
        seed=seed,
        at_once=at_once,
        leave_out_ties=leave_out_ties,
        column=column,
        out=out,
    )
    running(_judged(job, yes), f"Run it again to go on; {job.folder} keeps the replies.")


async def _judged(job: JudgeJob, yes: bool) -> None:
    from trueup.jobs.judging import judge as measure
    from trueup.jobs.judging import read_sets
    from trueup.models.named import is_remote, open_model

    sets = read_sets(job)
    model = open_model(job.model)
    agreed(model.identity if is_remote(model) else "", yes)
    for name, one in sets.items():
        left = f"; {'; '.join(one.notes)}" if one.notes else ""
        typer.echo(f"{name}: {len(one.pairs)} comparisons{left}")
    try:
        outcome = await measure(job, model=model, on_event=_Progress())
    finally:
        await model.close()
    show(outcome.results)
    typer.echo(f"\nThe figures are in {outcome.folder / 'results.json'}, the picture beside them.")


class _Progress:
    """A line for each tenth of the way."""

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, event: Any) -> None:
        tenth = 10 * event.done // event.total
        if tenth != self._last:
            self._last = tenth
            typer.echo(f"{event.done} of {event.total} decisions; now {event.source}", err=True)


def show_run(folder: Path) -> None:
    """The same of a run's folder. Raises `StoreError` where it has not finished."""
    from trueup.store.results import load

    show(load(folder))


def show(results: Mapping[str, Any]) -> None:
    """The tables and the advice, of a run's results."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = max(console.width, 160)

    def table(rows: list[list[str]], *columns: str) -> None:
        drawn = Table(box=None, pad_edge=False, header_style="bold dim")
        for column in columns:
            drawn.add_column(column)
        for row in rows:
            drawn.add_row(*map(Text, row))
        console.print(drawn)

    methods = results["methods"]
    table(
        [
            [
                name,
                _interval(row["all"]["agreement"]) + (" ?" if row["all"]["at_chance"] else ""),
                _interval(row["all"]["length_balanced"]),
                _share(row["all"]["length_controlled"]),
                _share(row["all"]["position"]),
                _share(row["all"]["longer"], signed=True),
                _share(row["all"]["where_shorter_is_right"]),
                _share(row["all"]["where_longer_is_right"]),
                _share(row["all"]["retest"]),
                _share(row["all"]["unreadable"]),
                f"{row['all']['tokens_in']:.0f}/{row['all']['tokens_out']:.0f}",
                f"{row['all']['seconds']:.1f}",
            ]
            for name, row in methods.items()
        ],
        "method", "agreement [95%]", "length-balanced", "less length", "likes first", "likes long",
        "shorter right", "longer right", "same twice", "unreadable", "tokens", "s",
    )  # fmt: skip
    console.print()
    sets = list(results["sets"])
    table(
        [
            [name, *(_interval(row["sets"][one]["agreement"]) for one in sets)]
            for name, row in methods.items()
        ],
        "agreement by set",
        *sets,
    )
    own = [
        [name, model, _interval(found, signed=True)]
        for name, row in methods.items()
        for model, found in row["all"]["own"].items()
        if row["asks"] and (found["low"] or 0) > 0
    ]
    if own:
        console.print()
        table(own, "favours more than people do", "model", "by")
    console.print()
    found = results["advice"]
    if found["panel"]:
        console.print(f"All of them as a panel: {_interval(found['panel'])}", markup=False)
    if found["panel_with_code"]:
        told = f"The panel with code and length: {_interval(found['panel_with_code'])}"
        console.print(told, markup=False)
    console.print(Text(found["text"], style="bold"))
    console.print("? at chance: the interval holds 0.5.", markup=False)


def _interval(found: Mapping[str, Any] | None, signed: bool = False) -> str:
    if not found:
        return "–"
    sign = "+" if signed else ""
    return f"{found['value']:{sign}.2f} [{found['low']:{sign}.2f}, {found['high']:{sign}.2f}]"


def _share(found: Mapping[str, Any] | None, signed: bool = False) -> str:
    return "–" if not found else f"{found['value']:{'+' if signed else ''}.2f}"
