"""The command line: parse, call, print.

    trueup align                                     # the embedded model, the seeds, code as judge
    trueup align --policy endpoint:http://localhost:8000#qwen --data my.jsonl --dry-run
    trueup show runs/align-1a2b3c4d
    trueup chat runs/align-1a2b3c4d

Every command ends with 0, with 1 and one sentence on what went wrong and what to do, with 2 for
arguments that make no sense to begin with, or with 130 when it was interrupted. Whatever is heavy
is imported inside the commands, so that help comes at once.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from trueup import __version__
from trueup.commands import compare, evaluate, export, judge, transfer
from trueup.errors import SettingsError, TrueupError

if TYPE_CHECKING:
    from trueup.aligned import Aligned
    from trueup.commands.screen import Screen
    from trueup.jobs.job import Job
    from trueup.jobs.plan import Plan
    from trueup.models.model import Model
    from trueup.types import Message, Request

T = TypeVar("T")

app = typer.Typer(
    name="trueup",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Align a language model with itself: search for the context that makes it answer best.",
)

Run = Annotated[Path, typer.Argument(help="A run's folder.")]


@app.command()
def align(
    policy: Annotated[
        str | None,
        typer.Option(
            help="The model to align: embedded, gguf:PATH, hub:OWNER/REPO/FILE.gguf, "
            "endpoint:URL#MODEL, openai:MODEL, openrouter:MODEL, ollama:MODEL, vllm:MODEL."
        ),
    ] = None,
    writer: Annotated[
        str | None, typer.Option(help="Who proposes instructions: none, policy or a model.")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="Who scores: checks (code), dynamic, likelihood or perplexity."),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option(help="The model that judges, where one does: policy or a model.")
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="What `trueup judge` found out about the judge: its run's folder."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Optimise against a judge known to be at chance.")
    ] = False,
    report_judge: Annotated[
        str | None, typer.Option(help="Who else scores the held-out replies; see --judge.")
    ] = None,
    report_judge_model: Annotated[
        str | None, typer.Option(help="The model of that judge: policy or a model.")
    ] = None,
    criteria: Annotated[
        str | None, typer.Option(help="A TOML file of criteria of your own.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Queries: a JSONL, CSV or Parquet file, NAME@PATH, hub:OWNER/NAME, seeds."
        ),
    ] = None,
    column: Annotated[str | None, typer.Option(help="The column that holds the queries.")] = None,
    held_out: Annotated[int | None, typer.Option(help="How many queries to report on.")] = None,
    held_out_data: Annotated[
        str | None, typer.Option(help="Queries to report on, from elsewhere than --data.")
    ] = None,
    demonstrations: Annotated[
        str | None, typer.Option(help="The pool: bundled, long, none, or a file.")
    ] = None,
    rewrite_demonstrations: Annotated[
        bool,
        typer.Option("--rewrite-demonstrations", help="Rewrite the pool under critique first."),
    ] = False,
    embedder: Annotated[
        str | None,
        typer.Option(help="Retrieve by this model's embeddings, not words; see sentences:NAME."),
    ] = None,
    calls: Annotated[int | None, typer.Option(help="Policy calls of the search.")] = None,
    k: Annotated[
        int | None, typer.Option("--k", help="Demonstrations in the prompt to start from.")
    ] = None,
    frequency_penalty: Annotated[
        float | None,
        typer.Option(help="Against loops, -2 to 2: 0.3 where the policy is embedded, else 0."),
    ] = None,
    prompt_format: Annotated[
        str | None,
        typer.Option("--format", help="turns or system for chat models, raw for base models."),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest reply, in tokens.")] = None,
    method: Annotated[
        str | None, typer.Option(help="How to search: composed (with a writer), or drpo.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="The paper's settings instead of ours.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="What all chance depends on.")] = None,
    budget_calls: Annotated[int | None, typer.Option(help="Most calls of all roles.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Most tokens, in and out.")] = None,
    budget_usd: Annotated[float | None, typer.Option(help="Most money; see --price.")] = None,
    budget_minutes: Annotated[float | None, typer.Option(help="Most time.")] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(help="ROLE=IN,OUT: USD per million tokens of policy, writer or judge."),
    ] = None,
    out: Annotated[str | None, typer.Option(help="The run's folder; runs/NAME by default.")] = None,
    job: Annotated[
        Path | None, typer.Option(help="A job file; the options above go first.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and cost; call nobody.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Start without asking, also where it may cost money."),
    ] = False,
) -> None:
    """Search for the prompt that makes a model answer best, and measure what it bought.

    The same command again goes on where it stopped, and pays nothing twice.
    """
    from trueup.jobs.job import read_prices

    given = {
        "policy": policy,
        "writer": writer,
        "judge": judge,
        "judge_model": judge_model,
        "calibration": calibration,
        "force": force or None,
        "report_judge": report_judge,
        "report_judge_model": report_judge_model,
        "criteria": criteria,
        "data": data,
        "column": column,
        "held_out": held_out,
        "held_out_data": held_out_data,
        "demonstrations": demonstrations,
        "rewrite_demonstrations": rewrite_demonstrations or None,
        "embedder": embedder,
        "calls": calls,
        "k": k,
        "format": prompt_format,
        "max_tokens": max_tokens,
        "frequency_penalty": frequency_penalty,
        "method": method,
        "published": published or None,
        "seed": seed,
        "budget_calls": budget_calls,
        "budget_tokens": budget_tokens,
        "budget_usd": budget_usd,
        "budget_minutes": budget_minutes,
        "prices": read_prices(price) if price else None,
        "out": out,
    }
    from trueup.commands.screen import Screen
    from trueup.jobs.plan import prepare

    screen = Screen()
    plan = prepare(_job(job, {name: value for name, value in given.items() if value is not None}))
    if dry_run:
        screen.plan(plan)
        screen.expected(plan)
        return
    _run(_align(plan, screen, yes), f"Run the same command again to go on; {_kept(plan)}")


async def _align(plan: Plan, screen: Screen, yes: bool) -> None:
    from trueup.jobs.alignment import finished, run

    if finished(plan) is None:
        screen.plan(plan)
        _agreed(plan, screen, yes)
    with screen.progress() as on_event:
        outcome = await run(plan, on_event)
    screen.outcome(outcome)


def _agreed(plan: Plan, screen: Screen, yes: bool) -> None:
    """Ask before calls that may cost money. Raises `SettingsError` where nobody can be asked."""
    paid = plan.paid()
    if not paid or yes:
        return
    who = "; ".join(f"{role}: {identity}" for role, identity in paid.items())
    if not sys.stdin.isatty():
        raise SettingsError(
            f"Calls to other machines may cost money ({who}), and nobody is there to be asked: "
            "add --yes, or see what it would take with --dry-run."
        )
    screen.expected(plan)
    screen.say(f"Calls to other machines may cost money ({who}).")
    if not typer.confirm("Start?"):
        raise SettingsError("Nothing was started: add --yes to start without being asked.")


def _kept(plan: Plan) -> str:
    return f"what was answered is kept in {plan.job.folder}."


def _job(path: Path | None, given: dict[str, Any]) -> Job:
    from trueup.jobs.job import Job

    if path is None:
        return Job.of(given)
    kept = Job.load(path).model_dump(exclude_none=True)
    if "out" not in given and set(given) - {"yes"}:
        # Another job than the file's does not belong into that one's folder.
        changed = Job.of(kept | given)
        return (
            changed
            if changed.same_result(Job.of(kept))
            else Job.of({name: value for name, value in (kept | given).items() if name != "out"})
        )
    return Job.of(kept | given)


app.command()(judge.judge)
app.command()(export.export)
app.command()(evaluate.evaluate)
app.command()(compare.compare)
app.command()(transfer.transfer)
app.command()(transfer.trim)


@app.command()
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


@app.command()
def show(run: Run) -> None:
    """Show what a run found: figures, how the prompt came about, the prompt, what it cost."""
    from trueup.commands.screen import Screen
    from trueup.jobs.alignment import load
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


@app.command()
def chat(
    model: Annotated[
        str, typer.Argument(help="A run's folder, an aligned.toml, or a model by name.")
    ],
    once: Annotated[str | None, typer.Option(help="Answer this and end.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest reply, in tokens.")] = None,
    base: Annotated[
        bool, typer.Option("--base", help="Talk to the model without its prompt, to compare.")
    ] = False,
) -> None:
    """Talk to an aligned model, or to any other."""
    _run(_chat(model, once, max_tokens, base), "Bye.")


async def _chat(name: str, once: str | None, max_tokens: int | None, base: bool) -> None:
    from dataclasses import replace

    from trueup.commands.screen import Screen
    from trueup.types import Message

    screen = Screen()
    model, request = _answering(name, base)

    def asked(turns: list[Message]) -> Request:
        found = request(turns)
        if max_tokens is not None:
            found = replace(found, sampling=replace(found.sampling, max_tokens=max_tokens))
        return found

    turns: list[Message] = []
    try:
        if once is not None:
            reply = await model.reply(asked([Message("user", once)]))
            screen.say(reply.text.strip())
            return
        screen.say("Write, and end with Ctrl-D or an empty line.")
        while text := await asyncio.to_thread(_line):
            turns.append(Message("user", text))
            reply = await model.reply(asked(turns))
            turns.append(Message("assistant", reply.text.strip()))
            screen.say(reply.text.strip(), "cyan")
    finally:
        await model.close()


def _answering(name: str, base: bool) -> tuple[Model, Callable[[list[Message]], Request]]:
    """A model and how to ask it, from a run's folder, a file or a model's name."""
    from trueup.aligned import Aligned
    from trueup.models.named import open_model
    from trueup.types import Request, Sampling

    path = Path(name).expanduser()
    if path.exists() or name.endswith(".toml") or ("/" in name and ":" not in name):
        aligned: Aligned = Aligned.load(path)
        return (open_model(aligned.model_name) if base else aligned.model()), aligned.request
    return open_model(name), lambda turns: Request(tuple(turns), Sampling(max_tokens=512))


def _line() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""


@app.command()
def salvage(run: Run) -> None:
    """Rebuild a run's damaged calls.sqlite from the replies in it that are whole."""
    from trueup.store.calls import Calls
    from trueup.store.runs import CALLS

    kept = Calls.salvage(run / CALLS)
    typer.echo(f"{kept} replies are kept; the damaged file stays beside it.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trueup {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    pass


def _run(work: Coroutine[Any, Any, T], if_interrupted: str) -> T:
    """The one event loop."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. {if_interrupted}", err=True)
        raise typer.Exit(130) from None


def main() -> None:
    """Run the command line, turning what goes wrong into a sentence and an exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # In a pipe or a log, progress is to be seen when it is made.
        sys.stdout.reconfigure(line_buffering=True)
    try:
        app()
    except TrueupError as error:
        typer.echo(f"trueup: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("\nStopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`trueup show RUN | head`).
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
