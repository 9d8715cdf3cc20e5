"""How many requests a server does best with at once, learnt from how it answers.

    level = Level(limit=64)
    level.allowed                                   # 16 to begin with
    level.answered("chat", level.epoch, seconds=0.4, crowded=True)
    level.refused(level.epoch)                      # a 429

Doubling while that pays, then small steps. It pays while more is done in a second: by Little's law
that is requests in flight over seconds an answer takes, so latency that rises as fast as the
requests do means that they only queue, and the level goes back to where most was done. Answers
that take twice as long as they did at the same level take a quarter off; a 429 halves. Other
errors say nothing about load.

A level is held for an epoch: as many answers to requests begun in it as it allows come before the
queues have settled, and those after them are measured. Only answers that were waited for count: a
level that nobody fills says nothing. Times are compared within a kind of request, for a judge's
answer takes longer than a policy's. No clock and no I/O.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

START = 16
"""Requests in flight at first: enough for a search to get going, too few to upset a server."""
FEWEST, MOST = 8, 64
"""Answers of one kind in an epoch: fewer say too little, more take too long."""
SHARE_OF_GAIN = 0.25
"""Of what more requests could have gained, the share that must be seen for them to stay."""
SLOWER = 2.0
"""How many times as long answers take at a server that has less to give than before."""
AFTER_REFUSAL, AFTER_VAIN = 8, 16
"""Epochs until more is tried again."""
KINDS = 64
"""Kinds of requests that are remembered."""


class Level:
    """The number of requests in flight, from 1 to `limit`."""

    def __init__(self, limit: int, start: int = START) -> None:
        self.limit = limit
        self.allowed = min(limit, max(1, start))
        self.epoch = 0
        """Goes up with every change: answers to requests of before say nothing about now."""
        self._doubling = True
        self._rest = 0
        self._settling = self.allowed
        """Answers until the new level shows."""
        self._times: dict[Hashable, list[float]] = {}
        self._best: dict[Hashable, tuple[int, float]] = {}
        """By kind: where most was done in a second, as level and median seconds."""

    def answered(self, kind: Hashable, epoch: int, seconds: float, *, crowded: bool) -> None:
        """An answer came. `crowded`: others were waiting for the place it had."""
        if epoch != self.epoch or not crowded:
            return
        if self._settling > 0:
            self._settling -= 1
            return
        times = self._times.setdefault(kind, [])
        times.append(seconds)
        if len(times) >= min(MOST, max(FEWEST, self.allowed)):
            self._judge(kind, float(np.median(times)))

    def refused(self, epoch: int) -> None:
        """The server said that it was too much. What was sent together is cut for once."""
        if epoch == self.epoch:
            self._doubling = False
            self._go_to(self.allowed // 2, rest=AFTER_REFUSAL)

    def _judge(self, kind: Hashable, seconds: float) -> None:
        """The end of an epoch for one kind of request."""
        self._times.clear()
        seconds = max(seconds, 1e-9)
        if kind not in self._best:
            if len(self._best) >= KINDS:
                self._best.clear()
            self._best[kind] = (self.allowed, seconds)
            self._more()
            return
        level, before = self._best[kind]
        more = self.allowed / level
        gain = more * before / seconds
        if more > 1 and gain < 1 + SHARE_OF_GAIN * (more - 1):
            self._doubling = False
            self._go_to(level, rest=AFTER_VAIN)
        elif more <= 1 and seconds > SLOWER * before:
            # What it did before is no measure any more.
            self._best[kind] = (self.allowed, seconds)
            self._doubling = False
            self._go_to(self.allowed * 3 // 4, rest=AFTER_REFUSAL)
        else:
            if gain > 1 or more == 1:
                self._best[kind] = (self.allowed, seconds)
            self._more()

    def _more(self) -> None:
        if self._rest > 0:
            self._rest -= 1
            return
        step = self.allowed if self._doubling else max(1, self.allowed // 8)
        self._go_to(self.allowed + step, rest=0)

    def _go_to(self, allowed: int, *, rest: int) -> None:
        self._rest = rest
        allowed = min(self.limit, max(1, allowed))
        if allowed != self.allowed:
            self.allowed = allowed
            self.epoch += 1
            self._settling = allowed
            self._times.clear()


class Steady(Level):
    """A level that is known beforehand and stays."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, limit)

    def answered(self, kind: Hashable, epoch: int, seconds: float, *, crowded: bool) -> None:
        """Nothing to learn."""

    def refused(self, epoch: int) -> None:
        """Nothing to learn."""
