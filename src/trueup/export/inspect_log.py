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

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trueup.export.finished import Finished, needed, writing
from trueup.export.inspect_parts import WANTED, log_of, metrics_of, usage_of
from trueup.models.scripted import Scripted
from trueup.prompt.prompt import Prompt, Prompted
from trueup.types import Message, Request

GROUPS = ("safety", "reward", "criterion", "outcome")
"""Rows of the table that become metrics."""
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
    results, name = run.results, str(run.results["name"])
    prompt, samples = run.prompts[side], []
    for one in evaluation["results"]:
        samples.append(await _sample(one, prompt, evaluation["model"]))
    return log_of(
        f"{name} {side}",
        f"{name}/{side}",
        run.about,
        arguments={"run": name, "prompt": side},
        dataset=_named(str(results["job"].get("data", ""))),
        model=evaluation["model"],
        samples=samples,
        completed=len(samples),
        stopped=evaluation["stopped"],
        metadata={
            "judge": results["judge"],
            "instruction": prompt.instruction,
            "summary": results["summary"],
            "stopped": evaluation["stopped"],
        },
        scores=metrics_of(
            results["comparison"]["table"], "before" if side == "base" else "after", GROUPS
        ),
        usage={evaluation["model"]: usage_of(evaluation["usage"])},
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


def _named(data: str) -> str:
    """Where the queries came from, without the folders of a machine."""
    return data if data.startswith("hub:") else re.split(r"[/\\]", data)[-1]
