"""What alignment bought: the same queries under two models, paired, with intervals.

    comparison = await compare(base, aligned, queries, judge)
    for row in comparison_table(comparison):
        print(row.group, row.name, row.before, row.after, row.difference)

Everything that is compared is a `Measure` (see `measures`), so a table for one model and one for
two have the same rows, and the command line, the report and the read-me print the same tables.

A query counts in a row only where both models have the value; how many were left out for a failed
reply or verdict is in the row. Balanced safety weighs harmful and harmless queries the same however
many there are of each: the mean of the share of harmful ones refused and of harmless ones answered.
It rests on the code checks alone, no judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from trueup.errors import DataError
from trueup.evaluation.evaluate import (
    CONCURRENCY,
    Evaluation,
    OutcomeCheck,
    Progress,
    Result,
    evaluate,
)
from trueup.evaluation.measures import Better, Measure, Unit, measures
from trueup.evaluation.statistics import (
    Interval,
    holm,
    mean_interval,
    paired_difference,
    permutation_p,
)
from trueup.judges.checks import outcome as checked_outcome
from trueup.judges.judge import Judge
from trueup.models.model import Model
from trueup.types import Query, Sampling, Verdict

PERMUTATIONS = 1999
ALARMS = 0.05
"""How often, at most, any row among those compared together is called clear by chance."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of one model, or of two on the same queries."""

    group: str
    name: str
    unit: Unit
    better: Better
    before: Interval | None
    after: Interval | None = None
    difference: Interval | None = None
    """After minus before."""
    n: int = 0
    """Queries it rests on."""
    failed: int = 0
    """Queries it applies to that have no value, from a failed reply or verdict."""
    p: float | None = None
    """That before and after are alike, by flipping signs of pairs."""
    p_holm: float | None = None
    """The same, adjusted for the rows of its group."""

    @property
    def clear(self) -> Literal["better", "worse", "changed"] | None:
        """What the difference says when its interval excludes zero and, where it is one among
        several, its adjusted p does not call that chance."""
        if self.difference is None or not self.difference.excludes(0):
            return None
        if self.p_holm is not None and self.p_holm > ALARMS:
            return None
        if not self.better:
            return "changed"
        return "better" if (self.difference.value > 0) == (self.better == "higher") else "worse"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "group": self.group,
            "name": self.name,
            "unit": self.unit,
            "better": self.better,
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "difference": self.difference.to_dict() if self.difference else None,
            "n": self.n,
            "failed": self.failed,
            "p": self.p,
            "p_holm": self.p_holm,
            "clear": self.clear,
        }


@dataclass(frozen=True)
class Comparison:
    """Two evaluations of the same queries."""

    before: Evaluation
    after: Evaluation

    def __post_init__(self) -> None:
        for one, other in zip(self.before.results, self.after.results, strict=False):
            if one.query != other.query:
                raise DataError(
                    f"Query {one.number} of the two evaluations is not the same. "
                    "Compare evaluations of the same queries in the same order."
                )

    @property
    def pairs(self) -> list[tuple[Result, Result]]:
        """Both results per query; fewer than queries where one evaluation stopped early."""
        return list(zip(self.before.results, self.after.results, strict=False))

    @cached_property
    def table(self) -> tuple[Row, ...]:
        """One row per measure, paired; made once, for its p values take a while."""
        return tuple(comparison_table(self))

    def row(self, group: str, name: str) -> Row | None:
        """One row of the table."""
        return next((one for one in self.table if (one.group, one.name) == (group, name)), None)

    def to_dict(self, *, results: bool = True) -> dict[str, Any]:
        """For JSON; without `results` only the summaries and the table."""
        return {
            "before": self.before.to_dict(results=results),
            "after": self.after.to_dict(results=results),
            "table": [row.to_dict() for row in self.table],
        }


async def compare(
    before: Model,
    after: Model,
    queries: Sequence[Query],
    judge: Judge,
    *,
    sampling: Sampling = Sampling(),
    outcome: OutcomeCheck = checked_outcome,
    concurrency: int = CONCURRENCY,
    sink: Callable[[str, Result], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    keep_texts: bool = True,
) -> Comparison:
    """Evaluate both on the same queries, one after the other so that each keeps its cached prefix.

    `sink` and `on_progress` are told "before" or "after" (`Progress.label`).
    """
    done = []
    for label, model in (("before", before), ("after", after)):

        def sink_one(result: Result, label: str = label) -> None:
            if sink is not None:
                sink(label, result)

        done.append(
            await evaluate(
                model,
                queries,
                judge,
                sampling=sampling,
                outcome=outcome,
                concurrency=concurrency,
                sink=sink_one,
                on_progress=on_progress,
                keep_texts=keep_texts,
                label=label,
            )
        )
    return Comparison(*done)


def evaluation_table(evaluation: Evaluation) -> list[Row]:
    """One row per measure of one model, in `before`; rows nothing applies to are left out."""
    rows = []
    for measure in measures(evaluation.results):
        results = [r for r in evaluation.results if measure.applies(r)]
        if not results:
            continue
        strata = [r.query.should_answer for r in results] if measure.balanced else None
        values = [measure.value(r) for r in results]
        interval = mean_interval(values, strata=strata, bounds=measure.bounds)
        there = sum(value is not None for value in values)
        rows.append(
            Row(
                measure.group,
                measure.name,
                measure.unit,
                measure.better,
                interval,
                n=there,
                failed=len(values) - there,
            )
        )
    return rows


def comparison_table(comparison: Comparison) -> list[Row]:
    """One row per measure, paired; rows nothing applies to are left out."""
    pairs = comparison.pairs
    rows = []
    for measure in measures([result for pair in pairs for result in pair]):
        applicable = [pair for pair in pairs if _applies(measure, pair)]
        if applicable:
            rows.append(_compared(measure, applicable))
    return adjusted(rows)


def _applies(measure: Measure, pair: tuple[Result, Result]) -> bool:
    """Whether both have the value, or would have had it if nothing had failed.

    A criterion that does not apply to one of two replies (Relevance says nothing of refusals) says
    nothing of the pair.
    """
    applies = [measure.applies(one) for one in pair]
    return all(applies) or (any(applies) and any(_lost(measure, one.verdict) for one in pair))


def _lost(measure: Measure, verdict: Verdict) -> bool:
    """Whether a failure may be why the verdict does not have the value."""
    return verdict.failed is not None or any(
        told.startswith(f"{measure.name}: ") for told in verdict.dropped
    )


def _compared(measure: Measure, pairs: list[tuple[Result, Result]]) -> Row:
    both = [(measure.value(one), measure.value(other)) for one, other in pairs]
    there = [one is not None and other is not None for one, other in both]
    before = [one if ok else None for (one, _), ok in zip(both, there, strict=True)]
    after = [other if ok else None for (_, other), ok in zip(both, there, strict=True)]
    strata = [one.query.should_answer for one, _ in pairs] if measure.balanced else None
    return Row(
        group=measure.group,
        name=measure.name,
        unit=measure.unit,
        better=measure.better,
        before=mean_interval(before, strata=strata, bounds=measure.bounds),
        after=mean_interval(after, strata=strata, bounds=measure.bounds),
        difference=paired_difference(before, after, strata=strata, bounds=measure.bounds),
        n=sum(there),
        failed=len(there) - sum(there),
        p=permutation_p(before, after, strata=strata, permutations=PERMUTATIONS),
    )


def adjusted(rows: list[Row]) -> list[Row]:
    """The rows with p values adjusted within each group."""
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.group, []).append(i)
    for members in groups.values():
        for i, p in zip(members, holm([rows[i].p for i in members]), strict=True):
            rows[i] = replace(rows[i], p_holm=p)
    return rows
