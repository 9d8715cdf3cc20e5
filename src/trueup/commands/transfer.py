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

from trueup.commands.compare import Progress, agreed_to, expected, interrupted, job_of, show
from trueup.commands.starting import running

Data = Annotated[
    str | None, typer.Option(help="Queries: a file, NAME@PATH, hub:OWNER/NAME, seeds.")
]
Judge = Annotated[
    str | None, typer.Option(help="Who scores: checks (code), dynamic, likelihood, perplexity.")
]
JudgeModel = Annotated[str | None, typer.Option(help="The model that judges, where one does.")]
HeldOutData = Annotated[
    str | None, typer.Option(help="Queries to measure on, from elsewhere than --data.")
]
HeldOut = Annotated[int | None, typer.Option(help="How many queries to measure on.")]
BudgetCalls = Annotated[int | None, typer.Option(help="Most calls of all roles.")]
BudgetTokens = Annotated[int | None, typer.Option(help="Most tokens, in and out.")]
BudgetMinutes = Annotated[float | None, typer.Option(help="Most time.")]
Out = Annotated[str | None, typer.Option(help="The new run's folder; runs/NAME by default.")]
Dry = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and cost; call nobody.")
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Start without asking, also where it may cost money.")
]


def transfer(
    runs: Annotated[
        list[str], typer.Argument(help="Aligned prompts: folders of runs, or aligned.toml files.")
    ],
    to: Annotated[
        list[str] | None,
        typer.Option(help="A model to try them on, beside their own. Give it once for each."),
    ] = None,
    data: Data = None,
    held_out_data: HeldOutData = None,
    held_out: HeldOut = None,
    judge: Judge = None,
    judge_model: JudgeModel = None,
    budget_calls: BudgetCalls = None,
    budget_tokens: BudgetTokens = None,
    budget_minutes: BudgetMinutes = None,
    out: Out = None,
    dry_run: Dry = False,
    yes: Yes = False,
) -> None:
    """Try aligned prompts on other models: a matrix, on the same held-out queries.

    The same command again goes on where it stopped, and pays nothing twice.
    """
    from trueup.aligned import Aligned
    from trueup.jobs.plan import is_remote
    from trueup.jobs.transferring import TransferJob, ready, run

    given = {
        "data": data, "held_out_data": held_out_data, "held_out": held_out, "judge": judge,
        "judge_model": judge_model, "budget_calls": budget_calls, "budget_tokens": budget_tokens,
        "budget_minutes": budget_minutes, "policy": Aligned.load(runs[0]).model_name, "out": out,
    }  # fmt: skip
    job = TransferJob(tuple(runs), tuple(to or ()), job_of(None, runs, given))
    prepared = ready(job)
    for note in prepared.notes:
        typer.echo(note)
    if dry_run:
        show(expected(prepared.expected))
        return
    from trueup.models.named import open_model

    for name in prepared.models:
        if name != prepared.plan.job.policy:
            prepared.opened[name] = open_model(name)
    every = {**prepared.opened, **prepared.plan.models}
    paid = {name: model.identity for name, model in every.items() if is_remote(model)}
    agreed_to(paid, prepared.expected, yes)
    outcome = running(run(prepared, Progress()), interrupted(job.folder))
    show_transfer(outcome.results)
    typer.echo(f"The figures are in {outcome.folder / 'results.json'}.")


def trim(
    run: Annotated[str, typer.Argument(help="A run's folder, or an aligned.toml.")],
    floor: Annotated[
        float | None,
        typer.Option(help="Least balanced safety, 0 to 1; by default 0.02 below what it has."),
    ] = None,
    data: Data = None,
    held_out_data: HeldOutData = None,
    held_out: HeldOut = None,
    judge: Judge = None,
    judge_model: JudgeModel = None,
    budget_calls: BudgetCalls = None,
    budget_tokens: BudgetTokens = None,
    budget_minutes: BudgetMinutes = None,
    out: Out = None,
    dry_run: Dry = False,
    yes: Yes = False,
) -> None:
    """Leave out of an aligned prompt what does not pay for its tokens.

    The same command again goes on where it stopped, and pays nothing twice.
    """
    from trueup.aligned import Aligned
    from trueup.jobs.trimming import TrimJob, ready
    from trueup.jobs.trimming import run as carry_out

    given = {
        "data": data, "held_out_data": held_out_data, "held_out": held_out, "judge": judge,
        "judge_model": judge_model, "budget_calls": budget_calls, "budget_tokens": budget_tokens,
        "budget_minutes": budget_minutes, "policy": Aligned.load(run).model_name, "out": out,
    }  # fmt: skip
    job = TrimJob(run, job_of(None, [run], given), floor)
    prepared = ready(job)
    for note in prepared.notes:
        typer.echo(note)
    if dry_run:
        show(expected(prepared.expected))
        return
    agreed_to(prepared.plan.paid(), prepared.expected, yes)
    outcome = running(carry_out(prepared, Progress()), interrupted(job.folder))
    show_trim(outcome.results)
    typer.echo(f"The trimmed prompt is {outcome.folder / 'aligned.toml'}, the curve beside it.")


def show_transfer(results: Mapping[str, Any]) -> None:
    """The matrix."""
    from trueup.report.tables import transferred

    show(*transferred(results))
    _ended(results)


def show_trim(results: Mapping[str, Any]) -> None:
    """The tables of a trimming."""
    from trueup.report.tables import trimmed

    show(*trimmed(results))
    _ended(results)


def show_run(folder: Path, method: str) -> None:
    """The same of a run's folder. Raises `StoreError` where it has not finished."""
    from trueup.jobs.comparing import load

    (show_trim if method == "trim" else show_transfer)(load(folder))


def _ended(results: Mapping[str, Any]) -> None:
    typer.echo(results["summary"])
    typer.echo(f"Judge: {results['judge']}")
    if results.get("stopped"):
        typer.echo(f"Stopped early: {results['stopped']}")
