"""Measure every way to judge with a model, and say which to use and whether to trust it.

    outcome = await judge(JudgeJob("embedded", ("llmbar@~/data", "mine.csv"), n=100))
    outcome.results["advice"]["text"]

The work of `trueup judge`: comparisons are read and sampled, each method decides all of them, and
the figures, the table, the picture and the advice are made of the decisions. Every reply is in the
run's folder before it is used, so a run that was killed is run again and pays nothing twice; the
figures, times among them, are those of the calls when they were paid, so they are the same each
time.

What was found of each judge is kept in judge.json in the run's folder, and among the user's own
measurements, where `align` looks it up.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trueup.data.pairs import Labelled, enough, read_pairs, sample
from trueup.errors import SettingsError
from trueup.evaluation.advice import Advice, advice
from trueup.evaluation.agreement import Agreement, Decision, agreement, by_criterion, curve, pooled
from trueup.evaluation.judging import AT_ONCE, decide
from trueup.evaluation.statistics import Interval
from trueup.jobs.job import RUNS
from trueup.judges.calibration import Calibration, fit, log_loss
from trueup.judges.methods import Method, named
from trueup.judges.pairwise import margin
from trueup.judges.standing import Share, Standing, home, keep, quantiles, wording
from trueup.models.model import Model
from trueup.models.named import open_model, storable
from trueup.models.remembered import Remembered
from trueup.paths import expanded
from trueup.report.judges_chart import judges_chart
from trueup.store import results as results_file
from trueup.store.calls import Calls
from trueup.store.runs import RunFolder

JOB, STANDINGS, CHART = "job.json", "judge.json", "judges.svg"


@dataclass(frozen=True, slots=True)
class JudgeJob:
    """What to measure, on what."""

    model: str
    """As `open_model` takes it."""
    data: tuple[str, ...]
    """Files or public sets of labelled comparisons."""
    methods: str | None = None
    """Names with commas between, or "all"; by default all in which the model does not write."""
    n: int = 100
    """Comparisons of each set."""
    retest: int = 10
    """How many of these are asked twice."""
    seed: int = 0
    at_once: int | None = None
    """Comparisons under way at a time: 16, and 1 for a GGUF file, or half its slots where it
    writes."""
    leave_out_ties: bool = False
    column: str | None = None
    out: str | None = None
    keep: bool = True
    """Whether to keep what was found among the user's own measurements."""

    def same(self) -> dict[str, Any]:
        """What decides the results, apart from how many comparisons they rest on."""
        later = ("n", "retest", "at_once", "out", "keep")
        return {name: value for name, value in asdict(self).items() if name not in later}

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if self.out is not None:
            return expanded(self.out)
        fields = {**self.same(), "n": self.n, "retest": self.retest}
        text = "trueup/judge/1\n" + json.dumps(fields, sort_keys=True)
        return Path(RUNS) / f"judge-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Decided:
    """One more comparison was decided."""

    method: str
    source: str
    done: int
    total: int
    """Over all methods and sets."""


@dataclass(frozen=True, slots=True)
class JudgeOutcome:
    """What a measurement leaves behind."""

    folder: Path
    results: Mapping[str, Any]
    standings: tuple[Standing, ...]
    advice: Advice


def read_sets(job: JudgeJob) -> dict[str, Labelled]:
    """The sampled comparisons of each source. Raises `DataError` before anything is asked."""
    if not job.data:
        raise SettingsError(
            "Nothing to measure on: name comparisons that people labelled with --data, a file or a "
            "public set as in llmbar@PATH."
        )
    found = {}
    for source in job.data:
        labelled = read_pairs(source, leave_out_ties=job.leave_out_ties, column=job.column)
        pairs = sample(labelled.pairs, job.n, job.seed)
        enough(pairs, source)
        name = source.partition("@")[0] if "@" in source else Path(source).name
        if name in found:
            raise SettingsError(f"{name} is named twice in --data: name each set once.")
        found[name] = Labelled(pairs, labelled.notes)
    return found


async def judge(
    job: JudgeJob,
    *,
    model: Model | None = None,
    on_event: Callable[[Decided], None] | None = None,
) -> JudgeOutcome:
    """Measure. `model` stands in for the one that the job names. Raises `TrueupError`."""
    methods, sets = named(job.methods), read_sets(job)
    if not any(method.asks for method in methods):
        raise SettingsError("None of the methods asks the model: name one that does.")
    storable(job.model)
    if job.out is not None:  # else the folder's name says whose it is
        results_file.begun(job.folder, job.same(), JOB)
    opened = model or open_model(job.model)
    try:
        with results_file.opened(job.folder, "judge", job.same(), JOB) as (folder, calls):
            table = await _decided(job, opened, calls, methods, sets, on_event)
            outcome = _outcome(job, opened.identity, methods, sets, table)
            _write(folder, outcome)
        if job.keep:
            keep(outcome.standings, home(opened.identity))
        return outcome
    finally:
        if model is None:
            await opened.close()


async def _decided(
    job: JudgeJob,
    model: Model,
    calls: Calls,
    methods: Sequence[Method],
    sets: Mapping[str, Labelled],
    on_event: Callable[[Decided], None] | None,
) -> dict[str, dict[str, list[Decision]]]:
    """Every method's decisions, by set."""
    remembered = {method.name: Remembered(model, calls, method.name) for method in methods}
    total = len(methods) * sum(len(one.pairs) for one in sets.values())
    done = 0
    table: dict[str, dict[str, list[Decision]]] = {method.name: {} for method in methods}
    for source, labelled in sets.items():

        def told(method: str, _: Decision, of: str = source) -> None:
            nonlocal done
            done += 1
            if on_event is not None:
                on_event(Decided(method, of, done, total))

        found = await decide(
            methods,
            remembered.__getitem__,
            labelled.pairs,
            at_once=job.at_once or _at_once(model, methods),
            retest=job.retest,
            on_decision=told,
        )
        for name, decisions in found.items():
            table[name][source] = decisions
    return table


def _at_once(model: Model, methods: Sequence[Method]) -> int:
    """How many comparisons a model can be asked about at a time without reading texts twice.

    A server in this process gives a new prompt to the slot that holds most of it, the rules
    included, so that two comparisons under way take each other's slots. Where the time goes into
    reading, one at a time reads least; where it goes into writing, several are faster.
    """
    slots = getattr(model, "slots", None)
    if not isinstance(slots, int):
        return AT_ONCE
    return max(1, slots // 2) if any(method.slow for method in methods) else 1


def _outcome(
    job: JudgeJob,
    identity: str,
    methods: Sequence[Method],
    sets: Mapping[str, Labelled],
    table: Mapping[str, Mapping[str, list[Decision]]],
) -> JudgeOutcome:
    found = advice(table)
    standings, rows = [], {}
    for method in methods:
        decisions = pooled(table[method.name].values())
        figures = agreement(decisions, by_set=True)
        calibration = _calibration(decisions)
        rows[method.name] = _row(method, table[method.name], figures, calibration)
        if method.asks and figures.agreement is not None:
            standings.append(
                _standing(identity, method, figures.agreement, calibration, decisions, tuple(sets))
            )
    results = {
        "model": identity,
        "job": {name: value for name, value in asdict(job).items() if name not in ("out", "keep")},
        "sets": {
            name: {"n": len(one.pairs), "notes": list(one.notes)} for name, one in sets.items()
        },
        "methods": rows,
        "advice": found.to_dict(),
    }
    return JudgeOutcome(job.folder, results, tuple(standings), found)


def _row(
    method: Method,
    by_source: Mapping[str, list[Decision]],
    figures: Agreement,
    calibration: Calibration,
) -> dict[str, Any]:
    decisions = pooled(by_source.values())
    criteria = {
        name: agreement(some, by_set=True).to_dict()
        for name, some in by_criterion(decisions).items()
    }
    reasons = Counter(one.preference.failed for one in decisions if one.preference.failed)
    return {
        "told": method.told,
        "asks": method.asks,
        "all": figures.to_dict(),
        "sets": {name: agreement(some).to_dict() for name, some in by_source.items()},
        "criteria": criteria if len(criteria) > 1 else {},
        "calibration": calibration.to_dict(),
        "log_loss": _held_log_loss(decisions),
        "curve": curve(decisions, calibration),
        "failed": dict(reasons.most_common(5)),
    }


def _calibration(decisions: Sequence[Decision]) -> Calibration:
    read = [
        (found, one.pair.better == "first")
        for one in decisions
        if (found := margin(one.preference)) is not None
    ]
    return fit([one for one, _ in read], [first for _, first in read])


def _held_log_loss(decisions: Sequence[Decision]) -> float | None:
    """How surprising people's labels were after calibration on the other half; a coin has 0.693."""
    halves = [decisions[::2], decisions[1::2]]
    shares, first = [], []
    for held, rest in (halves, halves[::-1]):
        calibration = _calibration(rest)
        for one in held:
            if (found := margin(one.preference)) is not None:
                shares.append(calibration(found))
                first.append(one.pair.better == "first")
    return log_loss(shares, first) if shares else None


def _standing(
    identity: str,
    method: Method,
    share: Interval,
    calibration: Calibration,
    decisions: Sequence[Decision],
    sets: tuple[str, ...],
) -> Standing:
    rewards = [
        reward
        for one in decisions
        if one.preference.verdicts is not None
        for verdict in one.preference.verdicts
        if (reward := verdict.reward) is not None
    ]
    criteria = {
        name: _share(figures.agreement)
        for name, some in by_criterion(decisions).items()
        if (figures := agreement(some, by_set=True)).agreement is not None
    }
    return Standing(
        model=identity,
        method=method.name,
        agreement=_share(share),
        calibration=calibration,
        sets=sets,
        wording=wording(method.name),
        rewards=quantiles(rewards),
        criteria=criteria if len(criteria) > 1 else {},
    )


def _share(interval: Interval | None) -> Share:
    if interval is None:
        return Share(0.5, 0.0, 1.0, 0)
    return Share(interval.value, interval.low, interval.high, interval.n)


def _write(folder: RunFolder, outcome: JudgeOutcome) -> None:
    folder.write_text(results_file.FILE, json.dumps(outcome.results, indent=1) + "\n")
    document = {"trueup": 1, "judges": [one.to_dict() for one in outcome.standings]}
    folder.write_text(STANDINGS, json.dumps(document, indent=1) + "\n")
    folder.write_text(CHART, judges_chart(outcome.results))
    honest = outcome.advice.honest
    folder.finish(
        f"best judge {outcome.advice.method}"
        + (
            f", agreement {honest.value:.2f} [{honest.low:.2f}, {honest.high:.2f}]"
            if honest
            else ""
        )
        + f"; trust: {outcome.advice.trust}"
    )
