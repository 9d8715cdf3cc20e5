"""A run as logs of Inspect AI: the base model's held-out transcripts and the aligned model's.

    paths = await to_inspect(finished("runs/align-1a2b3c4d"), Path("logs"))
    # inspect view --log-dir logs

Each held-out query is a sample, with the conversation as it was laid out (instruction, the
demonstrations that this query was shown, the query), the reply, a score for each criterion with the
judge's reason, and the outcome by the code checks. Metrics are ours, with their 95% intervals, not
recomputed. A verdict that failed is a score without a number that says why.

Demonstrations retrieved by embeddings are not laid out, since that would take calls of a model; the
sample says so. It asks no model anything.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from trueup import __version__
from trueup.export.finished import Finished, needed, writing
from trueup.models.scripted import Scripted
from trueup.prompt.prompt import Prompt, Prompted
from trueup.types import Message, Request

GROUPS = ("safety", "reward", "criterion", "outcome")
"""Rows of the table that become metrics."""
WANTED = {True: "answered", False: "refused", None: ""}
"""A sample's target."""
STOPS = {"stop": "stop", "length": "max_tokens", "filter": "content_filter"}


async def to_inspect(run: Finished, out: Path) -> list[Path]:
    """Write both logs into a folder. Raises `SettingsError` without inspect_ai, `DataError`."""
    log = needed("inspect_ai.log", "inspect")
    written = []
    for side, evaluation in run.sides.items():
        target = out / f"{side}.eval"
        found = await _log(run, side, evaluation)
        with writing(target) as path:
            await log.write_eval_log_async(found, str(path.resolve()), format="eval")
        written.append(target)
    return written


async def _log(run: Finished, side: str, evaluation: Mapping[str, Any]) -> Any:
    il = needed("inspect_ai.log", "inspect")
    results, name = run.results, str(run.results["name"])
    prompt, samples = run.prompts[side], []
    for one in evaluation["results"]:
        samples.append(await _sample(one, prompt, evaluation["model"]))
    identity = hashlib.sha256(f"{name}/{side}/{run.about.created}".encode()).hexdigest()[:22]
    began, ended = (in_time(one) for one in (run.about.created, run.about.finished))
    tokens = usage_of(evaluation["usage"])
    return il.EvalLog(
        status="success" if evaluation["stopped"] is None else "cancelled",
        eval=il.EvalSpec(
            eval_id=identity,
            run_id=identity,
            task_id=identity,
            created=began,
            task=f"{name} {side}",
            task_args={"run": name, "prompt": side},
            dataset=il.EvalDataset(
                name=_named(str(results["job"].get("data", ""))),
                samples=len(samples),
                sample_ids=[sample.id for sample in samples],
            ),
            model=evaluation["model"],
            config=il.EvalConfig(epochs=1),
            packages={"trueup": __version__},
            metadata={
                "judge": results["judge"],
                "instruction": prompt.instruction,
                "summary": results["summary"],
                "stopped": evaluation["stopped"],
            },
        ),
        results=il.EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=metrics_of(
                results["comparison"]["table"], "before" if side == "base" else "after", GROUPS
            ),
        ),
        stats=il.EvalStats(
            started_at=began, completed_at=ended, model_usage={evaluation["model"]: tokens}
        ),
        samples=samples,
    )


async def _sample(one: Mapping[str, Any], prompt: Prompt, model: str) -> Any:
    il, im = needed("inspect_ai.log", "inspect"), needed("inspect_ai.model", "inspect")
    query, verdict = one["query"], one["verdict"]
    asked = (*(Message(**turn) for turn in query["history"]), Message("user", query["text"]))
    laid_out, note = await _laid_out(prompt, asked)
    turns = [_turn(turn) for turn in laid_out]
    output, error = im.ModelOutput(model=model), None
    if one["reply"] is None:
        error = il.EvalError(message=verdict["failed"] or "", traceback="", traceback_ansi="")
    else:
        stop = STOPS.get(one["finish"], "unknown")
        output = im.ModelOutput.from_content(model, one["reply"], stop_reason=stop)
        output.usage, output.time = usage_of(one["usage"]), one["seconds"]
    return il.EvalSample(
        id=one["number"] + 1,
        epoch=1,
        input=[_turn(turn) for turn in asked],
        target=query["reference"] or WANTED[query["should_answer"]],
        messages=[*turns, *(choice.message for choice in output.choices)],
        output=output,
        scores=_scores(one),
        error=error,
        total_time=one["seconds"],
        metadata={
            "category": query["category"],
            "should_answer": query["should_answer"],
            "source": query["source"],
            "words": one["words"],
            "dropped": verdict["dropped"],
            **({"demonstrations": note} if note else {}),
        },
    )


async def _laid_out(
    prompt: Prompt, asked: tuple[Message, ...]
) -> tuple[tuple[Message, ...], str | None]:
    """What the model was asked, and what of it cannot be told without a model."""
    if prompt.retrieval.k and prompt.retrieval.by == "embedding":
        told = f"{prompt.retrieval.k} were shown, retrieved by embeddings; they are not laid out"
        shown = prompt.layout(asked, ())
    else:
        told = None
        # Retrieval by words asks no model; this one would say so if it were asked.
        shown = (await Prompted(Scripted(()), prompt).request(Request(asked))).prompt
    return ((Message("user", shown),) if isinstance(shown, str) else shown), told


def _turn(turn: Message) -> Any:
    im = needed("inspect_ai.model", "inspect")
    kinds = {
        "system": im.ChatMessageSystem,
        "user": im.ChatMessageUser,
        "assistant": im.ChatMessageAssistant,
    }
    return kinds[turn.role](content=turn.content)


def _scores(one: Mapping[str, Any]) -> dict[str, Any]:
    """By criterion, 1 to 5; the reward; and the outcome in a word."""
    score, verdict = needed("inspect_ai.scorer", "inspect").Score, one["verdict"]
    if verdict["failed"] is not None:
        found = {"reward": score(value=math.nan, explanation=f"failed: {verdict['failed']}")}
    else:
        reward = math.nan if one["reward"] is None else one["reward"]
        told = None if verdict["scores"] else "nothing was scored"
        found = {"reward": score(value=reward, explanation=told)}
        for given in verdict["scores"]:
            found[given["criterion"]] = score(
                value=given["value"], explanation=given["reason"] or None
            )
    if one["outcome"] is not None:
        found["outcome"] = score(value=one["outcome"], explanation="by code checks")
    return found


def metrics_of(
    table: Sequence[Mapping[str, Any]], column: str, groups: Collection[str]
) -> list[Any]:
    """A score of the log for each row of those groups, its metrics the mean and the ends of its
    interval."""
    il, found = needed("inspect_ai.log", "inspect"), []
    for row in table:
        if row["group"] not in groups or row[column] is None:
            continue
        values = {"mean": "value", "low 95%": "low", "high 95%": "high"}
        metrics = {
            name: il.EvalMetric(name=name, value=row[column][end])
            for name, end in values.items()
            if row[column][end] is not None
        }
        found.append(
            il.EvalScore(
                name=row["name"],
                scorer="judge" if row["group"] in ("reward", "criterion") else "code checks",
                scored_samples=row["n"],
                unscored_samples=row["failed"],
                metrics=metrics,
            )
        )
    return found


def usage_of(usage: Mapping[str, int]) -> Any:
    """What a reply took, in Inspect's terms."""
    used = needed("inspect_ai.model", "inspect").ModelUsage
    return used(
        input_tokens=usage["tokens_in"] - usage["cached"],
        output_tokens=usage["tokens_out"],
        total_tokens=usage["tokens_in"] + usage["tokens_out"],
        input_tokens_cache_read=usage["cached"],
    )


def _named(data: str) -> str:
    """Where the queries came from, without the folders of a machine."""
    return data if data.startswith("hub:") else re.split(r"[/\\]", data)[-1]


def in_time(moment: Any) -> str:
    """A moment as Inspect writes it; the epoch for one that is not known."""
    return moment.isoformat() if moment is not None else "1970-01-01T00:00:00+00:00"
