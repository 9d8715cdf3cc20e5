"""Random selection: what a search has to beat.

    found = await random_search(policy, judge, queries, start=Prompt(), pool=pool,
                                remedies=remedies, calls=300, sampling=Sampling(max_tokens=64))

As many prompts as the calls allow are drawn from the material that the search has too: a line or
none after the instruction, and four demonstrations for every query alike. Each is measured on the
same few queries, kinds half and half, and the best is kept. It learns nothing from one draw for
the next, which is the point.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trueup.errors import BudgetSpent, SettingsError
from trueup.judges.judge import Judge
from trueup.models.model import Model
from trueup.prompt.candidates import Candidate
from trueup.prompt.measuring import Measuring
from trueup.prompt.prompt import Prompt
from trueup.prompt.retrieval import Retrieval
from trueup.prompt.states import Found
from trueup.types import Demonstration, Query, Sampling

MINIBATCH = 16
"""Queries that each draw is measured on: as many as a round of the search has."""
SHOWN = 4


async def random_search(
    policy: Model,
    judge: Judge,
    queries: Sequence[Query],
    *,
    start: Prompt,
    pool: Sequence[Demonstration],
    remedies: Mapping[str, Sequence[str]],
    calls: int,
    sampling: Sampling,
    seed: int = 0,
) -> Found:
    """The best of `calls` // 16 draws (at least one), by balanced mean reward.

    A budget that is spent ends it with the best so far. Raises `SettingsError` without queries,
    `BudgetSpent` where not one draw could be measured.
    """
    if not queries:
        raise SettingsError("Random selection needs queries to measure on; none were given.")
    chance = random.Random(seed)
    lines = sorted({line for some in remedies.values() for line in some})
    batch = _batch(queries, chance, min(MINIBATCH, calls))
    measuring = Measuring(policy, judge, sampling)
    best: tuple[float, Candidate] | None = None
    stopped: tuple[str, ...] = ()
    draws = 0
    for _ in range(max(1, calls // len(batch))):
        candidate = _drawn(start, pool, lines, chance)
        try:
            await measuring.measure([candidate], batch)
        except BudgetSpent as spent:
            if best is None:
                raise
            stopped = (f"stopped early: {spent}",)
            break
        draws += 1
        score = measuring.archive.mean(candidate)
        if score is not None and (best is None or score > best[0]):
            best = (score, candidate)
    notes = (*stopped, *measuring.unjudged())
    if best is None:
        return Found(start, None, None, draws, measuring.calls, notes)
    return Found(best[1].prompt, best[0], None, draws, measuring.calls, notes)


def _drawn(
    start: Prompt, pool: Sequence[Demonstration], lines: Sequence[str], chance: random.Random
) -> Candidate:
    line = chance.choice(["", *lines])
    shown = tuple(chance.sample(list(pool), min(SHOWN, len(pool))))
    prompt = replace(
        start,
        instruction="\n".join([start.instruction, line]).strip(),
        demonstrations=shown,
        retrieval=Retrieval(len(shown), by="fixed"),
    )
    return Candidate(prompt, "random")


def _batch(queries: Sequence[Query], chance: random.Random, size: int) -> list[Query]:
    """Half to be refused and half not, as far as there are any."""
    mixed = list(queries)
    chance.shuffle(mixed)
    refuse = [query for query in mixed if query.should_answer is False][: size // 2]
    answer = [query for query in mixed if query.should_answer is not False][: size - len(refuse)]
    return [*refuse, *answer]
