"""`trueup compare`: its options, and what it prints.

    trueup compare plain expert urial random ours --policy embedded --held-out 200
    trueup compare plain runs/align-1a2b3c4d endpoint:http://localhost:8000#bigger

The work is done in `jobs.comparing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.commands import options, printing
from trueup.commands.starting import agreed, running
from trueup.paths import expanded

if TYPE_CHECKING:
    from trueup.jobs.comparing import Ready
    from trueup.jobs.estimate import Expected
    from trueup.jobs.job import Job
    from trueup.models.model import Model
    from trueup.report.tables import Table


def compare(
    candidates: Annotated[
        list[str],
        typer.Argument(
            help="Who: plain, expert, urial, published, random, ours, the folder of a run, an "
            "aligned.toml, or a model such as endpoint:URL#MODEL."
        ),
    ],
    against: Annotated[
        str | None, typer.Option(help="Whom the others are compared with; else the first.")
    ] = None,
    policy: options.Policy = None,
    writer: options.Writer = None,
    judge: options.Judge = None,
    judge_model: options.JudgeModel = None,
    data: options.Data = None,
    held_out_data: options.HeldOutData = None,
    held_out: options.HeldOut = None,
    demonstrations: options.Demonstrations = None,
    calls: options.Calls = None,
    prompt_format: options.Format = None,
    max_tokens: options.MaxTokens = None,
    seed: options.Seed = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="How often each search is made, each time with another seed.")
    ] = 1,
    budget_calls: options.BudgetCalls = None,
    budget_tokens: options.BudgetTokens = None,
    budget_usd: options.BudgetUsd = None,
    budget_minutes: options.BudgetMinutes = None,
    price: options.Price = None,
    job: Annotated[
        Path | None,
        typer.Option(
            help="A job file or a run's folder: what the options above leave open. By default "
            "the first run among the candidates."
        ),
    ] = None,
    out: options.Out = None,
    dry_run: options.Dry = False,
    yes: options.Yes = False,
) -> None:
    """Compare prompts, searches and models on the same held-out queries.

    The same command again goes on where it stopped, and pays nothing twice.
    """
    given = options.given(locals())
    from trueup.jobs.comparing import CompareJob, ready, run

    asked = CompareJob(tuple(candidates), job_of(job, candidates, given), against, seeds)
    prepared = ready(asked)
    said(prepared)
    if dry_run:
        show_expected(prepared.expected)
        return
    agreed_to(prepared.called, prepared.expected, yes)
    outcome = running(run(prepared, Progress()), interrupted(asked.folder))
    if outcome.shown_again:
        typer.echo(f"{outcome.folder} has finished before; nothing was asked again.\n")
    show_results(outcome.results)
    typer.echo(f"\nThe page is {outcome.folder / 'report.md'}, the figures results.json beside it.")


def show_run(folder: Path) -> None:
    """The same of a run's folder. Raises `StoreError` where it has not finished."""
    from trueup.store.results import load

    show_results(load(folder))


def show_results(results: Mapping[str, Any]) -> None:
    """The tables of a comparison, and its line."""
    from trueup.report.tables import compared

    show_found(compared(results), results)


def said(prepared: Ready) -> None:
    """Who is compared on what, and what was left out."""
    console, plan = printing.console(), prepared.plan
    refused = sum(one.should_answer is False for one in plan.held_out)
    for one in prepared.entered:
        printing.say(console, f"{one.name:<12} {one.told}")
    printing.say(
        console,
        f"on {len(plan.held_out)} held-out queries of {plan.job.held_out_data or plan.job.data} "
        f"({refused} to be refused), each asked of {plan.job.policy} or the model named",
    )
    for note in prepared.notes:
        printing.say(console, note)
    printing.say(console)


# What compare, transfer and trim share.


def job_of(path: Path | None, names: Iterable[str], given: Mapping[str, Any]) -> Job:
    """The settings: as given, else as in the job file, else as in the first run named."""
    from trueup.jobs.job import FILE, Job, changed

    named = [expanded(name) for name in names]
    runs = (one.parent if one.is_file() else one for one in named)
    path = path or next((one for one in runs if (one / FILE).is_file()), None)
    kept: dict[str, Any] = {}
    if path is not None:
        own = ("out", "published", "budget_calls", "budget_tokens", "budget_usd", "budget_minutes")
        fields = Job.load(path).model_dump(exclude_none=True)
        kept = {name: value for name, value in fields.items() if name not in own}
        if fields.get("published"):  # what that method had settled is not what ours would have
            kept = {name: value for name, value in kept.items() if name not in ("k", "calls")}
        if given.get("policy", fields["policy"]) != fields["policy"]:
            follows = {"writer", "judge", "judge_model", "max_tokens", "frequency_penalty"}
            left_out = follows | {"prices"}
            kept = {name: value for name, value in kept.items() if name not in left_out}
    return Job.of(changed(kept, given))


def agreed_to(called: Mapping[str, Model], rows: Iterable[Expected], yes: bool) -> None:
    """The same question for every command that compares."""
    from trueup.jobs.trials import paid

    who = "; ".join(f"{name}: {identity}" for name, identity in paid(called).items())
    agreed(who, yes, lambda: show_expected(rows))


def interrupted(folder: Path) -> str:
    """What is said where one of them is stopped."""
    return f"Run it again to go on; {folder} keeps the replies."


class Progress:
    """A line when something begins, and one for each quarter of it."""

    def __init__(self) -> None:
        self._last = ("", 0)

    def __call__(self, event: Any) -> None:
        if isinstance(event, str):
            printing.note(event)
            return
        quarter = 4 * event.done // event.total if event.total else 0
        if (event.label, quarter) != self._last:
            self._last = (event.label, quarter)
            if 0 < quarter < 4:
                printing.note(f"{event.label}: {event.done} of {event.total}")


def show_expected(rows: Iterable[Expected]) -> None:
    """What it will take."""
    from trueup.report.tables import Table

    listed = list(rows)
    usd = [row.usd for row in listed]
    known = None if None in usd else sum(one or 0.0 for one in usd)
    cells = [
        [row.part, row.role, f"{row.calls:,}", f"{row.tokens:,}", printing.usd(row.usd),
         f"{row.seconds / 60:.1f}"]
        for row in listed
    ]  # fmt: skip
    calls, tokens = sum(row.calls for row in listed), sum(row.tokens for row in listed)
    minutes = sum(row.seconds for row in listed) / 60
    cells.append(["all", "", f"{calls:,}", f"{tokens:,}", printing.usd(known), f"{minutes:.1f}"])
    title = "What it would take: calls are an upper bound, tokens and minutes are rough"
    header = ["part", "role", "calls", "tokens", "usd", "minutes"]
    printing.show(printing.console(), Table(title, header, cells))


def show_found(tables: Iterable[Table], results: Mapping[str, Any]) -> None:
    """What was found, by which judge, and what stopped it."""
    console = printing.console()
    printing.show(console, *tables)
    printing.say(console, results["summary"])
    printing.say(console, f"Judge: {results['judge']}")
    if results.get("stopped"):
        printing.say(console, f"Stopped early: {results['stopped']}")
