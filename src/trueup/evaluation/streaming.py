"""Many items put to one model or several, a bounded number at a time, given out in order.

    async for done in answered([base, aligned], items, benchmark, opinion, sampling):
        sheet.add(done)

Each item goes to every model before its judgement, so that results are pairs from the first on and
one may stop as soon as they decide. The first model is the one that the others are compared with:
where replies are judged in pairs, theirs are judged against its own. Items may be a stream without
end; what is held is what is under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from trueup.errors import ModelRefused, SettingsError
from trueup.evaluation.asking import Answer, Opinion, marked, put
from trueup.evaluation.benchmarks import Benchmark
from trueup.evaluation.items import Item
from trueup.models.model import Model
from trueup.types import Sampling

CONCURRENCY = 32
"""Items under way; the models have their own, lower limits."""
HOPELESS = 16
"""Items at the start of which none could be answered: the others cannot be either."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one item under every model."""

    number: int
    """Its place among the items, from 0."""
    item: Item
    answers: tuple[Answer, ...]
    """In the order of the models."""

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """For JSON, each answer under its model's name."""
        query = self.item.query
        return {
            "number": self.number,
            "query": query.text,
            "then": list(self.item.then),
            "category": query.category,
            "should_answer": query.should_answer,
            "answers": {
                name: answer.to_dict() for name, answer in zip(names, self.answers, strict=True)
            },
        }


async def answered(
    models: Sequence[Model],
    items: Iterable[Item],
    benchmark: Benchmark,
    opinion: Opinion,
    sampling: Sampling,
    *,
    concurrency: int = CONCURRENCY,
) -> AsyncGenerator[Done, None]:
    """The results one by one, in the order of the items.

    Raises `BudgetSpent`, `ModelUnavailable`, `JudgeError`, and, where not one item could be
    answered by any model, or not one of the first, `ModelRefused` with the reason.
    """
    if concurrency < 1:
        raise SettingsError(f"A concurrency of {concurrency} does nothing. Give 1 or more.")
    tasks = (
        _one(models, number, item, benchmark, opinion, sampling)
        for number, item in enumerate(items)
    )
    anything, reason = False, None
    async with aclosing(_in_order(tasks, concurrency)) as stream:
        async for done in stream:
            anything, reason = _seen(done, anything, reason)
            yield done
            if not anything and done.number + 1 == HOPELESS:
                break
    if reason is not None and not anything:
        raise ModelRefused(f"{benchmark.name}: not one query could be answered: {reason}")


async def _in_order(
    tasks: Iterable[Coroutine[Any, Any, Done]], concurrency: int
) -> AsyncGenerator[Done, None]:
    """What the tasks give, in their order, so many of them under way."""
    waiting: deque[asyncio.Task[Done]] = deque()
    try:
        for task in tasks:
            waiting.append(asyncio.create_task(task))
            if len(waiting) >= concurrency:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for left in waiting:
            left.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _one(
    models: Sequence[Model],
    number: int,
    item: Item,
    benchmark: Benchmark,
    opinion: Opinion,
    sampling: Sampling,
) -> Done:
    said = await asyncio.gather(*(put(model, item, benchmark, sampling) for model in models))
    against = said[0].turns[0][1] if len(said) > 1 and said[0].turns else None
    answers = []
    for at, one in enumerate(said):
        rival = item.rival if len(said) == 1 else against if at else None
        answer = await marked(one, item, benchmark, opinion, rival)
        if benchmark.judged == "pairs" and len(said) > 1 and at == 0 and one.failed is None:
            # What the others are compared with; it is as good as itself.
            marks = {**answer.marks, "win rate": 0.5}
            answer = Answer(answer.replies, marks, (), None, answer.usage, answer.seconds)
        answers.append(answer)
    return Done(number, item, tuple(answers))


def _seen(done: Done, anything: bool, reason: str | None) -> tuple[bool, str | None]:
    """Whether any reply was had so far, and why the last was not."""
    for answer in done.answers:
        if answer.replies or answer.failed is None:
            anything = True
        else:
            reason = answer.failed
    return anything, reason
