"""How many policy calls there is time for, found out while the search runs.

    deadline = Deadline(6.0, 160, budget, read_rounds(folder))
    told = deadline.after(0, calls=40)       # {"limit": 6.0, "minutes": 0.4, "calls": 485}
    told = deadline.after(1, calls=93)       # {"limit": 6.0, "minutes": 1.7, "calls": 149}

A search that a clock cuts off loses the round it was in, and no finalist was compared. So after
each round the search is told how many calls it may make in all, and plans with that: as many as
fit at the speed seen so far, with time left for the held-out queries. The first answers are given
to bare prompts, which are quickly read; how long later calls take is seen in the round after.

What was told goes into the round's record. A run that was killed is told the same again as far as
it had come, and a search that was over ends where it ended. The time it spent counts, also where it
goes on with more minutes than before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trueup.models.budgeted import Budget

MARGIN = 0.95
"""Of the minutes, the part that is planned with; the rest is for what the plan does not know."""


class Deadline:
    """A budget's minutes, as policy calls of a search."""

    def __init__(
        self, limit: float, reported: int, budget: Budget, before: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """`limit` in minutes, the run's whole, of which `budget` counts what is gone.

        `reported`: policy calls on the held-out queries, half of them under the bare prompt.
        `before`: rounds as an earlier process recorded them, each with what it was told.
        """
        self._limit = limit
        self._reported = reported
        self._budget = budget
        self._known: dict[int, Mapping[str, Any]] = {
            row["number"]: row["time"] for row in before if "time" in row
        }
        # Loading a model says nothing of its speed.
        self._loading = budget.spent.minutes
        # What this process's clock is ahead of the run's.
        self._ahead = 0.0
        self._first: tuple[float, int] | None = None

    def after(self, number: int, calls: int) -> Mapping[str, Any]:
        """The calls that the search may make in all, so many made by the end of this round."""
        now, known = self._budget.spent.minutes, self._known.get(number)
        minutes = now - self._ahead
        if known is not None:
            minutes = known["minutes"]
            self._ahead = now - minutes
        if self._first is None:
            self._first = minutes, calls
        if known is not None and known["limit"] == self._limit:
            return known
        room = self._room(minutes, calls)
        return {"limit": self._limit, "minutes": minutes, "calls": room}

    def _room(self, minutes: float, calls: int) -> int:
        assert self._first is not None
        first_minutes, first_calls = self._first
        bare = max(0.0, first_minutes - self._loading) / max(1, first_calls)
        later = bare
        if calls > first_calls:
            later = (minutes - first_minutes) / (calls - first_calls)
        left = MARGIN * self._limit - minutes - self._reported / 2 * (bare + later)
        return calls + max(0, int(left / later)) if later > 0 else 10**9
