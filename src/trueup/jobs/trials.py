"""Prompts tried on models: the same queries, the same judge, every reply kept.

    trials = Trials(plan, calls, budget, opened={}, on=print)
    evaluation = await trials.measured("urial", contender_prompt, plan.held_out)
    models, spent = trials.searching("ours", plan, share, policy_calls=300)
    outcome = await carried_out(ready, "compare", work, {"report.md": beside}, print)

Who is tried decides the role a call is booked under, so that the ledger tells what each has cost.
A reply that two candidates ask for alike is paid once. What is compared with what is decided
elsewhere (`comparing`, `transferring`, `trimming`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from trueup.errors import SettingsError
from trueup.evaluation.evaluate import Evaluation, Progress, evaluate
from trueup.jobs.estimate import Expected, estimate
from trueup.jobs.plan import Plan
from trueup.jobs.tally import Tally, tallied
from trueup.models.budgeted import Budget, Budgeted, Price
from trueup.models.model import Checkable, Model, distinct
from trueup.models.named import is_remote, open_model
from trueup.models.priced import Priced
from trueup.models.remembered import Remembered
from trueup.prompt.prompt import Prompt, Prompted
from trueup.store import results as results_file
from trueup.store.calls import Calls
from trueup.store.runs import RunFolder
from trueup.types import Query, Usage

OnEvent = Callable[[str | Progress], None]
"""Told what begins, and how far it is."""


class Ready(Protocol):
    """A job of trials before its first call."""

    @property
    def folder(self) -> Path: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def opened(self) -> dict[str, Model]:
        """Models by name, beside the plan's."""
        ...

    @property
    def expected(self) -> list[Expected]:
        """What it will take, at most."""
        ...

    @property
    def called(self) -> dict[str, Model]:
        """Every model that is called, by role or by name."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result."""
        ...


@dataclass(frozen=True, slots=True)
class TrialsOutcome:
    """What a job of trials leaves behind."""

    folder: Path
    results: Mapping[str, Any]
    shown_again: bool = False
    """Whether it had finished before, and nothing was asked."""


class Trials:
    """Models by name, opened once and paid for out of one budget."""

    def __init__(
        self,
        plan: Plan,
        calls: Calls,
        budget: Budget,
        opened: Mapping[str, Model],
        on: OnEvent,
    ) -> None:
        """`opened` are models by name, beside the policy."""
        self._plan = plan
        self._calls = calls
        self.budget = budget
        self._models = {**opened, **plan.by_name}
        self._on = on
        self.tally = Tally()

    def searching(
        self, name: str, plan: Plan, share: Budget, policy_calls: int | None
    ) -> tuple[dict[str, Model], Budget]:
        """A search's models by role, and what it will have spent; stops at `policy_calls`."""
        spent, policy = Budget(), Budget(calls=policy_calls)
        models: dict[str, Model] = {}
        for role, model in asked(plan, searches=True).items():
            paid = self._paid(model, plan.price(role), f"{role}, {name} (search)")
            models[role] = Budgeted(Budgeted(paid, share), spent)
            if role == "policy":
                models[role] = Budgeted(models[role], policy)
        return models, spent

    async def measured(
        self,
        name: str,
        prompt: Prompt,
        queries: Sequence[Query],
        *,
        model_name: str | None = None,
        embedder_name: str | None = None,
        share: Budget | None = None,
    ) -> Evaluation:
        """A prompt in front of a model (by default the plan's policy), on the queries.

        `share` is the part of the budget that it may use, where that is not all.
        """
        plan = self._plan
        out_of = share or Budget()
        policy = self._named(model_name or plan.job.policy, f"policy, {name} (held-out)")
        embedder = None
        if embedder_name is not None:
            embedder = self._named(embedder_name, f"embedder, {name} (held-out)")
        judge_model = None
        if "judge" in plan.models:
            role = f"judge, {name} (held-out)"
            paid = self._paid(plan.models["judge"], plan.price("judge"), role)
            judge_model = Budgeted(paid, out_of)
        return await evaluate(
            Prompted(Budgeted(policy, out_of), prompt, embedder),
            queries,
            tallied(plan.judge(judge_model), self.tally),
            sampling=plan.sampling,
            on_progress=self._on,
            label=name,
        )

    def price(self, model_name: str) -> Price | None:
        """What the model's tokens cost."""
        return self._plan.price_of(self._models[model_name], model_name)

    def _named(self, name: str, role: str) -> Model:
        return self._paid(self._models[name], self.price(name), role)

    def _paid(self, model: Model, price: Price | None, role: str) -> Model:
        return Budgeted(Remembered(Priced(model, price), self._calls, role), self.budget)


async def carried_out(
    ready: Ready,
    command: str,
    work: Callable[[Trials, RunFolder], Awaitable[dict[str, Any]]],
    pages: Mapping[str, Callable[[Mapping[str, Any]], str]],
    on_event: OnEvent,
) -> TrialsOutcome:
    """Do the work, write its results and their pages, and close the models.

    The same again goes on where it stopped; what has finished is shown again. Raises `TrueupError`.
    """
    plan, file = ready.plan, f"{command}.json"
    try:
        done = results_file.finished(ready.folder, ready.settings, file)
        if done is not None:
            return TrialsOutcome(ready.folder, done, shown_again=True)
        budget = plan.job.budget()
        _enough(ready, budget)
        await check(plan, ready.called, budget)
        with results_file.opened(ready.folder, command, ready.settings, file) as (folder, calls):
            trials = Trials(plan, calls, budget, ready.opened, on_event)
            about = {"settings": ready.settings, "notes": list(ready.notes)}
            found = await work(trials, folder)
            costs = {role: asdict(cost) for role, cost in calls.ledger().file.items()}
            text = json.dumps(about | found | {"costs": costs}, indent=1)
            results = json.loads(text)
            folder.write_text(results_file.FILE, text + "\n")
            for name, page in pages.items():
                folder.write_text(name, page(results))
            folder.finish(str(results["summary"]))
        return TrialsOutcome(ready.folder, results)
    finally:
        for model in distinct([*plan.models.values(), *ready.opened.values()]):
            await model.close()


def _enough(ready: Ready, budget: Budget) -> None:
    last = sum(row.calls for row in ready.expected if row.part == "held-out")
    if budget.calls is not None and budget.calls < last:
        raise SettingsError(
            f"A budget of {budget.calls} calls is too small: the held-out queries alone take "
            f"{last}. Raise --budget-calls, or lower --held-out."
        )


def opened(plan: Plan, names: Iterable[str | None], given: Mapping[str, Model]) -> dict[str, Model]:
    """The models of these names beside the policy: the plan's, those given, the others opened.

    Before anyone agrees to what is called. Raises `SettingsError` and `ModelUnavailable`.
    """
    known = {**given, **plan.by_name}
    wanted = [name for name in dict.fromkeys(names) if name and name != plan.job.policy]
    return {name: known.get(name) or open_model(name) for name in wanted}


def asked(plan: Plan, *, searches: bool) -> dict[str, Model]:
    """The plan's models that are called, by role."""
    roles = ("policy", "writer", "judge", "embedder") if searches else ("policy", "judge")
    return {role: plan.models[role] for role in roles if role in plan.models}


def paid(models: Mapping[str, Model]) -> dict[str, str]:
    """Those on somebody else's machine, and which they are."""
    return {name: model.identity for name, model in models.items() if is_remote(model)}


async def check(plan: Plan, models: Mapping[str, Model], budget: Budget) -> None:
    """See that each has a price where money is limited, and could answer. By role or by name.

    Raises `SettingsError`, `ModelUnavailable` or `ModelRefused`.
    """
    for name, model in models.items():
        Budgeted(Priced(model, plan.price_of(model, name)), budget)
    for model in distinct(models.values()):
        if isinstance(model, Checkable):
            await model.check()


def reported(
    plan: Plan, names: Sequence[str], queries: int, opened: Mapping[str, Model]
) -> list[Expected]:
    """What it takes to measure a prompt on each of the models named, on so many queries."""
    held, models = replace(plan, held_out=plan.held_out[:queries]), {**opened, **plan.by_name}
    rows = []
    for name, times in Counter(names).items():
        there = replace(held, models={**held.models, "policy": models[name]})
        row = next(row for row in _held_out(there) if row.role == "policy")
        price = plan.price_of(models[name], name)
        usd = price.usd(Usage(row.tokens_in, row.tokens_out)) if price else None
        role = "policy" if name == plan.job.policy else name
        rows.append(_times(replace(row, role=role, usd=usd), times / 2))
    judging = [row for row in _held_out(held) if row.role == "judge"]
    return rows + [_times(row, len(names) / 2) for row in judging]


def _held_out(plan: Plan) -> list[Expected]:
    return [row for row in estimate(plan) if row.part == "held-out"]


def searched(plan: Plan) -> list[Expected]:
    """What a plan's search takes."""
    return [row for row in estimate(plan) if row.part != "held-out"]


def _times(row: Expected, factor: float) -> Expected:
    return replace(
        row,
        calls=round(row.calls * factor),
        tokens_in=round(row.tokens_in * factor),
        tokens_out=round(row.tokens_out * factor),
        usd=None if row.usd is None else row.usd * factor,
        seconds=row.seconds * factor,
    )
