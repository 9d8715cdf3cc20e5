"""`trueup judge`: its options, and what it prints.

    trueup judge --model embedded --data llmbar@~/data --data mine.csv --n 60

A table of the ways to judge, their agreement set by set, and at the end the advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.commands import options, printing
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
    console = printing.console()
    for name, one in sets.items():
        left = f"; {'; '.join(one.notes)}" if one.notes else ""
        printing.say(console, f"{name}: {len(one.pairs)} comparisons{left}")
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
            printing.note(f"{event.done} of {event.total} decisions; now {event.source}")


def show_run(folder: Path) -> None:
    """The same of a run's folder. Raises `StoreError` where it has not finished."""
    from trueup.store.results import load

    show(load(folder))


def show(results: Mapping[str, Any]) -> None:
    """The tables and the advice, of a run's results."""
    from trueup.report.markdown import interval
    from trueup.report.tables import judged

    console = printing.console()
    printing.show(console, *judged(results))
    found = results["advice"]
    if found["panel"]:
        printing.say(console, f"All of them as a panel: {interval(found['panel'])}")
    if found["panel_with_code"]:
        told = interval(found["panel_with_code"])
        printing.say(console, f"The panel with code and length: {told}")
    printing.say(console, found["text"], "bold")
    printing.say(console, "? at chance: the interval holds 0.5.")
