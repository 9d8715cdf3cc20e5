"""What a search passes from round to round: survivors, proposals, judgements, the result.

    proposal = Proposal(candidate, parent)
    judged = Judged(candidate, measurements)
    state.beam[0].candidate            # the best so far

Frozen values; what is done with them is in `search` and the searches that build on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trueup.prompt.candidates import Candidate, Measurement
from trueup.prompt.prompt import Prompt
from trueup.types import mean

Phase = Literal["search", "validate", "done"]


@dataclass(frozen=True, slots=True)
class Node:
    """A survivor, and every measurement on the way to it, the root's first."""

    candidate: Candidate
    path: tuple[Measurement, ...] = ()
    versions: tuple[Candidate, ...] = ()
    """The prompts on the path, the present one last; one that went on unchanged is there once."""

    @property
    def path_mean(self) -> float:
        """Mean reward since the root; the root's where nothing since could be judged."""
        return mean(self._rewards(self.path[1:]) or self._rewards(self.path[:1])) or 0.0

    @property
    def last_reward(self) -> float:
        """The newest reward that is known."""
        return next(iter(self._rewards(self.path[::-1])), 0.0)

    def _rewards(self, path: Sequence[Measurement]) -> list[float]:
        return [one.reward for one in path if one.reward is not None]


@dataclass(frozen=True, slots=True)
class State:
    """Where the search stands."""

    phase: Phase
    beam: tuple[Node, ...]
    """Survivors, best first."""
    round: int = 0
    limit: int = 0
    """Rounds allowed, growth included."""
    stale: int = 0
    """Rounds since the best prompt changed."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate to be measured, and the survivor it came from."""

    candidate: Candidate
    parent: Node
    easy: bool = False
    """The parent's last reply was too good to learn from: the same prompt goes on (published)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a round found out about one proposal."""

    candidate: Candidate
    measurements: tuple[Measurement, ...]
    dropped: str | None = None
    """Why it was measured on a part of the queries only."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the search gives back."""

    prompt: Prompt
    search_score: float | None
    """Balanced mean reward, 1 to 5, on the queries it was chosen by: flattered by the choice."""
    validation_score: float | None
    """The same on queries the search did not see."""
    candidates: int
    policy_calls: int
    notes: tuple[str, ...] = ()
