"""What a terminal and a log are shown while a run goes on."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from tests.playing import data_file, naive, pool_file
from trueup import Budget, Job, Scripted, Usage
from trueup.commands import screen as shown
from trueup.commands.screen import Screen
from trueup.evaluation.evaluate import Progress
from trueup.jobs.alignment import Measured, Noticed, Searched, Started
from trueup.jobs.estimate import estimate
from trueup.jobs.plan import Plan, prepare

HOSTILE = "a reply said \x1b[2J[red]gone[/red]\x07"
ROUND = {
    "number": 0,
    "phase": "search",
    "score": 3.25,
    "policy_calls": 20,
    "candidates": [{"dropped": None}, {"dropped": "worse by 1.00 on 8 queries"}],
}


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(shown.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    job = Job.of(
        {
            "data": data_file(tmp_path),
            "demonstrations": pool_file(tmp_path),
            "calls": 60,
            "held_out": 16,
            "out": str(tmp_path / "run"),
        }
    )
    return prepare(job, models={"policy": Scripted(naive)})


def spend(budget: Budget, calls: int, under_way: int) -> None:
    """Calls of ten tokens each, the last of them not answered yet."""
    for number in range(calls + under_way):
        budget.reserve(f"{number:016x}", lambda address: False)
    for number in range(calls):
        budget.settle(f"{number:016x}", Usage(tokens_in=7, tokens_out=3), 0.0)


def test_a_terminal_has_one_line_and_what_stays_above_it(plan: Plan, clock: Clock) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160, highlight=False)
    budget = Budget(calls=400, clock=lambda: clock.now)
    with Screen(console).progress() as on_event:
        on_event(Started(plan, budget))
        on_event(Searched(ROUND))
        on_event(Noticed(HOSTILE))
        calls = sum(row.calls for row in estimate(plan)) // 4
        spend(budget, calls, under_way=calls)
        clock.now = 60.0
        on_event(Measured(Progress(3, 16, 0, 2.5, "before")))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert "round 0: best reward 3.25, 2 candidates, 1 dropped early, 20 policy calls" in lines
    # Nothing is obeyed: the escape and the bell are gone, the markup is text.
    assert any("[red]gone[/red]" in line for line in lines)
    assert "\x1b[2J" not in out.getvalue() and "\x07" not in out.getvalue()
    last = lines[-1]
    assert last.startswith(
        f"held-out, before: 3/16 · reward 2.50 · {2 * calls}/400 calls · {10 * calls} tokens · "
        "1 min 00 s, about "
    )
    # A quarter of the expected calls took a minute; those under way are not counted as done.
    minutes, seconds = map(int, re.findall(r"about (\d+) min (\d+) s left", last)[0])
    assert 60 * minutes + seconds == pytest.approx(180, abs=10)


def test_the_time_left_is_never_more_than_the_budget(plan: Plan, clock: Clock) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160)
    budget = Budget(minutes=1.5, clock=lambda: clock.now)
    with Screen(console).progress() as on_event:
        on_event(Started(plan, budget))
        spend(budget, sum(row.calls for row in estimate(plan)) // 4, under_way=0)
        clock.now = 60.0
        on_event(Measured(Progress(3, 16, 0, None, "before")))
    assert "1 min 00 s, about 30 s left at most" in out.getvalue()


def test_a_log_has_what_stays_and_a_line_now_and_then(plan: Plan, clock: Clock) -> None:
    out = io.StringIO()
    with Screen(Console(file=out, width=80)).progress() as on_event:
        on_event(Started(plan, Budget(clock=lambda: clock.now)))
        on_event(Searched(ROUND))
        for done in range(1, 9):
            clock.now += 4.0
            on_event(Measured(Progress(done, 8, 0, 3.0, "before")))
        on_event(Noticed(HOSTILE))
    lines = out.getvalue().splitlines()
    assert [line.split(" · ")[0] for line in lines[:-1]] == [
        "round 0: best reward 3.25, 2 candidates, 1 dropped early, 20 policy calls",
        "held-out, before: 3/8",
        "held-out, before: 6/8",
    ]
    assert "\x1b" not in lines[-1] and "[red]gone[/red]" in lines[-1]
