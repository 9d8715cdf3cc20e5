"""In which order queries are used: shuffled by a seed, kinds taking turns.

    shuffled(queries, seed=0)       # the same however they were listed
    evenly(queries, 16)             # the first sixteen, kinds alike many

A query's kind is whether it should be answered, where that is known. Which queries a search has is
decided in `data.splits`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from trueup.types import Query


def shuffled(queries: Sequence[Query], seed: int) -> tuple[Query, ...]:
    """In an order that depends on the seed and the set, not on how it was listed."""
    ordered = sorted(queries, key=lambda query: (query.text, query.category))
    random.Random(seed).shuffle(ordered)
    return tuple(alternating(ordered))


def alternating(queries: Sequence[Query]) -> list[Query]:
    """The same queries, kinds taking turns as long as there are several."""
    kinds: dict[bool | None, list[Query]] = {}
    for query in queries:
        kinds.setdefault(query.should_answer, []).append(query)
    rows = list(kinds.values())
    longest = max((len(row) for row in rows), default=0)
    return [row[i] for i in range(longest) for row in rows if i < len(row)]


def evenly(queries: Sequence[Query], count: int) -> list[Query]:
    """The first `count` queries, kinds alike many where there are enough."""
    return alternating(queries)[: max(0, count)]
