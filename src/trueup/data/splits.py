"""Queries divided into those to search with, to choose with and to report on.

    parts = split(queries, (0.5, 0.2, 0.3), seed=0)      # fractions of what is left
    parts = split(queries, (200, 100, 400), seed=0)      # or counts
    parts.search, parts.validation, parts.held_out

Duplicates go first, within and across the parts to be: a query seen in the search tests nothing.
What is left is divided evenly by whether it should be answered, and within that by category, each
cell within one of its share (controlled rounding: the table of shares is rounded so that all its
sums stay what they were; Bacharach, Management Science 1966). Who goes where is decided by a hash
of the query's content and the seed, so neither the order of the input nor the machine matters.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from trueup.data.likeness import digest, without_duplicates
from trueup.errors import DataError
from trueup.types import Query

PARTS = ("search", "validation", "held-out")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Splits:
    """Three parts without a query in common, each in an arbitrary but fixed order."""

    search: tuple[Query, ...]
    validation: tuple[Query, ...]
    held_out: tuple[Query, ...]


def split(
    queries: Iterable[Query],
    sizes: tuple[float, float, float] = (0.5, 0.2, 0.3),
    seed: int = 0,
) -> Splits:
    """Divide queries into search, validation and held-out parts.

    `sizes` are three fractions of the distinct queries (floats, at most 1 together) or three
    counts (integers). Raises `DataError` where there are too few queries for them.
    """
    given = list(queries)
    distinct = without_duplicates(given)
    totals = _totals(sizes, len(distinct), len(given))
    groups: dict[str, list[Query]] = defaultdict(list)
    for query in sorted(distinct, key=lambda q: digest(q, seed)):
        groups[str(query.should_answer)].append(query)

    parts: list[list[Query]] = [[], [], []]
    shares = _apportion({name: len(found) for name, found in groups.items()}, totals, seed)
    for name, found in groups.items():
        cells: dict[str, list[Query]] = defaultdict(list)
        for query in found:
            cells[query.category].append(query)
        counts = _apportion({name: len(cell) for name, cell in cells.items()}, shares[name], seed)
        for category, cell in cells.items():
            start = 0
            for part, count in zip(parts, counts[category], strict=True):
                part.extend(cell[start : start + count])
                start += count
    search, validation, held_out = (
        tuple(sorted(part, key=lambda q: digest(q, seed))) for part in parts
    )
    return Splits(search, validation, held_out)


def _totals(sizes: tuple[float, float, float], distinct: int, given: int) -> list[int]:
    """How many queries each part gets."""
    there = f"there are {distinct} distinct queries of {given} given"
    if len(sizes) != 3 or any(size < 0 or not math.isfinite(size) for size in sizes):
        raise DataError(f"The sizes {sizes} are not three numbers from 0 up. Give three.")
    if all(isinstance(size, int) for size in sizes):
        totals = [int(size) for size in sizes]
        if sum(totals) > distinct:
            raise DataError(
                f"The parts ask for {' + '.join(map(str, totals))} = {sum(totals)} queries but "
                f"{there}. Ask for fewer or give more."
            )
        return totals
    if sum(sizes) > 1 + 1e-9:
        raise DataError(
            f"The fractions {sizes} are more than 1 together. Give fractions, or whole counts."
        )
    ends = [round(distinct * sum(sizes[: k + 1])) for k in range(3)]
    totals = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    for name, size, total in zip(PARTS, sizes, totals, strict=True):
        if size > 0 and total == 0:
            raise DataError(
                f"The {name} part would be empty: {there}, and it gets {size:g} of them. "
                "Give more queries, or a larger fraction."
            )
    return totals


def _apportion(sizes: Mapping[Key, int], totals: Sequence[int], seed: int) -> dict[Key, list[int]]:
    """Round the table of shares sizes[k] * totals[j] / sum(sizes), keeping all row and column sums.

    What no part asks for is a column of its own, left out of the answer.
    """
    whole = sum(sizes.values())
    if whole == 0:
        return {}
    columns = [*totals, whole - sum(totals)]
    rows = sorted(sizes, key=lambda k: hashlib.sha256(f"{seed}\n{k}".encode()).digest())
    table = {key: [sizes[key] * column // whole for column in columns] for key in rows}
    rests = {key: [sizes[key] * column % whole for column in columns] for key in rows}
    missing = {key: sizes[key] - sum(table[key]) for key in rows}
    room = [column - sum(table[key][j] for key in rows) for j, column in enumerate(columns)]
    raised: list[set[Key]] = [set() for _ in columns]

    def raise_one(key: Key, tried: set[int]) -> bool:
        """Give `key` one more somewhere, moving another's on if need be (augmenting path)."""
        for j in sorted(range(len(columns)), key=lambda j: (room[j] <= 0, -rests[key][j])):
            if j in tried or key in raised[j] or rests[key][j] == 0:
                continue
            if room[j] > 0:
                room[j] -= 1
                raised[j].add(key)
                return True
            tried.add(j)
            for other in [k for k in rows if k in raised[j]]:
                if raise_one(other, tried):
                    raised[j].remove(other)
                    raised[j].add(key)
                    return True
        return False

    for key in rows:
        for _ in range(missing[key]):
            if not raise_one(key, set()):  # pragma: no cover - the theorem says it can
                raise AssertionError("a table of shares could not be rounded")
    return {key: [table[key][j] + (key in raised[j]) for j in range(len(totals))] for key in rows}
