"""A run with a budget that is killed and run again stops where it would have stopped."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.playing import data_file, pool_file
from trueup import Job, ModelUnavailable, Request, Score, Scripted, Verdict, align
from trueup.jobs.alignment import Event, Noticed, Searched
from trueup.store.calls import Calls
from trueup.store.runs import read_rounds
from trueup.types import Query


def drawn(text: str) -> float:
    """From 0 to 1, by the text alone."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) / 16**6


async def by_code(query: Query, reply: str) -> Verdict:
    return Verdict((Score("Kindness", 1 + 4 * drawn(query.text + reply)),))


LARGEST = 250
"""Tokens, in and out, of any call of these runs."""


@dataclass
class Life:
    """One process of a run. It goes on until it is to die, asked at every answer and event."""

    job: Job
    dies: Callable[[Life, Event | None], bool] = lambda life, event: False
    seconds: float = 0.001
    dead: bool = False
    asked: list[str] = field(default_factory=list)
    """Addresses."""
    answered: int = 0
    most_under_way: int = 0

    async def run(self) -> None:
        models = {"policy": Scripted(self._reply)}
        if self.job.judge == "dynamic":
            models["judge"] = Scripted(self._reply, "judge")
        judge = None if "judge" in models else by_code
        await align(self.job, models=models, judge=judge, on_event=self._go_on)

    async def killed(self) -> None:
        with pytest.raises(ModelUnavailable):
            await self.run()

    async def _reply(self, request: Request) -> str:
        self._go_on(None)
        self.asked.append(request.address("scripted" if request.schema is None else "judge"))
        self.most_under_way = max(self.most_under_way, len(self.asked) - self.answered)
        await asyncio.sleep(self.seconds * (1 + 3 * drawn(request.content())))
        self._go_on(None)
        self.answered += 1
        return said(request)

    def _go_on(self, event: Event | None) -> None:
        self.dead = self.dead or self.dies(self, event)
        if self.dead:
            raise ModelUnavailable("killed")


def said(request: Request) -> str:
    if request.schema is None:
        return f"word{drawn(request.content())} " * 8
    names = list(request.schema["properties"])
    if "criteria" in names:
        return json.dumps({"reasoning": "as ever", "criteria": ["Clarity", "Helpfulness"]})
    score = 1 + round(4 * drawn(request.content()))
    return json.dumps({name: {"reason": "fine", "score": score} for name in names})


def a_job(folder: Path, name: str, **settings: Any) -> Job:
    usual = {
        "data": data_file(folder), "demonstrations": pool_file(folder), "calls": 120,
        "held_out": 16, "validation": 8, "writer": "none", "out": str(folder / name),
    }  # fmt: skip
    return Job.of(usual | settings)


def found(job: Job) -> dict[str, Any]:
    """All that deaths must not change."""
    results = json.loads((job.folder / "results.json").read_text())
    comparison = results["comparison"]
    # Of the requests which a limit refused, only the process that it refused them knows.
    results["found"].pop("policy_calls")
    return {
        "rounds": results["rounds"],
        "found": results["found"],
        "measured": [len(comparison[one]["results"]) for one in ("before", "after")],
        "aligned": (job.folder / "aligned.toml").read_text().replace(job.folder.name, ""),
        "tokens": tokens(job),
        "spent": results["spent"]["tokens"],
    }


def tokens(job: Job) -> int:
    """What the run has paid for, in all its lives."""
    with Calls(job.folder / "calls.sqlite", read_only=True) as calls:
        costs = calls.ledger().file.values()
    return sum(cost.tokens_in + cost.tokens_out for cost in costs)


def stored(job: Job, addresses: list[str]) -> set[str]:
    with Calls(job.folder / "calls.sqlite", read_only=True) as calls:
        return {one for one in addresses if one in calls}


# Reached in the middle of a round; by a round that comes to its end all the same; and while
# finalists are compared.
@pytest.mark.parametrize("limit", [6500, 7500, 12000])
async def test_wherever_it_is_killed_it_ends_as_if_it_had_not_been(
    tmp_path: Path, limit: int
) -> None:
    whole = Life(a_job(tmp_path, "whole", budget_tokens=limit))
    await whole.run()
    expected = found(whole.job)
    assert limit <= expected["tokens"] < limit + whole.most_under_way * LARGEST

    def after_round(number: int) -> Callable[[Life, Event | None], bool]:
        return lambda _, event: isinstance(event, Searched) and event.record["number"] == number

    def after_call(number: int) -> Callable[[Life, Event | None], bool]:
        return lambda life, _: life.answered == number

    moments = [after_round(number) for number in range(len(expected["rounds"]))]
    moments += [after_call(number) for number in range(5, whole.answered, whole.answered // 4)]
    for place, moment in enumerate(moments):
        job = a_job(tmp_path, f"killed-{place}", budget_tokens=limit)
        first, second = Life(job, moment), Life(job, seconds=0.0001)
        await first.killed()
        paid = stored(job, first.asked)
        await second.run()
        assert found(job) == expected
        assert not paid & set(second.asked)
        assert len(second.asked) == len(set(second.asked))


@pytest.mark.parametrize("limit", [47_100, 58_800])
async def test_a_search_that_a_limit_has_ended_stays_ended(tmp_path: Path, limit: int) -> None:
    """A judge's calls wait for the replies: which of them are refused is a matter of time."""
    settings = {"judge": "dynamic", "judge_model": "ollama:judge"}
    job = a_job(tmp_path, "run", budget_tokens=limit, **settings)
    await Life(job, lambda _, event: isinstance(event, Noticed), seconds=0.01).killed()
    rounds, paid = read_rounds(job.folder), searched(job)
    assert "The budget of" in rounds[-1]["refused"]["said"]
    await Life(job, seconds=0.0001).run()
    assert read_rounds(job.folder) == rounds
    assert searched(job) == paid

    # Another limit is another matter.
    more = a_job(tmp_path, "run", budget_tokens=3 * limit, **settings)
    await Life(more).run()
    assert len(read_rounds(job.folder)) > len(rounds)
    assert searched(job) > paid


def searched(job: Job) -> int:
    """Calls that the search has paid for."""
    with Calls(job.folder / "calls.sqlite", read_only=True) as calls:
        costs = calls.ledger().file
    return sum(cost.calls_paid for role, cost in costs.items() if "held-out" not in role)
