"""`trueup evaluate`: its options, and what it prints.

    trueup evaluate runs/align-1a2b3c4d --benchmark xstest@~/data --benchmark gsm8k@~/data \\
        --against plain --n 100

A line a benchmark at the end, its headline before and after; all of it with `trueup show`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.commands import options, printing
from trueup.commands.starting import agreed, running

if TYPE_CHECKING:
    from trueup.jobs.evaluate_job import Prepared
    from trueup.jobs.evaluating import Told

QUIET_SECONDS = 10.0
"""Between two lines of progress."""


Benchmark = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME@PATH, once for each: just_eval, alpaca_eval, mt_bench, advbench, "
        "malicious_instruct, xstest, hh_redteam, truthfulqa, truthfulqa_mc, gsm8k, imdb, or "
        "queries@FILE for your own."
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        help="Another one to compare with, query by query; plain is the run's own model "
        "under the plain prompt."
    ),
]
Judge = Annotated[
    str | None,
    typer.Option(
        help="Who judges where code cannot: checks (code all the same; the default where the "
        "model is embedded and no --judge-model named), written or likelihood."
    ),
]


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="A run's folder, an aligned.toml, or a model: embedded, endpoint:..."),
    ],
    benchmark: Benchmark = None,
    against: Against = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Queries of each benchmark.")] = 100,
    everything: Annotated[bool, typer.Option("--all", help="All queries instead.")] = False,
    judge: Judge = None,
    judge_model: Annotated[
        str | None,
        typer.Option(help="The model that judges; by default the one evaluated, without a prompt."),
    ] = None,
    until: Annotated[
        bool,
        typer.Option(
            "--until", help="Stop each comparison as soon as it is decided, with --n at most."
        ),
    ] = False,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="The longest reply, where a benchmark's own limit is not lower."),
    ] = None,
    frequency_penalty: Annotated[
        float | None, typer.Option(help="Against loops, -2 to 2: by default the run's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which queries are sampled.")] = 0,
    at_once: Annotated[int, typer.Option(min=1, help="Queries under way at a time.")] = 32,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write the judged replies as Parquet as well.")
    ] = False,
    budget_calls: options.BudgetCalls = None,
    budget_tokens: options.BudgetTokens = None,
    budget_usd: options.BudgetUsd = None,
    budget_minutes: options.BudgetMinutes = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            help="ROLE=IN,OUT: USD per million tokens of model, against, judge or embedder."
        ),
    ] = None,
    out: options.Out = None,
    dry_run: options.Dry = False,
    yes: options.Yes = False,
) -> None:
    """Measure how good a model or an aligned run is on benchmarks, and what alignment bought.

    The same command again goes on where it stopped, and pays nothing twice; with a larger --n it
    adds to what there is.
    """
    from trueup.jobs.evaluate_job import EvaluateJob, prepare
    from trueup.jobs.job import read_prices

    job = EvaluateJob(
        model=model,
        benchmarks=tuple(benchmark or ()),
        against=against,
        judge=judge,  # type: ignore[arg-type]
        judge_model=judge_model,
        max_tokens=max_tokens,
        frequency_penalty=frequency_penalty,
        seed=seed,
        n=None if everything else n,
        until=until,
        at_once=at_once,
        parquet=parquet,
        budget_calls=budget_calls,
        budget_tokens=budget_tokens,
        budget_usd=budget_usd,
        budget_minutes=budget_minutes,
        prices=read_prices(price) if price else {},
        out=out,
    )
    prepared = prepare(job)
    if dry_run:
        _plan(prepared)
        _expected(prepared)
        return
    running(_evaluated(prepared, yes), f"Run it again to go on; {job.folder} keeps the replies.")


async def _evaluated(prepared: Prepared, yes: bool) -> None:
    from trueup.jobs.evaluating import run

    _plan(prepared)
    agreed("; ".join(prepared.paid()), yes, lambda: _expected(prepared))
    outcome = await run(prepared, _Progress())
    show(outcome.results, details=False)
    typer.echo(f"\nEvery figure: trueup show {outcome.folder}")
    typer.echo(f"Every reply: {outcome.folder}/NAME.jsonl")


class _Progress:
    """A line now and then, on what is under way."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, told: Told) -> None:
        now = time.monotonic()
        if told.done == told.of or now - self._last > QUIET_SECONDS:
            self._last = now
            printing.note(f"{told.benchmark}: {told.done} of {told.of}")


def _plan(prepared: Prepared) -> None:
    console = printing.console()
    rows = [(label, subject.told) for label, subject in zip(prepared.labels, prepared.subjects,
            strict=True)]  # fmt: skip
    rows += [
        (
            name,
            f"{prepared.n(name)} of {held} in {place}, replies of at most "
            f"{prepared.sampling(benchmark).max_tokens} tokens",
        )
        for name, (benchmark, place, held) in prepared.benchmarks.items()
    ]
    rows += [("judge", prepared.judge_told), ("folder", str(prepared.job.folder))]
    for name, told in rows:
        printing.say(console, f"{name:<19}{told}")
    console.print()


def _expected(prepared: Prepared) -> None:
    rows = list(prepared.expected())
    printing.table(
        printing.console(),
        [
            [one.benchmark, f"{one.n:,}", f"{one.calls:,}", f"{one.judge_calls:,}",
             f"{one.tokens:,}"]
            for one in rows
        ],
        "", "queries", "calls", "judge's calls", "tokens",
    )  # fmt: skip
    typer.echo(
        f"About {sum(one.calls + one.judge_calls for one in rows):,} calls and "
        f"{sum(one.tokens for one in rows):,} tokens in all, replies at their longest."
    )


def show_run(folder: Path) -> None:
    """All of a run's results. Raises `StoreError` where it has not finished."""
    from trueup.store.results import load

    show(load(folder))


def show(results: Mapping[str, Any], *, details: bool = True) -> None:
    """The benchmarks' headlines, and with `details` every figure of each."""
    from trueup.report.evaluated import ended, figures, headlines, remarks

    console = printing.console()
    for label, one in results["models"].items():
        printing.say(console, f"{label}: {one['told']}")
    printing.say(console, f"judge: {results['judge']}")
    printing.say(console)
    found = headlines(results)
    printing.table(console, found.rows, *found.header)
    for told in remarks(results):
        printing.say(console, told)
    for name, one in results["benchmarks"].items() if details else ():
        table = figures(name, results)
        printing.say(console)
        printing.say(console, table.title)
        if table.rows:
            printing.say(console, f"Follows {one['protocol']}")
            printing.say(console, f"Differs: {one['differs']}")
            printing.table(console, table.rows, *table.header)
    for told in ended(results):
        printing.say(console, told)
