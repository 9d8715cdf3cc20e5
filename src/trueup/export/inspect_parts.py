"""What every log of Inspect AI is made of, whichever run it tells of."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trueup import __version__
from trueup.export.finished import needed
from trueup.store.runs import RunRecord

WANTED = {True: "answered", False: "refused", None: ""}
"""A sample's target."""


def log_of(
    task: str,
    place: str,
    about: RunRecord,
    *,
    arguments: Mapping[str, str],
    dataset: str,
    model: str,
    samples: Sequence[Any],
    completed: int,
    stopped: str | None,
    metadata: Mapping[str, Any],
    scores: Sequence[Any],
    usage: Mapping[str, Any] | None = None,
) -> Any:
    """A log. `place`, which log of which run it is, gives it the same identity each time."""
    il = needed("inspect_ai.log", "inspect")
    identity = hashlib.sha256(f"{place}/{about.created}".encode()).hexdigest()[:22]
    began, ended = (_in_time(one) for one in (about.created, about.finished))
    return il.EvalLog(
        status="success" if stopped is None else "cancelled",
        eval=il.EvalSpec(
            eval_id=identity,
            run_id=identity,
            task_id=identity,
            created=began,
            task=task,
            task_args=dict(arguments),
            dataset=il.EvalDataset(
                name=dataset,
                samples=len(samples),
                sample_ids=[sample.id for sample in samples],
            ),
            model=model,
            config=il.EvalConfig(epochs=1),
            packages={"trueup": __version__},
            metadata=dict(metadata),
        ),
        results=il.EvalResults(
            total_samples=len(samples), completed_samples=completed, scores=list(scores)
        ),
        stats=il.EvalStats(started_at=began, completed_at=ended, model_usage=dict(usage or {})),
        samples=list(samples),
    )


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


def _in_time(moment: Any) -> str:
    """A moment as Inspect writes it; the epoch for one that is not known."""
    return moment.isoformat() if moment is not None else "1970-01-01T00:00:00+00:00"
