"""What a judge failed at and left out, counted as it goes by.

    tally = Tally()
    judge = tallied(judge, tally)        # a Judge again
    tally.failed                         # Counter of reasons

A report has to say what it does not rest on. One bad verdict is data; a judge of which nothing can
be read is broken, and the run ends before it has cost more. A judge of the user's own that raises
has failed on that reply, no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from trueup.errors import JudgeError
from trueup.judges.judge import ChoosesCriteria, Judge, judged
from trueup.types import Query, Verdict

HOPELESS = 24
"""So many verdicts, all of them failed, are no accident."""
LONGEST_REASON = 160


class Tally:
    """Verdicts, and what was wrong with some."""

    def __init__(self) -> None:
        self.verdicts = 0
        self.failed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def add(self, verdict: Verdict) -> None:
        """Count a verdict. Raises `JudgeError` when all have failed, and they are many."""
        self.verdicts += 1
        self.dropped.update(text[:LONGEST_REASON] for text in verdict.dropped)
        if verdict.failed is None:
            return
        self.failed[verdict.failed[:LONGEST_REASON]] += 1
        if self.verdicts >= HOPELESS and self.failed.total() == self.verdicts:
            reason, _ = self.failed.most_common(1)[0]
            raise JudgeError(
                f"All of the judge's first {self.verdicts} verdicts failed ({reason}): choose "
                "another judge or another model for it, and run again."
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON, most frequent first."""
        return {
            "n": self.verdicts,
            "failed": dict(self.failed.most_common()),
            "dropped": dict(self.dropped.most_common()),
        }


class Tallied:
    """A judge whose verdicts are counted."""

    def __init__(self, judge: Judge, tally: Tally) -> None:
        self._judge = judge
        self._tally = tally

    async def __call__(self, query: Query, reply: str) -> Verdict:
        verdict = await judged(self._judge, query, reply)
        self._tally.add(verdict)
        return verdict


class TalliedChoosing(Tallied):
    """The same for a judge that chooses criteria ahead of the search."""

    def __init__(self, judge: ChoosesCriteria, tally: Tally) -> None:
        super().__init__(judge, tally)  # type: ignore[arg-type]
        self._choosing = judge

    async def select_all(self, queries: Iterable[Query]) -> Any:
        return await self._choosing.select_all(queries)


def tallied(judge: Judge, tally: Tally) -> Judge:
    """The judge, counted; still able to choose ahead if it was."""
    if isinstance(judge, ChoosesCriteria):
        return TalliedChoosing(judge, tally)
    return Tallied(judge, tally)
