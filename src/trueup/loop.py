"""The one loop: propose, judge, improve.

    async for done in rounds(method):
        print(done.number, done.verdicts)

A method says how it proposes, how proposals are judged and what survives; the loop knows no
model and keeps no checkpoint. Resuming is replaying: every reply is on disk before it is used,
so a killed job runs again from the start and flies through what was already paid for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

State = TypeVar("State")
Proposal = TypeVar("Proposal")
Judged = TypeVar("Judged")
Result = TypeVar("Result", covariant=True)


class Method(Protocol[State, Proposal, Judged, Result]):
    """A way to align a model, cut at the joints of the loop."""

    async def start(self) -> State:
        """The state before anything was proposed."""
        ...

    async def propose(self, state: State) -> Sequence[Proposal]:
        """Candidates for the next state."""
        ...

    async def judge(self, state: State, proposals: Sequence[Proposal]) -> Sequence[Judged]:
        """One judgement per proposal, in order."""
        ...

    async def improve(
        self, state: State, proposals: Sequence[Proposal], judged: Sequence[Judged]
    ) -> State:
        """The next state: what survives."""
        ...

    def finished(self, state: State) -> bool:
        """Whether to stop before proposing again."""
        ...

    def result(self, state: State) -> Result:
        """What the method gives back, best so far at any time."""
        ...


@dataclass(frozen=True, slots=True)
class Round(Generic[State, Proposal, Judged]):
    """One turn of the loop, for whoever records or shows it."""

    number: int
    state: State
    proposals: Sequence[Proposal]
    judged: Sequence[Judged]


async def rounds(
    method: Method[State, Proposal, Judged, Result],
) -> AsyncIterator[Round[State, Proposal, Judged]]:
    """Run the method, yielding the start (round 0) and every round as it ends."""
    state = await method.start()
    yield Round(0, state, (), ())
    number = 0
    while not method.finished(state):
        number += 1
        proposals = await method.propose(state)
        judged = await method.judge(state, proposals)
        state = await method.improve(state, proposals, judged)
        yield Round(number, state, proposals, judged)
