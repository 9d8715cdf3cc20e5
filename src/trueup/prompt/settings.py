"""The settings of a search for a prompt, the paper's or ours.

    Settings.published()      # arXiv 2411.08733 and its code, section by section below
    Settings()                # ours

The paper scores each proposal on one query, never measures it again, and returns the last prompt
of the best path. Ours measures siblings and parents on the same queries, compares them in
pairs, drops the clearly worse early, and lets queries that the search has not seen decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from trueup.errors import SettingsError
from trueup.types import Sampling

CALLS = 300
"""Policy calls of a search, unless others are given."""
WRITER_SAMPLING = Sampling(temperature=0.2, top_p=0.95, max_tokens=2048)


@dataclass(frozen=True, slots=True)
class Settings:
    """How the search goes."""

    beam: int = 2
    """How many candidates survive a round. Published: 2."""
    actions: int = 3
    """How many criteria a round has the instruction rewritten for, one proposal each; of the
    published method, how many proposals of one written request. Published: 3."""
    depth: int = 12
    """Most rounds, the first measurement included. Published: 20."""
    growth: int = 0
    """How far easy queries may extend `depth`, one at a time. Published: 10."""
    minibatch: int = 16
    """Queries per round, the same for everyone. Published: 1."""
    repeated: int = 4
    """How many of a minibatch are queries that the best prompt failed before; half at most."""
    skip_above: float | None = None
    """Do not improve on a mean reward above this. Published: 4.5."""
    history: int = 5
    """How many versions the writer is shown, the present one included. Published: 5."""
    failures: int = 3
    """How many bad replies the writer is shown. Published: the last reply, good or bad."""
    structured: int = 5
    """Structured proposals a round: retrieval, demonstrations, remedies. Published: none."""
    first_answers: int = 40
    """Queries answered under the prompt as given, before anything is proposed."""
    learn: bool = False
    """Add what the first answers teach to the pool before it is shown to anyone."""
    calls: int | None = CALLS
    """Policy calls of the whole search, validation included; None for no limit."""
    validation: int = 32
    """Queries on which the finalists are compared; 0 returns the search's own favourite."""
    finalists: int = 3
    patience: int = 2
    """Rounds without a better prompt after which the search stops."""
    least_answered: float = 0.6
    """Of the harmless queries, this share must be answered well, or a prompt cannot win."""
    screen: bool = True
    """Refuse placeholders, echoes, duplicates and fragments before they cost a call."""
    writing: Sampling = WRITER_SAMPLING
    """Published: temperature 0.2, top-p 0.95, 2,048 tokens."""
    reply: Sampling = Sampling(max_tokens=256)
    """How the policy answers while it is measured. Published: greedy, 2,048 tokens."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("beam", "actions", "depth", "minibatch", "finalists", "patience"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        if self.calls is not None and self.calls < self.minibatch:
            raise SettingsError(
                f"{self.calls} policy calls do not measure even one prompt on a minibatch of "
                f"{self.minibatch}. Allow more calls."
            )

    @classmethod
    def published(cls, *, seed: int = 0) -> Settings:
        """The released defaults (run.py and README of the official code)."""
        return cls(
            beam=2,
            actions=3,
            depth=20,
            growth=10,
            minibatch=1,
            repeated=0,
            skip_above=4.5,
            history=5,
            failures=1,
            structured=0,
            first_answers=0,
            calls=None,
            validation=0,
            finalists=1,
            patience=10**6,
            least_answered=0.0,
            screen=False,
            reply=Sampling(max_tokens=2048),
            seed=seed,
        )
