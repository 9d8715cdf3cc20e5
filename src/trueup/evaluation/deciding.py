"""Sample more only while it is undecided: which of two models a benchmark's headline favours.

    deciding = Deciding(BENCHMARKS["xstest"], by_code=True)
    async for done in answered([base, aligned], ...):
        deciding.add(done)
        if deciding.decided:
            break

The interval is one that stays true however often it is looked at (`sequential`), so stopping at the
first item that decides makes a mistake at most once in twenty. Where harmful and harmless queries
weigh the same, one of each makes one value, and whichever is ahead waits for the other.

Figures of the items until then are somewhat too favourable, because it was stopped where they were:
the interval given here is the one to quote.
"""

from __future__ import annotations

from collections import deque

from trueup.evaluation.benchmarks import Benchmark
from trueup.evaluation.sequential import ConfidenceSequence
from trueup.evaluation.statistics import Interval
from trueup.evaluation.streaming import Done


class Deciding:
    """A running verdict on the difference between the first two models."""

    def __init__(self, benchmark: Benchmark, *, by_code: bool) -> None:
        self._figure = benchmark.headline(by_code)
        low, high = self._figure.bounds
        self._sequence = ConfidenceSequence(low - high, high - low)
        self._waiting: dict[bool, deque[float]] = {True: deque(), False: deque()}

    def add(self, done: Done) -> None:
        """One more item; one that lacks the figure changes nothing."""
        values = [answer.marks.get(self._figure.name) for answer in done.answers[:2]]
        if values[0] is None or values[1] is None:
            return
        gap = values[1] - values[0]
        if not self._figure.balanced:
            self._sequence.add(gap)
            return
        self._waiting[bool(done.item.query.should_answer)].append(gap)
        if all(self._waiting.values()):
            self._sequence.add(sum(queue.popleft() for queue in self._waiting.values()) / 2)

    @property
    def interval(self) -> Interval:
        """What the difference may still be."""
        return self._sequence.interval

    @property
    def decided(self) -> bool:
        """Whether it can no longer be zero."""
        return self.interval.excludes(0)
