"""`trueup runs`, `trueup show` and `trueup salvage`: what earlier commands left behind.

trueup runs
trueup show runs/align-1a2b3c4d
trueup salvage runs/align-1a2b3c4d
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trueup.commands import compare, evaluate, judge, transfer

Run = Annotated[Path, typer.Argument(help="A run's folder.")]


def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
) -> None:
    """List the runs there are."""
    from trueup.commands.screen import Screen
    from trueup.store.runs import list_runs

    found = list_runs(folder)
    if not found:
        typer.echo(f"There are no runs in {folder}: make one with `trueup align`.")
        return
    Screen().runs(found)


def show(run: Run) -> None:
    """Show what a run found: figures, how the prompt came about, the prompt, what it cost."""
    from trueup.commands.screen import Screen
    from trueup.jobs.outcome import load
    from trueup.store.runs import read_rounds, read_run

    screen = Screen()
    record = read_run(run)
    screen.runs([record])
    screen.say()
    if record.method == "judge":
        judge.show_run(run)
        return
    if record.method == "evaluate":
        evaluate.show_run(run)
        return
    if record.method == "compare":
        compare.show_run(run)
        return
    if record.method in ("transfer", "trim"):
        transfer.show_run(run, record.method)
        return
    rounds = read_rounds(run)
    if rounds:
        screen.rounds(rounds)
        screen.say()
    if record.finished is None:
        screen.say(f"It has not finished: `trueup align --job {run / 'job.toml'}` goes on.")
        return
    results = load(run).results
    screen.comparison(results["comparison"]["table"], _groups())
    screen.say()
    screen.say(f"Judge: {results['judge']}")
    screen.looked_at(results)
    screen.say()
    screen.prompt(results["found"]["prompt"])
    screen.say()
    screen.costs(results["costs"]["in_all"])


def _groups() -> list[str]:
    from trueup.report.markdown import GROUPS

    return list(GROUPS)


def salvage(run: Run) -> None:
    """Rebuild a run's damaged calls.sqlite from the replies in it that are whole."""
    from trueup.store.calls import Calls
    from trueup.store.runs import CALLS

    kept = Calls.salvage(run / CALLS)
    typer.echo(f"{kept} replies are kept; the damaged file stays beside it.")
