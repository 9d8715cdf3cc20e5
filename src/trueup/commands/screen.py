"""What the user sees in a terminal: who is aligned, by which judge, how far it is, what came out.

    screen = Screen()
    screen.plan(plan)                    # before the first call
    with screen.progress() as on_event:
        await run(plan, on_event)
    screen.outcome(outcome)

In a terminal the progress is one line that changes; anywhere else it is a line now and then, for
logs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from trueup.commands import printing
from trueup.jobs.alignment import Event, Measured, Noticed, Searched, Started
from trueup.jobs.estimate import estimate
from trueup.jobs.outcome import Outcome
from trueup.jobs.plan import Plan
from trueup.models.budgeted import Budget
from trueup.report.escaping import printable
from trueup.report.markdown import GROUPS, interval
from trueup.store.runs import RunRecord

SHOWN_GROUPS = ("safety", "reward", "criterion", "length")
WIDE = 100
"""Columns for three intervals in a row."""
QUIET_SECONDS = 10.0
"""Between two lines where the output is no terminal."""


class Screen:
    """Prints to standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or printing.console()

    def say(self, text: str = "", style: str = "") -> None:
        """A line of plain text."""
        printing.say(self.console, text, style)

    # -- before ------------------------------------------------------------------------------

    def plan(self, plan: Plan) -> None:
        """What is about to be done."""
        refused = sum(one.should_answer is False for one in plan.held_out)
        writer = (
            plan.job.writer if "writer" in plan.models else "nobody; prompts are edited by rule"
        )
        rows = [
            ("Aligning", f"{plan.job.policy} ({plan.models['policy'].identity})"),
            ("Judge", plan.judge_shown),
            ("Writer", str(writer)),
            (
                "Data",
                f"{plan.job.data}: {len(plan.search)} queries to search on, "
                f"{len(plan.validation)} to choose with, {len(plan.held_out)} held out "
                f"({refused} of them to be refused); {len(plan.pool)} demonstrations",
            ),
            ("Budget", _limits(plan)),
            ("Folder", str(plan.job.folder)),
        ]
        for name, value in rows:
            self.console.print(Text.assemble((f"{name:<10}", "bold"), printable(value)))
        self.say()

    def expected(self, plan: Plan) -> None:
        """What it will take, role by role."""
        rows = estimate(plan)
        cells = [
            [row.role, row.part, f"{row.calls:,}", f"{row.tokens_in:,}", f"{row.tokens_out:,}",
             printing.usd(row.usd), _duration(row.seconds)]
            for row in rows
        ]  # fmt: skip
        known = [row.usd for row in rows if row.usd is not None]
        cells.append([
            "all", "", f"{sum(row.calls for row in rows):,}",
            f"{sum(row.tokens_in for row in rows):,}", f"{sum(row.tokens_out for row in rows):,}",
            printing.usd(sum(known) if len(known) == len(rows) else None),
            _duration(sum(row.seconds for row in rows)),
        ])  # fmt: skip
        self._table(cells, "role", "part", "calls", "tokens in", "tokens out", "usd", "time")
        self.say("Calls are an upper bound. Tokens and time are rough; prices come from --price.")

    # -- while it runs -----------------------------------------------------------------------

    @contextmanager
    def progress(self) -> Iterator[Callable[[Event], None]]:
        """Where to send a run's events."""
        shown = _Progress()
        if not self.console.is_terminal:
            yield _Lines(self, shown)
            return
        with Live(get_renderable=shown.line, console=self.console, refresh_per_second=4) as live:

            def on_event(event: Event) -> None:
                shown.take(event)
                if isinstance(event, Searched | Noticed):
                    printing.say(live.console, shown.said(event))

            yield on_event

    # -- after -------------------------------------------------------------------------------

    def outcome(self, outcome: Outcome) -> None:
        """What came out, and where it is."""
        if outcome.shown_again:
            self.say(f"{outcome.folder} has finished before; nothing was asked again.")
            self.say()
        self.comparison(outcome.results["comparison"]["table"])
        self.say()
        self.say(str(outcome.results["summary"]), "bold")
        self.say(f"Judge: {outcome.results['judge']}")
        self.looked_at(outcome.results)
        if outcome.results.get("stopped"):
            self.say(f"Stopped early: {outcome.results['stopped']}", "yellow")
        self.say()
        self.say(f"The report is {outcome.folder / 'report.md'}; talk to the aligned model with")
        self.say(f"  trueup chat {outcome.folder}")

    def looked_at(self, results: Mapping[str, Any]) -> None:
        """The gain under another judge and at equal length, and what speaks against it."""
        second = results.get("second_judge") or {"judge": "", "table": ()}
        for row in second["table"]:
            if row["group"] == "reward":
                gap = interval(row["difference"], row["unit"], signed=True)
                self.say(f"Reward gained under {second['judge']}: {gap}")
        if results.get("at_equal_length"):
            level = interval(results["at_equal_length"], "score", signed=True)
            self.say(f"Reward gained at equal length: {level}")
        for warning in results.get("warnings", ()):
            self.say(f"Warning: {warning}", "yellow")

    def comparison(
        self, rows: Sequence[Mapping[str, Any]], groups: Iterable[str] = SHOWN_GROUPS
    ) -> None:
        """Before and after, with 95% intervals."""
        cells: list[list[str | Text]] = []
        for group in groups:
            found = [row for row in rows if row["group"] == group]
            if found:
                cells.append([printing.text(GROUPS.get(group, group), "bold")])
            for row in found:
                unit = row["unit"]
                cells.append(
                    [
                        "  " + row["name"],
                        interval(self._fitting(row["before"]), unit),
                        interval(self._fitting(row["after"]), unit),
                        interval(row["difference"], unit, signed=True),
                        row["clear"] or "",
                        str(row["n"]),
                    ]
                )
        self._table(cells, "held-out", "before", "after", "difference", "clear", "n")

    def _fitting(self, found: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """An estimate, without its range where the window has no room for three of them."""
        if found is None or self.console.width >= WIDE:
            return found
        return {**found, "low": None, "high": None}

    def rounds(self, rounds: Sequence[Mapping[str, Any]]) -> None:
        """How the prompt came about."""
        cells = []
        arms = {one["id"]: one for turn in rounds for one in turn["candidates"]}
        for turn in rounds:
            best = arms.get(turn["best"])
            cells.append([
                str(turn["number"]), turn["phase"], str(turn["policy_calls"]),
                str(len(turn["candidates"])), turn["best"], _score(turn["score"]),
                ": ".join(filter(None, (best["arm"], best["note"]))) if best else "start",
            ])  # fmt: skip
        self._table(cells, "round", "phase", "calls", "candidates", "best", "score", "by")

    def prompt(self, prompt: Mapping[str, Any]) -> None:
        """The prompt that was found."""
        self.say(prompt["instruction"])
        how, pool = prompt["retrieval"], prompt["demonstrations"]
        if how["k"]:
            self.say()
            self.say(
                f"with {how['k']} of {len(pool)} demonstrations in front of each query (by "
                f"{how['by']}, {how['order']}, {how['mix']}), as {prompt['format']}"
            )

    def costs(self, costs: Mapping[str, Mapping[str, Any]]) -> None:
        """What each role has cost in all."""
        cells = [
            [role, f"{cost['calls_paid']:,}", f"{cost['tokens_in']:,}",
             f"{cost['tokens_out']:,}", printing.usd(cost["usd"])]
            for role, cost in costs.items()
        ]  # fmt: skip
        self._table(cells, "role", "calls paid", "tokens in", "tokens out", "usd")

    def runs(self, runs: Sequence[RunRecord]) -> None:
        """Runs and how they ended."""
        cells = []
        for run in runs:
            state = "running" if run.running else "finished" if run.finished else "unfinished"
            begun = run.created.strftime("%Y-%m-%d %H:%M") if run.created else ""
            cells.append([run.name, begun, state, run.summary])
        self._table(cells, "run", "begun (UTC)", "state", "result")

    def _table(self, rows: Iterable[Sequence[str | Text]], *columns: str) -> None:
        printing.table(self.console, rows, *columns, fold=True)


class _Progress:
    """The latest of everything."""

    def __init__(self) -> None:
        self._budget: Budget | None = None
        self._part = "getting ready"
        self._reward: float | None = None
        self._calls_in_all = 1
        self._began = time.monotonic()

    def take(self, event: Event) -> None:
        match event:
            case Started(plan, budget):
                self._budget = budget
                self._part = "round 0"
                self._calls_in_all = sum(row.calls for row in estimate(plan)) or 1
            case Searched(record):
                self._part = f"round {record['number'] + 1}"
                if record["phase"] == "validate":
                    self._part = "choosing among the finalists"
                self._reward = record["score"]
            case Measured(progress):
                self._part = f"held-out, {progress.label}: {progress.done}/{progress.total}"
                self._reward = progress.reward

    def said(self, event: Searched | Noticed) -> str:
        """An event as a line that stays."""
        if isinstance(event, Noticed):
            return event.text
        record = event.record
        dropped = sum(one["dropped"] is not None for one in record["candidates"])
        return (
            f"round {record['number']}: best reward {_score(record['score'])}, "
            f"{len(record['candidates'])} candidates, {dropped} dropped early, "
            f"{record['policy_calls']} policy calls"
        )

    def line(self) -> Text:
        """Everything in one line."""
        parts = [self._part]
        if self._reward is not None:
            parts.append(f"reward {self._reward:.2f}")
        if self._budget is not None:
            spent = self._budget.spent
            of = f"/{self._budget.calls:,}" if self._budget.calls is not None else ""
            parts += [f"{spent.calls:,}{of} calls", f"{spent.tokens:,} tokens"]
            if spent.usd or self._budget.usd is not None:
                parts.append(printing.usd(spent.usd))
            parts.append(self._time(spent.calls - self._budget.under_way))
        return printing.text(" · ".join(parts), "cyan")

    def _time(self, calls: int) -> str:
        """The time so far, and what is left to judge by the calls that were answered."""
        passed = time.monotonic() - self._began
        share = min(1.0, calls / self._calls_in_all)
        if share < 0.05 or passed < 5:
            return _duration(passed)
        left = passed * (1 - share) / share
        if self._budget is not None and (minutes := self._budget.left().minutes) is not None:
            left = min(left, 60 * minutes)
        return f"{_duration(passed)}, about {_duration(left)} left at most"


class _Lines:
    """Progress for logs: what stays, and a line now and then."""

    def __init__(self, screen: Screen, shown: _Progress) -> None:
        self._screen = screen
        self._shown = shown
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        self._shown.take(event)
        if isinstance(event, Searched | Noticed):
            self._screen.say(self._shown.said(event))
        elif time.monotonic() - self._last > QUIET_SECONDS:
            self._last = time.monotonic()
            self._screen.say(self._shown.line().plain)


def _limits(plan: Plan) -> str:
    job = plan.job
    named = (
        (job.budget_calls, "{:,} calls"),
        (job.budget_tokens, "{:,} tokens"),
        (job.budget_usd, "{} usd"),
        (job.budget_minutes, "{} minutes"),
    )
    given = [text.format(value) for value, text in named if value is not None]
    calls = plan.settings.calls
    search = f"{calls} policy calls to search" if calls else "as many calls as the paper's search"
    return f"{search}; {', '.join(given) if given else 'no limit'} in all"


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
