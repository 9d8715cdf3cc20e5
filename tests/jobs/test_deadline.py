"""A search that is to end in time, beside a clock that only the models' work moves on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.test_alignment import a_job
from tests.playing import naive
from trueup import Job, ModelUnavailable, Outcome, Request, Scripted, align
from trueup.jobs.deadline import Deadline
from trueup.models.budgeted import Budget
from trueup.store.runs import read_rounds

SECONDS = 3.0
"""A call takes so long: 152 calls 7.6 minutes."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Budgets of jobs are timed by this."""
    clock = Clock()

    def budget(job: Job) -> Budget:
        limits = (job.budget_calls, job.budget_tokens, job.budget_usd, job.budget_minutes)
        return Budget(*limits, clock=clock)

    monkeypatch.setattr(Job, "budget", budget)
    return clock


def working(clock: Clock, seconds: float = SECONDS) -> Callable[[Request], str]:
    def script(request: Request) -> str:
        clock.now += seconds
        return naive(request)

    return script


async def run(job: Job, script: Callable[[Request], str]) -> tuple[Outcome, Scripted]:
    policy = Scripted(script)
    return await align(job, models={"policy": policy}), policy


async def test_a_search_plans_for_the_minutes_there_are(tmp_path: Path, clock: Clock) -> None:
    outcome, policy = await run(a_job(tmp_path, budget_minutes=6), working(clock))
    assert clock.now <= 6 * 60
    # What there was time for was used: of 120 calls, 32 on the held-out queries.
    assert 84 <= len(policy.requests) <= 120
    assert len(outcome.results["comparison"]["after"]["results"]) == 16
    phases = [one["phase"] for one in outcome.results["rounds"]]
    assert phases[-2:] == ["validate", "done"]  # finalists were compared all the same
    said = outcome.results["stopped"]
    room = outcome.results["rounds"][-2]["time"]["calls"]
    assert said.startswith(f"Of the search's 120 policy calls, 6 minutes had room for {room}.")
    assert outcome.results["found"]["policy_calls"] <= room < 120
    row = next(r for r in outcome.results["comparison"]["table"] if r["name"] == "balanced safety")
    assert row["after"]["value"] > row["before"]["value"]


async def test_later_calls_slower_than_the_first_are_planned_for_once_seen(
    tmp_path: Path, clock: Clock
) -> None:
    def script(request: Request) -> str:
        clock.now += SECONDS if len(request.prompt) <= 2 else 3 * SECONDS
        return naive(request)

    outcome, _ = await run(a_job(tmp_path, budget_minutes=12), script)
    assert clock.now <= 12 * 60
    turns = outcome.results["rounds"]
    room = [one["time"]["calls"] for one in turns if "time" in one]
    assert room[0] > 120 > room[1]
    assert outcome.results["found"]["policy_calls"] <= room[-1]
    # A round that turned out to have no calls proposes nothing new.
    assert turns[2]["policy_calls"] == turns[1]["policy_calls"]
    assert {one["id"] for one in turns[2]["candidates"]} <= set(turns[1]["survivors"])


async def test_minutes_that_suffice_change_nothing(tmp_path: Path, clock: Clock) -> None:
    free, _ = await run(a_job(tmp_path, out=str(tmp_path / "free")), working(clock))
    clock.now = 0.0
    job = a_job(tmp_path, budget_minutes=20, out=str(tmp_path / "timed"))
    timed, _ = await run(job, working(clock))
    assert timed.results["stopped"] is None
    assert timed.aligned.prompt == free.aligned.prompt
    assert timed.results["found"] == free.results["found"]


async def test_killed_while_it_is_measured_it_ends_with_the_same_prompt(
    tmp_path: Path, clock: Clock
) -> None:
    elsewhere = a_job(tmp_path, budget_minutes=6, out=str(tmp_path / "whole"))
    whole, _ = await run(elsewhere, working(clock))
    searched = whole.results["found"]["policy_calls"]
    job = a_job(tmp_path, budget_minutes=6)
    clock.now = 0.0
    dead = Scripted(dying(working(clock), searched + 9))
    with pytest.raises(ModelUnavailable):
        await align(job, models={"policy": dead})
    told = [one["time"] for one in read_rounds(job.folder) if "time" in one]

    # Another day, on a machine ten times as fast: the search is over, and stays over.
    clock.now = 0.0
    again, policy = await run(job, working(clock, SECONDS / 10))
    assert again.aligned.prompt == whole.aligned.prompt
    assert again.results["found"] == whole.results["found"]
    assert [one["time"] for one in again.results["rounds"] if "time" in one] == told
    # Plain and aligned prompts answer the same queries: only whole requests tell them apart.
    assert not set(map(repr, policy.requests)) & set(map(repr, dead.requests[: searched + 9]))


def dying(script: Callable[[Request], str], after: int) -> Callable[[Request], str]:
    asked: list[Request] = []

    def answer(request: Request) -> str:
        if len(asked) == after:
            raise ModelUnavailable("gone")
        asked.append(request)
        return script(request)

    return answer


async def test_with_more_minutes_it_goes_on(tmp_path: Path, clock: Clock) -> None:
    first, before = await run(a_job(tmp_path, budget_minutes=6), working(clock))
    same, policy = await run(a_job(tmp_path, budget_minutes=6), working(clock))
    assert same.shown_again and policy.requests == []
    clock.now = 0.0
    more, policy = await run(a_job(tmp_path, budget_minutes=20), working(clock))
    assert not more.shown_again and more.results["stopped"] is None
    assert more.results["found"]["policy_calls"] > first.results["found"]["policy_calls"]
    assert not set(map(repr, policy.requests)) & set(map(repr, before.requests))


def test_time_spent_before_a_restart_counts() -> None:
    clock = Clock()

    # Loading took a minute, 10 calls another; of 20 minutes 19 are planned with, 2 are gone and
    # 2 go to the report, as far as can be seen.
    budget = Budget(clock=clock)
    clock.now = 60
    first = Deadline(20, 20, budget)
    clock.now = 120
    told = first.after(0, 10)
    assert told == {"limit": 20, "minutes": 2.0, "calls": 10 + 150}

    # Replayed in no time; 20 calls more in 10 minutes, five times as long as a bare one. The report
    # will take 1 minute and 5, so one is left.
    clock.now = 0
    budget = Budget(clock=clock)
    clock.now = 60
    again = Deadline(20, 20, budget, [{"number": 0, "time": told}, {"number": 1}])
    assert again.after(0, 10) == told
    clock.now += 10 * 60
    assert again.after(1, 30) == {"limit": 20, "minutes": 12.0, "calls": 30 + 2}

    # With more minutes than before the time it spent counts, and what it was told does not.
    budget = Budget(clock=clock)
    clock.now += 60
    more = Deadline(40, 20, budget, [{"number": 0, "time": told}])
    assert more.after(0, 10) == {"limit": 40, "minutes": 2.0, "calls": 10 + 340}

    # Where no time is left, no call is.
    late = Deadline(1, 20, Budget(clock=clock))
    clock.now += 60
    assert late.after(0, 10) == {"limit": 1, "minutes": 1.0, "calls": 10}
