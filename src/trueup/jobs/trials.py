"""Prompts tried on models: the same queries, the same judge, every reply kept.

    trials = Trials(plan, calls, budget, opened={})
    evaluation = await trials.measured("urial", contender_prompt, plan.held_out)
    models, spent = trials.searching("ours")

Who is tried decides the role a call is booked under, so that the ledger tells what each has cost.
A reply that two candidates ask for alike is paid once. What is compared with what is decided
elsewhere (`comparing`, `transferring`, `trimming`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from trueup.evaluation.evaluate import Evaluation, Progress, evaluate
from trueup.jobs.estimate import Expected, estimate
from trueup.jobs.plan import Plan
from trueup.jobs.tally import Tally, tallied
from trueup.models.budgeted import Budget, Budgeted, Price, price_of
from trueup.models.model import Model
from trueup.models.named import is_remote, open_model
from trueup.models.priced import Priced
from trueup.models.remembered import Remembered
from trueup.prompt.prompt import Prompt, Prompted
from trueup.store.calls import Calls
from trueup.types import Query

OnProgress = Callable[[Progress], None]


class Trials:
    """Models by name, opened once and paid for out of one budget."""

    def __init__(
        self, plan: Plan, calls: Calls, budget: Budget, opened: dict[str, Model], on: OnProgress
    ) -> None:
        """`opened` are models by name; those that are missing are opened, and added."""
        self._plan = plan
        self._calls = calls
        self._budget = budget
        self._opened = opened
        self._on = on
        self.tally = Tally()

    def searching(
        self, name: str, plan: Plan, share: Budget, policy_calls: int | None
    ) -> tuple[dict[str, Model], Budget]:
        """A search's models by role, and what it will have spent; stops at `policy_calls`."""
        spent, policy = Budget(), Budget(calls=policy_calls)
        models: dict[str, Model] = {}
        for role, model in plan.models.items():
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
    ) -> Evaluation:
        """A prompt in front of a model (by default the plan's policy), on the queries."""
        plan = self._plan
        model = self.model(model_name or plan.job.policy)
        price = plan.price("policy") if model is plan.models["policy"] else price_or_free(model)
        policy = self._paid(model, price, f"policy, {name} (held-out)")
        embedder = None
        if embedder_name is not None:
            opened = self.model(embedder_name)
            embedder = self._paid(opened, price_or_free(opened), f"embedder, {name} (held-out)")
        judge_model = None
        if "judge" in plan.models:
            role = f"judge, {name} (held-out)"
            judge_model = self._paid(plan.models["judge"], plan.price("judge"), role)
        return await evaluate(
            Prompted(policy, prompt, embedder),
            queries,
            tallied(plan.judge(judge_model), self.tally),
            sampling=plan.sampling,
            on_progress=self._on,
            label=name,
        )

    def model(self, name: str) -> Model:
        """The model of that name, opened if it is not. Raises `SettingsError`."""
        if name == self._plan.job.policy:
            return self._plan.models["policy"]
        if name not in self._opened:
            self._opened[name] = open_model(name)
        return self._opened[name]

    def price(self, model_name: str) -> Price | None:
        """What the model's tokens cost."""
        if model_name == self._plan.job.policy:
            return self._plan.price("policy")
        return price_or_free(self.model(model_name))

    def _paid(self, model: Model, price: Price | None, role: str) -> Model:
        return Budgeted(Remembered(Priced(model, price), self._calls, role), self._budget)


def price_or_free(model: Model) -> Price | None:
    """The model's own price; nothing on this machine, unknown elsewhere."""
    known = price_of(model)
    return known if known is not None or is_remote(model) else Price(0.0, 0.0)


def reported(plan: Plan, times: int, queries: int) -> list[Expected]:
    """What it takes to measure so many prompts on so many queries."""
    held = replace(plan, held_out=plan.held_out[:queries])
    return [
        _times(row, times / 2)
        for row in estimate(held)
        if row.part == "held-out" and row.role != "report_judge"
    ]


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


def closing(plan: Plan, opened: Mapping[str, Model]) -> list[Model]:
    """Every model once."""
    every = [*plan.models.values(), *opened.values()]
    return list({id(model): model for model in every}.values())
