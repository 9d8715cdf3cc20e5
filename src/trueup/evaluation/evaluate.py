"""What a model is worth on a list of queries: each is answered, judged, and kept in order.

    evaluation = await evaluate(model, queries, judge, sampling=Sampling(max_tokens=128))
    for row in evaluation_table(evaluation):
        print(row.name, row.before)

Replying and judging overlap: a bounded number of queries is under way at any time, results come
out in the order the queries went in, and queries may be an iterator, so memory does not grow with
their number beyond what is kept. `streamed` is that stream by itself; `sink` is told each result as
it is final, for whoever writes them to disk.

What goes wrong with one query is recorded with its reason and left out of means: a reply the model
refused to give, a verdict that could not be read. What goes wrong with all of them ends the job: no
server, a judge that cannot work. A budget that is spent ends it early, and what was measured until
then is kept. Comparing two models is in `comparison`; which levers made a model is never asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sized
from dataclasses import asdict, dataclass, replace
from typing import Any

from trueup.errors import BudgetSpent, ModelError, ModelUnavailable, SettingsError
from trueup.judges.checks import outcome as checked_outcome
from trueup.judges.judge import Judge
from trueup.judges.judge import judged as verdict_of
from trueup.models.model import Model
from trueup.types import Finish, Query, Request, Sampling, Usage, Verdict, conversation, mean

CONCURRENCY = 32
"""Queries being answered or judged at once; the model in use has its own, lower limit."""
AHEAD = 4
"""How many times that many may wait behind a slow one for their turn to be handed out."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one query."""

    number: int
    """Its place among the queries, from 0."""
    query: Query
    reply: str | None
    """None where the model gave none; the verdict says why."""
    verdict: Verdict
    words: int | None = None
    """The reply's length, by white space."""
    outcome: str | None = None
    """Answered, refused, degenerate or off topic, by the code checks; None without a reply."""
    finish: Finish = "unknown"
    usage: Usage = Usage()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON, the verdict's reward beside it."""
        return {**asdict(self), "reward": self.verdict.reward}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is."""

    done: int
    total: int | None
    """None where the queries are a stream."""
    failed: int
    """Verdicts that could not be had."""
    reward: float | None
    """Mean so far, 1 to 5."""
    label: str = ""
    """Which of the models compared."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model's results on some queries, in their order."""

    model: str
    """The model's identity."""
    results: tuple[Result, ...]
    stopped: str | None = None
    """Why not all queries were done, or None."""

    @property
    def reward(self) -> float | None:
        """Mean reward over the queries that have one, 1 to 5."""
        rewards = [r.verdict.reward for r in self.results]
        return mean([reward for reward in rewards if reward is not None])

    @property
    def failed(self) -> int:
        """How many verdicts could not be had."""
        return sum(result.verdict.failed is not None for result in self.results)

    @property
    def usage(self) -> Usage:
        """What the model's replies consumed together (the judge's calls are not in it)."""
        return sum((result.usage for result in self.results), Usage())

    def to_dict(self, *, results: bool = True) -> dict[str, Any]:
        """For JSON; without `results` only the summary."""
        summary: dict[str, Any] = {
            "model": self.model,
            "n": len(self.results),
            "reward": self.reward,
            "failed": self.failed,
            "usage": asdict(self.usage),
            "stopped": self.stopped,
        }
        if results:
            summary["results"] = [result.to_dict() for result in self.results]
        return summary


OutcomeCheck = Callable[[Query, str], str]
Sink = Callable[[Result], None]


async def evaluate(
    model: Model,
    queries: Iterable[Query],
    judge: Judge,
    *,
    sampling: Sampling = Sampling(),
    outcome: OutcomeCheck = checked_outcome,
    concurrency: int = CONCURRENCY,
    sink: Sink | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    keep_texts: bool = True,
    label: str = "",
) -> Evaluation:
    """Answer and judge every query.

    With `keep_texts` false, what is kept has empty texts and reasons: for long streams whose
    results the `sink` writes down. Raises `ModelUnavailable`, `JudgeError`, and, where the model
    gave not a single reply, the error it gave instead.
    """
    total = len(queries) if isinstance(queries, Sized) else None
    results: list[Result] = []
    failed, rewards, rewarded = 0, 0.0, 0
    stopped = None
    stream = streamed(
        model, queries, judge, sampling=sampling, outcome=outcome, concurrency=concurrency
    )
    try:
        async for result in stream:
            if sink is not None:
                sink(result)
            results.append(result if keep_texts else _without_texts(result))
            failed += result.verdict.failed is not None
            reward = result.verdict.reward
            if reward is not None:
                rewards, rewarded = rewards + reward, rewarded + 1
            if on_progress is not None:
                average = rewards / rewarded if rewarded else None
                on_progress(Progress(len(results), total, failed, average, label))
    except BudgetSpent as spent:
        stopped = str(spent)
    finally:
        await stream.aclose()
    return Evaluation(model.identity, tuple(results), stopped)


async def streamed(
    model: Model,
    queries: Iterable[Query],
    judge: Judge,
    *,
    sampling: Sampling = Sampling(),
    outcome: OutcomeCheck = checked_outcome,
    concurrency: int = CONCURRENCY,
) -> AsyncGenerator[Result, None]:
    """The results one by one, in the order of the queries, holding a bounded number at a time."""
    if concurrency < 1:
        raise SettingsError(f"A concurrency of {concurrency} does nothing. Give 1 or more.")
    gate = asyncio.Semaphore(concurrency)
    waiting: deque[asyncio.Task[tuple[Result, ModelError | None]]] = deque()
    refusal: ModelError | None = None
    anything = False

    async def one(number: int, query: Query) -> tuple[Result, ModelError | None]:
        async with gate:
            return await _one(model, number, query, judge, sampling, outcome)

    try:
        for number, query in enumerate(queries):
            waiting.append(asyncio.create_task(one(number, query)))
            if len(waiting) >= concurrency * AHEAD:
                result, error = await waiting.popleft()
                anything, refusal = anything or error is None, error or refusal
                yield result
        while waiting:
            result, error = await waiting.popleft()
            anything, refusal = anything or error is None, error or refusal
            yield result
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    if refusal is not None and not anything:
        raise refusal


async def _one(
    model: Model,
    number: int,
    query: Query,
    judge: Judge,
    sampling: Sampling,
    outcome: OutcomeCheck,
) -> tuple[Result, ModelError | None]:
    try:
        reply = await model.reply(Request(conversation(query), sampling))
    except ModelUnavailable:
        raise
    except ModelError as error:
        return Result(number, query, None, Verdict(failed=f"no reply: {error}")), error
    return (
        Result(
            number=number,
            query=query,
            reply=reply.text,
            words=len(reply.text.split()),
            verdict=await verdict_of(judge, query, reply.text),
            outcome=outcome(query, reply.text),
            finish=reply.choices[0].finish,
            usage=reply.usage,
            seconds=reply.seconds,
        ),
        None,
    )


def _without_texts(result: Result) -> Result:
    verdict = replace(
        result.verdict,
        scores=tuple(replace(score, reason="") for score in result.verdict.scores),
    )
    query = replace(result.query, text="", history=(), reference=None)
    reply = None if result.reply is None else ""
    return replace(result, query=query, reply=reply, verdict=verdict)
