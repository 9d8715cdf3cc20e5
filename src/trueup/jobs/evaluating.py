"""Evaluate a model on benchmarks: how good, how sure, compared to what, at what price.

    job = EvaluateJob("runs/align-1a2b3c4d", ("xstest@~/data", "gsm8k@~/data"), against="plain")
    outcome = await evaluate(job)
    outcome.results["benchmarks"]["xstest"]["headline"]

The work of `trueup evaluate`. Items go through both models one after another, every reply is in the
run's folder before it is used, and every judged item is a line in a file there as soon as it is its
turn; a run that was killed is run again and pays nothing twice, and more items (`n`) are added to
those there were. Memory does not grow with their number.

What a benchmark is, is in `evaluation/benchmarks`; who is evaluated in `subjects`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trueup.errors import BudgetSpent, ModelRefused
from trueup.evaluation.asking import Opinion
from trueup.evaluation.benchmarks import Benchmark
from trueup.evaluation.deciding import Deciding
from trueup.evaluation.items import sampled
from trueup.evaluation.sheet import Sheet
from trueup.evaluation.statistics import Interval
from trueup.evaluation.streaming import answered
from trueup.jobs.evaluate_job import EMBEDDER, JUDGE, EvaluateJob, Prepared, prepare
from trueup.jobs.subjects import Letters, added
from trueup.models.budgeted import Budget, Budgeted, Price, price_of
from trueup.models.model import Checkable, Model
from trueup.models.named import is_remote
from trueup.models.priced import Priced
from trueup.models.remembered import Remembered
from trueup.report.evaluated import drawn, page
from trueup.store import results as results_file
from trueup.store.calls import Calls
from trueup.store.runs import RunFolder

JOB = "evaluate.json"
UNDECIDED_AT_ONCE = 8
"""Items under way where each may be the last: what is under way then is paid for in vain."""


@dataclass(frozen=True, slots=True)
class Told:
    """How far an evaluation is."""

    benchmark: str
    done: int
    of: int


@dataclass(frozen=True)
class EvaluateOutcome:
    """What an evaluation leaves behind."""

    folder: Path
    results: Mapping[str, Any]


async def evaluate(
    job: EvaluateJob,
    *,
    models: Mapping[str, Model] | None = None,
    on_event: Callable[[Told], None] | None = None,
) -> EvaluateOutcome:
    """Evaluate. `models`, by name, stand in for those that the job names. Raises `TrueupError`."""
    return await run(prepare(job, models), on_event or (lambda told: None))


async def run(prepared: Prepared, on_event: Callable[[Told], None]) -> EvaluateOutcome:
    """Carry out what was prepared, and close its models."""
    job = prepared.job
    try:
        results_file.begun(job.folder, job.same(), JOB)
        budget = _budget(job)
        for model in prepared.models.values():
            if isinstance(model, Checkable):
                await model.check()
        with results_file.opened(job.folder, "evaluate", job.same(), JOB) as (folder, calls):
            results = await _Running(prepared, folder, calls, budget, on_event).whole()
            text = json.dumps(results, indent=1)
            folder.write_text(results_file.FILE, text + "\n")
            written = json.loads(text)
            pictures = drawn(written)
            for name, picture in pictures.items():
                folder.write_text(name, picture)
            folder.write_text("report.md", page(written, pictures))
            folder.finish(results["summary"])
        return EvaluateOutcome(job.folder, results)
    finally:
        await prepared.close()


def _budget(job: EvaluateJob) -> Budget | None:
    limits = (job.budget_calls, job.budget_tokens, job.budget_usd, job.budget_minutes)
    return Budget(*limits) if any(limit is not None for limit in limits) else None


class _Running:
    """An evaluation under way."""

    def __init__(
        self,
        prepared: Prepared,
        folder: RunFolder,
        calls: Calls,
        budget: Budget | None,
        on_event: Callable[[Told], None],
    ) -> None:
        self._prepared = prepared
        self._folder = folder
        self._calls = calls
        self._budget = budget
        self._tell = on_event
        self._stopped: str | None = None

    async def whole(self) -> dict[str, Any]:
        """Every benchmark in turn, until the budget is spent."""
        prepared, began = self._prepared, time.monotonic()
        asked = prepared.asks_judge
        judge = self._paid(JUDGE, prepared.judge_name) if asked else None
        opinion = Opinion(prepared.judge if asked else "checks", judge)
        found = {}
        for name in prepared.benchmarks:
            if self._stopped is not None:
                break
            try:
                found[name] = await self._one(name, opinion)
            except ModelRefused as refused:
                # What one benchmark wants, the likelihood of a text say, few servers can do.
                if len(prepared.benchmarks) == 1:
                    raise
                benchmark, place, held = prepared.benchmarks[name]
                found[name] = _nothing(benchmark, place, held, str(refused))
        ledger = self._calls.ledger()
        results = {
            "kind": "evaluate",
            "job": prepared.job.same() | {"n": prepared.job.n, "until": prepared.job.until},
            "models": {
                label: {"told": one.told, "identity": prepared.models[one.model_name].identity}
                for label, one in zip(prepared.labels, prepared.subjects, strict=True)
            },
            "judge": prepared.judge_told,
            "benchmarks": found,
            "costs": {
                part: {role: asdict(cost) for role, cost in costs.items()}
                for part, costs in (("this_time", ledger.process), ("in_all", ledger.file))
            },
            "seconds": time.monotonic() - began,
            "stopped": self._stopped,
        }
        return results | {"summary": summary(results)}

    async def _one(self, name: str, opinion: Opinion) -> dict[str, Any]:
        prepared, job = self._prepared, self._prepared.job
        benchmark, place, held = prepared.benchmarks[name]
        by_code, n = opinion.kind == "checks", prepared.n(name)
        letters = [self._counted(label) for label in range(len(prepared.subjects))]
        sheet = Sheet(benchmark, len(letters), by_code=by_code)
        deciding = Deciding(benchmark, by_code=by_code) if job.until else None
        stream = answered(
            [asked for asked, _ in letters],
            sampled(benchmark.read, place, n, job.seed),
            benchmark,
            opinion,
            prepared.sampling(benchmark),
            concurrency=min(job.at_once, UNDECIDED_AT_ONCE) if job.until else job.at_once,
        )
        stopped = None
        with self._folder.lines(f"{name}.jsonl") as write:
            try:
                async with aclosing(stream):
                    async for done in stream:
                        write(done.to_dict(prepared.labels))
                        sheet.add(done)
                        self._tell(Told(name, sheet.items, n))
                        if deciding is not None:
                            deciding.add(done)
                            if deciding.decided:
                                break
            except BudgetSpent as spent:
                stopped = self._stopped = str(spent)
        if job.parquet and sheet.items:
            self._table(name)
        if sheet.items == 0:
            sheet.close()
            return _nothing(benchmark, place, held, stopped)
        headline, rows = sheet.headline(), sheet.rows()
        sheet.close()
        tokens = next((row for row in rows if row.name == "tokens in"), None)
        mean_in = (tokens.after or tokens.before) if tokens else None
        return {
            "told": benchmark.told,
            "protocol": benchmark.protocol,
            "differs": benchmark.differs,
            "place": place,
            "n": sheet.items,
            "of": held,
            "seed": job.seed,
            "max_tokens": prepared.sampling(benchmark).max_tokens,
            "failed": dict(zip(prepared.labels, sheet.failed, strict=True)),
            "headline": headline.to_dict() if headline else None,
            "table": [row.to_dict() for row in rows],
            "tokens_added": _added(letters[-1], mean_in),
            "decided": deciding.decided if deciding else None,
            "sequential": deciding.interval.to_dict() if deciding else None,
            "stopped": stopped,
        }

    def _counted(self, at: int) -> tuple[Letters, Letters]:
        """A subject as a model, counting what it is asked, and the counter behind its prompt."""
        subject = self._prepared.subjects[at]
        sent = Letters(self._paid(self._prepared.labels[at], subject.model_name))
        name = subject.aligned.embedder_name if subject.aligned else None
        embedder = self._paid(EMBEDDER, name) if name else None
        return Letters(subject.model(sent, embedder)), sent

    def _paid(self, role: str, name: str) -> Model:
        """A model: remembered, priced, and counted against the budget where there is one."""
        opened = self._prepared.models[name]
        given = self._prepared.job.prices.get(role)
        price = Price(*given) if given else price_of(opened)
        if price is None and not is_remote(opened):
            price = Price(0.0, 0.0)
        model: Model = Remembered(Priced(opened, price), self._calls, role)
        return model if self._budget is None else Budgeted(model, self._budget)

    def _table(self, name: str) -> None:
        from trueup.data.parquet import write_parquet

        folder = self._folder.path
        write_parquet(folder / f"{name}.parquet", folder / f"{name}.jsonl")


def _nothing(benchmark: Benchmark, place: str, held: int, stopped: str | None) -> dict[str, Any]:
    return {
        "told": benchmark.told,
        "place": place,
        "n": 0,
        "of": held,
        "headline": None,
        "table": [],
        "stopped": stopped,
    }


def _added(letters: tuple[Letters, Letters], tokens_in: Interval | None) -> dict[str, Any] | None:
    """Tokens that the prompt adds to a request, from the share of its letters."""
    if tokens_in is None:
        return None
    share = added(*letters)
    return {"share": share, "tokens": share * tokens_in.value}


def summary(results: Mapping[str, Any]) -> str:
    """The evaluation in a line."""
    parts = []
    for name, one in results["benchmarks"].items():
        row = one["headline"]
        if row is None or not row["before"]:
            parts.append(f"{name}: nothing measured")
        elif row["after"]:
            parts.append(f"{name} {row['before']['value']:.2f} → {row['after']['value']:.2f}")
        else:
            parts.append(f"{name} {row['before']['value']:.2f}")
    return "; ".join(parts)
