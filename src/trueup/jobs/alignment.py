"""Run a job: search for the prompt, save it, measure what it bought, and write that down.

    outcome = await align(Job(policy="endpoint:http://localhost:8000#qwen", data="my.jsonl"))
    outcome.aligned.prompt.instruction
    outcome.results["summary"]                  # "balanced safety 0.49 → 0.87 ..."
    model = outcome.aligned.model()

Nothing is paid twice: every reply is in the run's folder before it is used, so a run that was
killed, or that stopped for want of budget, is run again and goes on where it was. One that is
finished is shown. A part of every budget is kept for the held-out queries, since a prompt nobody
measured is worth little.

Files of the run's folder: job.toml, inputs.json, aligned.toml, report.md with its pictures,
results.json, calls.sqlite, and finished.json, which is written last.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from trueup import aligned as aligned_file
from trueup.aligned import Aligned
from trueup.errors import JudgeError, ModelError, ModelUnavailable
from trueup.evaluation.comparison import Comparison, compare
from trueup.evaluation.evaluate import Progress
from trueup.evaluation.guard import at_equal_length, rejudged, warnings
from trueup.evaluation.pictures import pictured
from trueup.evaluation.price import price
from trueup.evaluation.versus import HEADLINES
from trueup.jobs.deadline import Deadline
from trueup.jobs.estimate import enough, estimate, reserve
from trueup.jobs.job import Job
from trueup.jobs.outcome import Outcome, begin, finished
from trueup.jobs.plan import Plan, prepare
from trueup.jobs.searching import search
from trueup.jobs.tally import Tally, tallied
from trueup.judges.judge import Judge
from trueup.models.budgeted import Budget, Budgeted
from trueup.models.model import Model
from trueup.models.priced import Priced
from trueup.models.remembered import Remembered
from trueup.prompt.candidates import balanced
from trueup.prompt.prompt import Prompted
from trueup.prompt.states import Found
from trueup.report.album import drawn
from trueup.report.markdown import REPORT, report
from trueup.store import results as results_file
from trueup.store.calls import Calls
from trueup.store.runs import RunFolder, read_rounds

HELD_OUT = " (held-out)"
"""What a role's calls on the held-out queries are booked under, after the role's name."""


@dataclass(frozen=True, slots=True)
class Started:
    """The first call is about to be made."""

    plan: Plan
    budget: Budget


@dataclass(frozen=True, slots=True)
class Searched:
    """A round of the search has ended."""

    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """One more held-out query was answered and judged."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something the user should know, in a sentence."""

    text: str


Event = Started | Searched | Measured | Noticed
OnEvent = Callable[[Event], None]


async def align(
    job: Job | None = None,
    *,
    models: Mapping[str, Model] | None = None,
    judge: Judge | None = None,
    on_event: OnEvent | None = None,
) -> Outcome:
    """Align a model as a job says.

    `models` by role (policy, writer, judge, embedder) and `judge` stand in for those that the job
    names. Raises `TrueupError`; the same call again goes on where it stopped.
    """
    plan = prepare(job or Job(), models=models, judge=judge)
    return await run(plan, on_event or (lambda event: None))


async def run(plan: Plan, on_event: OnEvent) -> Outcome:
    """Run what was prepared, and close its models."""
    try:
        done = finished(plan)
        if done is not None:
            return done
        budget = enough(plan)
        await plan.check()
        with RunFolder(plan.job.folder, method=str(plan.job.method)) as folder:
            begin(plan, folder)
            with Calls(folder.calls) as calls:
                return await _Running(plan, folder, calls, budget, on_event).whole()
    finally:
        await plan.close()


class _Running:
    """A run under way."""

    def __init__(
        self, plan: Plan, folder: RunFolder, calls: Calls, budget: Budget, on_event: OnEvent
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._calls = calls
        self._budget = budget
        self._share = reserve(estimate(plan), budget)
        self._before = read_rounds(folder.path)
        self._tell = on_event
        self._tally = Tally()
        self._rounds: list[Mapping[str, Any]] = []
        self._stopped: str | None = None
        self._gone: ModelUnavailable | None = None
        """Why the second judge was not there: the run is not over, the same command asks again."""
        self._began = time.monotonic()

    async def whole(self) -> Outcome:
        """Search, save, measure, report; the completion mark is written last."""
        plan = self._plan
        search = {role: self._paid(role, self._share) for role in plan.models}
        report_on = {role: self._paid(role + HELD_OUT, self._budget) for role in plan.models}
        self._tell(Started(plan, self._budget))
        for note in plan.notes:
            self._tell(Noticed(note))
        found = await self._searched(search)
        aligned = self._aligned(found)
        self._folder.write_text(aligned_file.FILE, aligned.toml())
        comparison = await self._compared(report_on, aligned)
        looked_at = await self._looked_at(report_on, comparison)
        text = json.dumps(self._results(found, comparison) | looked_at, indent=1)
        self._folder.write_text(results_file.FILE, text + "\n")
        results = json.loads(text)
        for name, picture in drawn(results).items():
            self._folder.write_text(name, picture)
        self._folder.write_text(REPORT, report(results))
        if self._gone is not None:
            raise self._gone
        self._folder.finish(str(results["summary"]))
        return Outcome(self._folder.path, aligned, results)

    def _paid(self, role: str, budget: Budget) -> Model:
        """A role's model: remembered, and counted against the part's budget and the whole."""
        of = role.removesuffix(HELD_OUT)
        model: Model = Priced(self._plan.models[of], self._plan.price(of))
        model = Budgeted(Remembered(model, self._calls, role), self._budget)
        return model if budget is self._budget else Budgeted(model, budget)

    async def _searched(self, models: Mapping[str, Model]) -> Found:
        """The search's best prompt, whatever ended it."""
        judge = tallied(self._plan.judge(models.get("judge")), self._tally)
        done = await search(self._plan, models, judge, self._round, self._noticed, self._deadline())
        if done.refused is not None:
            self._refused(done.refused)
        self._stopped = done.stopped
        if done.stopped is not None:
            self._noticed(f"{done.stopped} The best prompt so far is taken.")
        return done.found

    def _refused(self, said: str) -> None:
        """Write down that a limit ended the search after this round, for when the run goes on."""
        told = {"said": said, "limits": _limits(self._budget)}
        self._rounds[-1] = {**self._rounds[-1], "refused": told}
        self._folder.append_round(self._rounds[-1])

    def _deadline(self) -> Deadline | None:
        minutes = self._budget.minutes
        if minutes is None:
            return None
        return Deadline(minutes, 2 * len(self._plan.held_out), self._budget, self._before)

    def _round(self, record: Mapping[str, Any]) -> None:
        refused = _refused(self._before, record["number"], self._budget)
        if refused is not None:
            # Which call a limit refuses depends on which replies come first: what it refused an
            # earlier process it might let out now, and the search would end elsewhere.
            record = {**record, "refused": refused}
            self._share.close(refused["said"])
        self._rounds.append(record)
        self._folder.append_round(record)
        self._tell(Searched(record))

    def _noticed(self, text: str) -> None:
        self._tell(Noticed(text))

    def _aligned(self, found: Found) -> Aligned:
        plan = self._plan
        return Aligned(
            plan.job.policy,
            found.prompt,
            plan.sampling,
            plan.job.embedder,
            {
                "method": f"{plan.job.method}{', as published' if plan.job.published else ''}",
                "run": plan.job.name,
                "identity": plan.models["policy"].identity,
                "judge": plan.judge_shown,
                "validation_score": _shown(found.validation_score),
            },
        )

    async def _compared(self, models: Mapping[str, Model], aligned: Aligned) -> Comparison:
        plan = self._plan
        comparison = await compare(
            Prompted(models["policy"], plan.base),
            aligned.model(models["policy"], models.get("embedder")),
            plan.held_out,
            tallied(plan.judge(models.get("judge")), self._tally),
            sampling=plan.sampling,
            on_progress=lambda progress: self._tell(Measured(progress)),
        )
        stopped = comparison.before.stopped or comparison.after.stopped
        if stopped is not None:
            self._stopped = f"Not all held-out queries were measured. {stopped}"
            self._tell(Noticed(self._stopped))
        return comparison

    async def _looked_at(
        self, models: Mapping[str, Model], comparison: Comparison
    ) -> dict[str, Any]:
        """The gain from outside: under another judge, at equal length, and what speaks against."""
        plan = self._plan
        second, other, said = plan.report_judge(models.get("report_judge")), None, []
        if second is not None:
            judge = tallied(second, Tally())
            before, after = comparison.before, comparison.after
            try:
                other = Comparison(await rejudged(before, judge), await rejudged(after, judge))
            except (JudgeError, ModelError) as error:
                # What the search found and the held-out queries showed stands without it.
                said = [f"The replies could not be judged by {plan.report_judge_shown}: {error}"]
                self._gone = error if isinstance(error, ModelUnavailable) else None
        said += warnings(comparison, other, plan.report_judge_shown, by_code=second is None)
        for warning in said:
            self._tell(Noticed(warning))
        level = at_equal_length(comparison)
        return {
            "second_judge": None
            if other is None
            else {
                "judge": plan.report_judge_shown,
                "table": [
                    row.to_dict() for row in other.table if row.group in ("reward", "criterion")
                ],
            },
            "at_equal_length": level.to_dict() if level else None,
            "warnings": said,
            "standing": plan.standing_told,
        }

    def _results(self, found: Found, comparison: Comparison) -> dict[str, Any]:
        plan, ledger = self._plan, self._calls.ledger()
        after = {one.query: one.verdict.reward for one in comparison.after.results}
        results: dict[str, Any] = {
            "job": plan.job.model_dump(mode="json", exclude_none=True),
            "name": self._folder.path.name,
            "inputs": plan.inputs,
            "judge": plan.judge_shown,
            "models": {role: model.identity for role, model in plan.models.items()},
            "quirks": _quirks(plan),
            "data": {
                "search": len(plan.search),
                "validation": len(plan.validation),
                "held_out": len(plan.held_out),
                "to_refuse": sum(one.should_answer is False for one in plan.held_out),
                "demonstrations": len(plan.pool),
                "notes": list(plan.notes),
            },
            "found": {
                "prompt": asdict(found.prompt),
                "search_score": found.search_score,
                "validation_score": found.validation_score,
                "held_out_score": balanced(
                    {query: reward for query, reward in after.items() if reward is not None}
                ),
                "candidates": found.candidates,
                "policy_calls": found.policy_calls,
                "notes": list(found.notes),
            },
            "base": asdict(plan.base),
            "rounds": self._rounds,
            "comparison": comparison.to_dict(),
            "price": _price(plan, comparison),
            "pictures": pictured(comparison),
            "verdicts": self._tally.to_dict(),
            "costs": {
                part: {role: asdict(cost) for role, cost in costs.items()}
                for part, costs in (("this_time", ledger.process), ("in_all", ledger.file))
            },
            "spent": asdict(self._budget.spent),
            "seconds": time.monotonic() - self._began,
            "stopped": self._stopped,
        }
        return results | {"summary": summary(results)}


def _price(plan: Plan, comparison: Comparison) -> dict[str, Any]:
    """What the prompt costs on every request, and what it buys for that."""
    gained = next((row for key in HEADLINES if (row := comparison.row(*key))), None)
    cost = price(comparison, gained, plan.price("policy")).to_dict()
    return cost | {"measure": gained.name if gained else None}


def summary(results: Mapping[str, Any]) -> str:
    """The run in a line."""
    rows = {(row["group"], row["name"]): row for row in results["comparison"]["table"]}
    for key in HEADLINES:
        row = rows.get(key)
        if row is not None and row["before"] and row["after"] and row["difference"]:
            gap = row["difference"]
            between = ""
            if gap["low"] is not None and gap["high"] is not None:
                between = f" [{gap['low']:+.2f}, {gap['high']:+.2f}]"
            return (
                f"{row['name']} {row['before']['value']:.2f} → {row['after']['value']:.2f} "
                f"({gap['value']:+.2f}{between}, {row['n']} held-out queries)"
            )
    return "nothing could be measured"


def _quirks(plan: Plan) -> list[str]:
    """What servers turned out not to do."""
    found: dict[str, None] = {}
    for model in plan.models.values():
        with suppress(AttributeError):
            found.update(dict.fromkeys(model.quirks))  # type: ignore[attr-defined]
    return list(found)


def _limits(budget: Budget) -> list[float | None]:
    return [budget.calls, budget.tokens, budget.usd, budget.minutes]


def _refused(
    before: Sequence[Mapping[str, Any]], number: int, budget: Budget
) -> Mapping[str, Any] | None:
    """What ended an earlier process's search after this round, under the limits of today."""
    told = [row["refused"] for row in before if row["number"] == number and "refused" in row]
    return told[0] if told and told[0]["limits"] == _limits(budget) else None


def _shown(score: float | None) -> str:
    return "not measured" if score is None else f"{score:.3f}"
