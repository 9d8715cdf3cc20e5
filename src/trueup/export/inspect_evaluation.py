"""A run of `trueup evaluate` as logs of Inspect AI: one for each benchmark and model.

    paths = await evaluation_to_inspect(Path("runs/evaluate-1a2b3c4d"), Path("logs"))
    # inspect view --log-dir logs

Each query is a sample with all its turns and replies, a score for each figure of the benchmark and
for each criterion with the judge's reason. Metrics are ours, with their 95% intervals, not
recomputed. An answer that failed is an error that says why. The prompt that was in front of a model
is not laid out. It asks no model anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trueup.data import storable
from trueup.errors import DataError
from trueup.export.finished import needed, writing
from trueup.export.inspect_parts import WANTED, log_of, metrics_of, usage_of
from trueup.store.results import load
from trueup.store.runs import RunRecord, read_run

GROUPS = ("figure", "criterion", "behaviour")
"""Rows of a benchmark's table that become metrics."""


async def evaluation_to_inspect(folder: Path, out: Path) -> list[Path]:
    """Write the logs into a folder.

    Raises `SettingsError` without inspect_ai, `StoreError` or `DataError` where the run has not
    ended or its replies cannot be read.
    """
    log = needed("inspect_ai.log", "inspect")
    about, results = read_run(folder), storable(load(folder))
    written = []
    for benchmark, told in results["benchmarks"].items():
        if not told["n"]:
            continue
        rows = list(_rows(folder / f"{benchmark}.jsonl"))
        for side in results["models"]:
            target = out / f"{benchmark}-{side}.eval"
            found = _log(folder.name, about, results, benchmark, side, rows)
            with writing(target) as path:
                await log.write_eval_log_async(found, str(path.resolve()), format="eval")
            written.append(target)
    return written


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from (storable(json.loads(line)) for line in file)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error}): run `trueup evaluate` once more, which pays nothing "
            "twice."
        ) from error


def _log(
    name: str,
    about: RunRecord,
    results: Mapping[str, Any],
    benchmark: str,
    side: str,
    rows: list[Mapping[str, Any]],
) -> Any:
    told, model = results["benchmarks"][benchmark], results["models"][side]["identity"]
    samples = [_sample(row, side, model) for row in rows]
    column = "before" if side == next(iter(results["models"])) else "after"
    return log_of(
        f"{benchmark} {side}",
        f"{name}/{benchmark}/{side}",
        about,
        arguments={"run": name, "benchmark": benchmark},
        dataset=benchmark,
        model=model,
        samples=samples,
        completed=sum(sample.error is None for sample in samples),
        stopped=told["stopped"],
        metadata={
            "judge": results["judge"],
            "protocol": told["protocol"],
            "differs": told["differs"],
            "summary": results["summary"],
        },
        scores=metrics_of(told["table"], column, GROUPS),
    )


def _sample(row: Mapping[str, Any], side: str, model: str) -> Any:
    il, im = needed("inspect_ai.log", "inspect"), needed("inspect_ai.model", "inspect")
    answer = row["answers"][side]
    turns, output = [], im.ModelOutput(model=model)
    for said, reply in zip((row["query"], *row["then"]), answer["replies"], strict=False):
        turns.append(im.ChatMessageUser(content=said))
        output = im.ModelOutput.from_content(model, reply)
        turns.append(output.choices[0].message)
    output.usage, output.time = usage_of(answer["usage"]), answer["seconds"]
    failed = answer["failed"]
    return il.EvalSample(
        id=row["number"] + 1,
        epoch=1,
        input=row["query"],
        target=WANTED[row["should_answer"]],
        messages=turns or [im.ChatMessageUser(content=row["query"])],
        output=output,
        scores=_scores(answer),
        error=il.EvalError(message=failed, traceback="", traceback_ansi="") if failed else None,
        total_time=answer["seconds"],
        metadata={"category": row["category"], "should_answer": row["should_answer"]},
    )


def _scores(answer: Mapping[str, Any]) -> dict[str, Any]:
    """By figure; and by criterion with the reason, the turns numbered where there are several."""
    score = needed("inspect_ai.scorer", "inspect").Score
    found = {
        name: score(value=math.nan if value is None else value)
        for name, value in answer["marks"].items()
    }
    seen: dict[str, int] = {}
    for given in answer["scores"]:
        name = given["criterion"]
        seen[name] = seen.get(name, 0) + 1
        shown = name if seen[name] == 1 else f"{name}, turn {seen[name]}"
        found[shown] = score(value=given["value"], explanation=given["reason"] or None)
    return found
