"""How many requests a server does best with at once, learnt from how it answers.

    level = Level(limit=64)
    level.allowed                                   # 16 to begin with
    level.answered("chat", level.epoch, seconds=0.4, crowded=True)
    level.refused(level.epoch)                      # a 429

Doubling while that pays, then small steps. It pays while more is done in a second: by Little's law
that is requests in flight over the mean of the seconds an answer takes, so latency that rises as
fast as the requests do means that they only queue, and the level goes back to where most was done.
Answers that take twice as long as they did at the same level take a quarter off; a 429 halves.
Other errors say nothing about load.

Latency has other causes: long answers among short ones, another tenant, a cold cache. So where
the answers of an epoch differ too much to tell, more are waited for; when less in flight makes
them no faster, it was not the load and what was taken is given back; and for slowness alone the
level does not fall below where it began.

A level is held for an epoch: as many answers to requests begun in it as it allows come before the
queues have settled, and those after them are measured. Only answers that were waited for count: a
level that nobody fills says nothing. Times are compared within a kind of request, for a judge's
answer takes longer than a policy's. No clock and no I/O.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np

START = 16
"""Requests in flight at first: enough for a search to get going, too few to upset a server."""
FEWEST, MOST = 8, 64
"""Answers of one kind in an epoch: fewer say too little, more take too long."""
SHARE_OF_GAIN = 0.25
"""Of what more requests could have gained, the share that must be seen for them to stay."""
SURE, MOST_EPOCHS = 2.0, 4
"""Standard errors by which answers must differ from the time that decides, and for how many epochs
that is waited for."""
FEWEST_EPOCHS = 2
"""Before less is tried or undone: what passes by itself has nothing to do with the level."""
OFTEN = 0.25
"""Weight of an epoch beside those before it at its level."""
SLOWER = 2.0
"""How many times as long answers take at a server that has less to give than before."""
AFTER_SLOWNESS, AFTER_REFUSAL, AFTER_VAIN = 4, 8, 16
"""Epochs until more is tried again."""
KINDS = 64
"""Kinds of requests that are remembered."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an epoch's answers took."""

    level: int
    seconds: float
    """Their mean."""
    error: float
    """Its standard error."""

    def mixed(self, new: Seen) -> Seen:
        """With a newer epoch of the same level."""
        seconds = (1 - OFTEN) * self.seconds + OFTEN * new.seconds
        return Seen(self.level, seconds, hypot((1 - OFTEN) * self.error, OFTEN * new.error))


@dataclass(frozen=True, slots=True)
class Taken:
    """A level that was left for a lower one, and whether that will have helped is to be seen."""

    kind: Hashable
    seen: Seen
    doubling: bool


class Level:
    """The number of requests in flight, from 1 to `limit`."""

    def __init__(self, limit: int, start: int = START) -> None:
        self.limit = limit
        self.allowed = self._start = min(limit, max(1, start))
        self.epoch = 0
        """Goes up with every change: answers to requests of before say nothing about now."""
        self._doubling = True
        self._rest = 0
        self._settling = self.allowed
        """Answers until the new level shows."""
        self._times: dict[Hashable, list[float]] = {}
        self._best: dict[Hashable, Seen] = {}
        """By kind: where most was done in a second."""
        self._taken: Taken | None = None
        self._fell_from = 0
        """The level before answers became slow, tried again in one step: it may have passed."""

    def answered(self, kind: Hashable, epoch: int, seconds: float, *, crowded: bool) -> None:
        """An answer came. `crowded`: others were waiting for the place it had."""
        if epoch != self.epoch or not crowded:
            return
        if self._settling > 0:
            self._settling -= 1
            return
        if len(self._times) > KINDS:
            self._times.clear()
        times = self._times.setdefault(kind, [])
        times.append(seconds)
        epochs, rest = divmod(len(times), min(MOST, max(FEWEST, self.allowed)))
        if not rest:
            self._judge(kind, _seen(self.allowed, times), epochs)

    def refused(self, epoch: int) -> None:
        """The server said that it was too much. What was sent together is cut for once."""
        if epoch == self.epoch:
            self._doubling, self._fell_from = False, 0
            self._go_to(self.allowed // 2, rest=AFTER_REFUSAL)

    def _judge(self, kind: Hashable, seen: Seen, epochs: int) -> None:
        """The end of an epoch for one kind of request."""
        taken = self._taken if self._taken and self._taken.kind == kind else None
        known = taken.seen if taken else self._best.get(kind)
        if known is None:
            if len(self._best) >= KINDS:
                self._best.clear()
            self._best[kind] = seen
            del self._times[kind]
            self._more()
            return
        times = _decisive(seen.level / known.level, undoing=taken is not None)
        error = hypot(seen.error, times * known.error)
        over = seen.seconds - times * known.seconds
        unsure = abs(over) < SURE * error and epochs < MOST_EPOCHS
        if unsure or ((taken or over > 0) and epochs < FEWEST_EPOCHS):
            return
        del self._times[kind]
        slow = over > 0
        if taken:
            self._taken = None
            if slow:
                self._best[kind] = known
                self._doubling = taken.doubling
                self._go_to(known.level, rest=0)
        elif seen.level > known.level and slow:
            self._take(kind, seen, known.level, rest=AFTER_VAIN)
        elif slow:
            # What it did before is no measure any more.
            self._best[kind] = seen
            self._fell_from = max(self._fell_from, self.allowed)
            less = max(self.allowed * 3 // 4, min(self.allowed, self._start))
            self._take(kind, seen, less, rest=AFTER_SLOWNESS)
        else:
            if seen.level == known.level:
                self._best[kind] = known.mixed(seen)
            elif seen.level * known.seconds > known.level * seen.seconds:
                self._best[kind] = seen
            self._more()

    def _take(self, kind: Hashable, seen: Seen, allowed: int, *, rest: int) -> None:
        taken = Taken(kind, seen, self._doubling)
        self._doubling = False
        self._go_to(allowed, rest=rest)
        self._taken = taken if self.allowed < seen.level else None

    def _more(self) -> None:
        if self._rest > 0:
            self._rest -= 1
            return
        step = self.allowed if self._doubling else max(1, self.allowed // 8)
        allowed = max(self.allowed + step, self._fell_from)
        self._fell_from = 0
        self._go_to(allowed, rest=0)

    def _go_to(self, allowed: int, *, rest: int) -> None:
        self._rest = rest
        allowed = min(self.limit, max(1, allowed))
        if allowed != self.allowed:
            self._taken = None
            self.allowed = allowed
            self.epoch += 1
            self._settling = allowed
            self._times.clear()


def _seen(level: int, times: Sequence[float]) -> Seen:
    error = float(np.std(times)) / len(times) ** 0.5
    return Seen(level, max(float(np.mean(times)), 1e-9), error)


def _decisive(more: float, *, undoing: bool) -> float:
    """How many times as long answers may take with so many times as much in flight as before."""
    if undoing:
        return (1 + more) / 2
    return more / (1 + SHARE_OF_GAIN * (more - 1)) if more > 1 else SLOWER


class Steady(Level):
    """A level that is known beforehand and stays."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, limit)

    def answered(self, kind: Hashable, epoch: int, seconds: float, *, crowded: bool) -> None:
        """Nothing to learn."""

    def refused(self, epoch: int) -> None:
        """Nothing to learn."""
