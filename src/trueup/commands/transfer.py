"""`trueup transfer` and `trueup trim`: their options, and what they print.

    trueup transfer runs/align-1a2b3c4d --to ollama:llama3.2 --held-out 100
    trueup trim runs/align-1a2b3c4d --held-out 100

What they have in common with `trueup compare` comes from there; the work is done in `transferring`
and `trimming`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.commands import options, printing
from trueup.commands.compare import (
    Progress,
    agreed_to,
    interrupted,
    job_of,
    show_expected,
    show_found,
)
from trueup.commands.starting import running


def transfer(
    runs: Annotated[
        list[str], typer.Argument(help="Aligned prompts: folders of runs, or aligned.toml files.")
    ],
    to: Annotated[
        list[str] | None,
        typer.Option(help="A model to try them on, beside their own. Give it once for each."),
    ] = None,
    data: options.Data = None,
    held_out_data: options.HeldOutData = None,
    held_out: options.HeldOut = None,
    judge: options.Judge = None,
    judge_model: options.JudgeModel = None,
    budget_calls: options.BudgetCalls = None,
    budget_tokens: options.BudgetTokens = None,
    budget_usd: options.BudgetUsd = None,
    budget_minutes: options.BudgetMinutes = None,
    price: options.Price = None,
    out: options.Out = None,
    dry_run: options.Dry = False,
    yes: options.Yes = False,
) -> None:
    """Try aligned prompts on other models: a matrix, on the same held-out queries.

    The same command again goes on where it stopped, and pays nothing twice.
    """
    given = options.given(locals())
    from trueup.aligned import Aligned
    from trueup.jobs.transferring import TransferJob, ready, run

    given |= {"policy": Aligned.load(runs[0]).model_name}
    job = TransferJob(tuple(runs), tuple(to or ()), job_of(None, runs, given))
    prepared = ready(job)
    console = printing.console()
    for note in prepared.notes:
        printing.say(console, note)
    if dry_run:
        show_expected(prepared.expected)
        return
    agreed_to(prepared.called, prepared.expected, yes)
    outcome = running(run(prepared, Progress()), interrupted(job.folder))
    show_transfer(outcome.results)
    typer.echo(f"\nThe page is {outcome.folder / 'report.md'}, the figures results.json beside it.")


def trim(
    run: Annotated[str, typer.Argument(help="A run's folder, or an aligned.toml.")],
    floor: Annotated[
        float | None,
        typer.Option(help="Least balanced safety, 0 to 1; by default 0.02 below what it has."),
    ] = None,
    data: options.Data = None,
    held_out_data: options.HeldOutData = None,
    held_out: options.HeldOut = None,
    judge: options.Judge = None,
    judge_model: options.JudgeModel = None,
    budget_calls: options.BudgetCalls = None,
    budget_tokens: options.BudgetTokens = None,
    budget_usd: options.BudgetUsd = None,
    budget_minutes: options.BudgetMinutes = None,
    price: options.Price = None,
    out: options.Out = None,
    dry_run: options.Dry = False,
    yes: options.Yes = False,
) -> None:
    """Leave out of an aligned prompt what does not pay for its tokens.

    The same command again goes on where it stopped, and pays nothing twice.
    """
    given = options.given(locals())
    from trueup.aligned import Aligned
    from trueup.jobs.trimming import TrimJob, ready
    from trueup.jobs.trimming import run as carry_out

    given |= {"policy": Aligned.load(run).model_name}
    job = TrimJob(run, job_of(None, [run], given), floor)
    prepared = ready(job)
    console = printing.console()
    for note in prepared.notes:
        printing.say(console, note)
    if dry_run:
        show_expected(prepared.expected)
        return
    agreed_to(prepared.called, prepared.expected, yes)
    outcome = running(carry_out(prepared, Progress()), interrupted(job.folder))
    show_trim(outcome.results)
    typer.echo(
        f"\nThe trimmed prompt is {outcome.folder / 'aligned.toml'}; report.md, results.json and "
        "curve.svg are beside it."
    )


def show_transfer(results: Mapping[str, Any]) -> None:
    """The matrix."""
    from trueup.report.tables import transferred

    show_found(transferred(results), results)


def show_trim(results: Mapping[str, Any]) -> None:
    """The tables of a trimming."""
    from trueup.report.tables import trimmed

    show_found(trimmed(results), results)


def show_run(folder: Path, method: str) -> None:
    """The same of a run's folder. Raises `StoreError` where it has not finished."""
    from trueup.store.results import load

    (show_trim if method == "trim" else show_transfer)(load(folder))
