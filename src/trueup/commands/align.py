"""`trueup align`: its options, and the search from the first screen to the last.

    trueup align                                     # the embedded model, the seeds, code as judge
    trueup align --policy endpoint:http://localhost:8000#qwen --data my.jsonl --dry-run

An option that is not given leaves the job its default; what each means is said in `jobs.job`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.commands import options
from trueup.commands.starting import agreed, running

if TYPE_CHECKING:
    from trueup.commands.screen import Screen
    from trueup.jobs.job import Job
    from trueup.jobs.plan import Plan


Calibration = Annotated[
    str | None,
    typer.Option(help="What `trueup judge` found out about the judge: its run's folder."),
]
ReportJudge = Annotated[
    str | None, typer.Option(help="Who else scores the held-out replies; see --judge.")
]
ReportJudgeModel = Annotated[
    str | None, typer.Option(help="The model of that judge: policy or a model.")
]
Embedder = Annotated[
    str | None,
    typer.Option(help="Retrieve by this model's embeddings, not words; see sentences:NAME."),
]


def align(
    policy: options.Policy = None,
    writer: options.Writer = None,
    judge: options.Judge = None,
    judge_model: options.JudgeModel = None,
    calibration: Calibration = None,
    force: Annotated[
        bool, typer.Option("--force", help="Optimise against a judge known to be at chance.")
    ] = False,
    report_judge: ReportJudge = None,
    report_judge_model: ReportJudgeModel = None,
    criteria: Annotated[
        str | None, typer.Option(help="A TOML file of criteria of your own.")
    ] = None,
    data: options.Data = None,
    column: options.Column = None,
    held_out: options.HeldOut = None,
    held_out_data: options.HeldOutData = None,
    demonstrations: options.Demonstrations = None,
    rewrite_demonstrations: Annotated[
        bool,
        typer.Option("--rewrite-demonstrations", help="Rewrite the pool under critique first."),
    ] = False,
    learn: Annotated[
        bool,
        typer.Option("--learn", help="Make demonstrations of the search's own queries first."),
    ] = False,
    embedder: Embedder = None,
    calls: options.Calls = None,
    k: Annotated[
        int | None, typer.Option("--k", help="Demonstrations in the prompt to start from.")
    ] = None,
    frequency_penalty: Annotated[
        float | None,
        typer.Option(help="Against loops, -2 to 2: 0.3 where the policy is embedded, else 0."),
    ] = None,
    prompt_format: options.Format = None,
    max_tokens: options.MaxTokens = None,
    method: Annotated[
        str | None, typer.Option(help="How to search: composed (with a writer), or drpo.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="The paper's settings instead of ours.")
    ] = False,
    seed: options.Seed = None,
    budget_calls: options.BudgetCalls = None,
    budget_tokens: options.BudgetTokens = None,
    budget_usd: options.BudgetUsd = None,
    budget_minutes: options.BudgetMinutes = None,
    price: options.Price = None,
    out: options.Out = None,
    job: Annotated[
        Path | None, typer.Option(help="A job file; the options above go first.")
    ] = None,
    dry_run: options.Dry = False,
    yes: options.Yes = False,
) -> None:
    """Search for the prompt that makes a model answer best, and measure what it bought.

    The same command again goes on where it stopped, and pays nothing twice.
    """
    given = options.given(locals())
    from trueup.commands.screen import Screen
    from trueup.jobs.estimate import enough
    from trueup.jobs.plan import prepare

    screen = Screen()
    plan = prepare(_job(job, given))
    if dry_run:
        screen.plan(plan)
        screen.expected(plan)
        enough(plan)
        return
    kept = f"what was answered is kept in {plan.job.folder}."
    running(_align(plan, screen, yes), f"Run the same command again to go on; {kept}")


async def _align(plan: Plan, screen: Screen, yes: bool) -> None:
    from trueup.jobs.alignment import run
    from trueup.jobs.outcome import finished

    if finished(plan) is None:
        screen.plan(plan)
        paid = "; ".join(f"{role}: {identity}" for role, identity in plan.paid().items())
        agreed(paid, yes, lambda: screen.expected(plan))
    with screen.progress() as on_event:
        outcome = await run(plan, on_event)
    screen.outcome(outcome)


def _job(path: Path | None, given: dict[str, Any]) -> Job:
    from trueup.jobs.job import Job, changed

    if path is None:
        return Job.of(given)
    kept = Job.load(path).model_dump(exclude_none=True)
    job = Job.of(changed(kept, given))
    if given and "out" not in given and not job.same_result(Job.of(kept)):
        # Another job than the file's does not belong into that one's folder.
        return job.model_copy(update={"out": None})
    return job
