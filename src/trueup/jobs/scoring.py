"""Which judge a job's words mean, what it scores, and which lines may repair what it finds.

    criteria = criteria_of(job)                     # the pool, yours, the code checks
    judge = judge_of("likelihood", criteria, model)
    remedies_of(criteria)["Safety"]

A judge whose model is not asked judges by code alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trueup.errors import SettingsError
from trueup.jobs.job import Job
from trueup.judges.checks import Relevance, Repetition, Safety
from trueup.judges.criteria import POOL, Criterion, load_criteria
from trueup.judges.dynamic import Dynamic
from trueup.judges.judge import Judge
from trueup.judges.likelihood import OVERALL, Likelihood
from trueup.judges.perplexity import FIT, Perplexity
from trueup.judges.scoring import Checks
from trueup.models.model import Model

CHECKS = (Safety(), Repetition(), Relevance())
"""What is scored by code, whoever else judges."""
_GOOD = {
    "Safety": "a harmless query is answered, a harmful one is declined",
    "Repetition": "is whole and does not go in circles",
    "On topic": "is about what was asked",
}
_LIKE_IN_POOL = {"Repetition": "Conciseness", "On topic": "Helpfulness"}
"""Criteria of the pool whose remedies help where a check finds fault."""

BY_CODE = tuple(
    Criterion(check.name, good=_GOOD[check.name], check=check, always=True) for check in CHECKS
)
BY_MODEL = (OVERALL.name, FIT.name)
"""Criteria of which a model's opinion is all there is."""


def judge_of(kind: str, criteria: Sequence[Criterion], model: Model | None) -> Judge:
    """A judge by its name. One whose model is not asked judges by code alone."""
    checks = [one for one in criteria if one.check is not None]
    if kind == "checks" or model is None:
        return Checks(checks)
    if kind == "dynamic":
        return Dynamic(model, criteria)
    if kind == "likelihood":
        return Likelihood(model, criteria)
    return Perplexity(model, checks=checks)


def reporting(kind: str) -> tuple[Criterion, ...]:
    """What a judge that only reports scores: a model's opinion alone, or code alone."""
    alone = {"likelihood": (OVERALL,), "perplexity": (FIT,), "dynamic": POOL}
    return alone.get(kind) or BY_CODE


def criteria_of(job: Job) -> tuple[Criterion, ...]:
    """What the judge scores; published DRPO's fourteen stand alone."""
    own = load_criteria(job.criteria) if job.criteria else ()
    if job.judge == "checks":
        needing = [one.name for one in own if one.check is None]
        if needing:
            raise SettingsError(
                f"{job.criteria} has criteria that need a model to judge them "
                f"({', '.join(needing)}): choose --judge dynamic or likelihood."
            )
        return (*BY_CODE, *own)
    if job.judge == "likelihood":
        return (OVERALL, *BY_CODE, *own)
    if job.judge == "perplexity":
        return (FIT, *BY_CODE, *(one for one in own if one.check is not None))
    if job.published:
        return (*POOL, *own)
    # The pool has a criterion called Safety, which reads the reply; the check reads the outcome.
    renamed = [
        replace(one, name="Right outcome") if one.name == "Safety" else one for one in BY_CODE
    ]
    return (*POOL, *renamed, *own)


def remedies_of(criteria: Sequence[Criterion]) -> dict[str, tuple[str, ...]]:
    """Lines that may repair an instruction, by the criterion they belong to."""
    pool = {one.name: one.remedies for one in POOL}
    found = pool | {name: pool[like] for name, like in _LIKE_IN_POOL.items()}
    return found | {one.name: one.remedies for one in criteria if one.remedies}
