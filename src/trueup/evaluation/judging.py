"""Have every way to judge decide the same comparisons, and keep what each decision cost.

    decisions = await decide([METHODS["pairs"]], lambda name: model, pairs, retest=10)
    agreement(decisions["pairs"])

Each comparison is asked for with a model of its own that counts, so that what a decision costs is
known decision by decision and is the same when replies come out of a store: tokens and seconds are
those of the call that was paid once. A second asking changes nothing but the seed; where even that
changes the decision, the judge has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from trueup.evaluation.agreement import Decision
from trueup.judges.methods import Method, compared
from trueup.judges.pairwise import Preference
from trueup.models.model import Embeddings, Model
from trueup.types import Pair, Reply, Request, Usage

AT_ONCE = 16
ANOTHER_SEED = 7_000_003
"""What is added to the seed of a second asking: far from the seeds of re-asked answers."""


class Metered:
    """A model that sums what its replies cost, and can shift their seeds."""

    def __init__(self, model: Model, shift: int = 0) -> None:
        self._model = model
        self._shift = shift
        self.usage = Usage()
        self.seconds = 0.0

    @property
    def identity(self) -> str:
        return self._model.identity

    async def reply(self, request: Request) -> Reply:
        if self._shift:
            sampling = replace(request.sampling, seed=request.sampling.seed + self._shift)
            request = replace(request, sampling=sampling)
        reply = await self._model.reply(request)
        self.usage += reply.usage
        self.seconds += reply.seconds
        return reply

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return await self._model.embed(texts)

    async def close(self) -> None:
        """The model belongs to somebody else."""


async def decide(
    methods: Sequence[Method],
    model_for: Callable[[str], Model],
    pairs: Sequence[Pair],
    *,
    at_once: int = AT_ONCE,
    retest: int = 0,
    on_decision: Callable[[str, Decision], None] | None = None,
) -> dict[str, list[Decision]]:
    """Each method's decision on each pair, in order; the first `retest` of them are asked twice.

    A pair goes through all methods before the next, and one of its replies through all that score
    replies before the other: a server that has just read a text need not read it again. `model_for`
    gives the model to a method's name. Raises `BudgetSpent` and `ModelUnavailable`; what was paid
    until then is for the store to keep.
    """
    room = asyncio.Semaphore(at_once)

    async def all_of(at: int, pair: Pair) -> list[Decision]:
        async with room:
            found, metered = await asked(pair, methods)
            again: dict[str, Preference] = {}
            if at < retest:
                again, _ = await asked(pair, [one for one in methods if one.asks], ANOTHER_SEED)
            decisions = []
            for name, preference in found.items():
                cost = metered[name]
                decision = Decision(pair, preference, cost.usage, cost.seconds, again.get(name))
                decisions.append(decision)
                if on_decision is not None:
                    on_decision(name, decision)
            return decisions

    async def asked(
        pair: Pair, some: Sequence[Method], shift: int = 0
    ) -> tuple[dict[str, Preference], dict[str, Metered]]:
        metered = {one.name: Metered(model_for(one.name), shift) for one in some}
        judges = {one.name: one.judge(metered[one.name]) for one in some if one.judge is not None}
        first = {name: await judge(pair.query, pair.first) for name, judge in judges.items()}
        second = {name: await judge(pair.query, pair.second) for name, judge in judges.items()}
        found = {}
        for one in some:
            if one.name in judges:
                found[one.name] = compared(first[one.name], second[one.name])
            else:
                compare = one.make(metered[one.name])
                found[one.name] = await compare(pair.query, pair.first, pair.second)
        return found, metered

    tasks = [asyncio.create_task(all_of(at, pair)) for at, pair in enumerate(pairs)]
    try:
        rows = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {method.name: [row[at] for row in rows] for at, method in enumerate(methods)}
