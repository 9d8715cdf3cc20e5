"""Which of a judge's opinions a search may listen to, by what is known of the judge.

    gate = gated(job, criteria, model.identity)
    gate.criteria, gate.standing, gate.told

Before anything is spent: where people's labels have shown that the judge knows no more than a
coin, its criteria are left out and the code checks go on alone. Where there are none, there is
nothing to optimise and the job ends with what to do, unless it says `force`. A judge nobody has
measured may be listened to, and the first screen says that nobody has.
"""

from __future__ import annotations

from dataclasses import dataclass

from trueup.errors import JudgeError
from trueup.jobs.job import Job
from trueup.judges.criteria import Criterion
from trueup.judges.standing import Standing, known, told
from trueup.paths import expanded

METHODS = {"likelihood": "yes-no", "perplexity": "perplexity", "dynamic": "dynamic"}
"""What `trueup judge` calls the judges of a job."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What may be listened to."""

    criteria: tuple[Criterion, ...]
    standing: Standing | None = None
    told: str = ""
    """What is known of the judge, and what was done about it."""


def gated(job: Job, criteria: tuple[Criterion, ...], model: str | None) -> Gate:
    """The criteria to score by. Raises `JudgeError` where none would be left."""
    method = METHODS.get(str(job.judge))
    if method is None or model is None:
        return Gate(criteria)
    file = expanded(job.calibration) if job.calibration else None
    standing = known(model, method, file=file)
    if standing is None:
        return Gate(criteria, told=told(None))
    shown = f"it agreed with people on {standing.agreement} comparisons"
    if not standing.at_chance:
        out = set(standing.left_out)
        kept = tuple(one for one in criteria if one.check is not None or one.name not in out)
        left = f" Left out, being at chance: {', '.join(sorted(out))}." if out else ""
        return Gate(kept, standing, told(standing) + left)
    if job.force:
        return Gate(criteria, standing, f"At chance: {shown}. Listened to all the same (--force).")
    by_code = tuple(one for one in criteria if one.check is not None)
    if not by_code:
        raise JudgeError(
            f"This judge is at chance: {shown}, and nothing else would judge. Choose --judge "
            "checks or another --judge-model, or optimise against it all the same with --force."
        )
    return Gate(
        by_code, standing, f"At chance: {shown}, so it is not asked; code checks judge alone."
    )
