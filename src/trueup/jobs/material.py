"""The queries and demonstrations of a job, divided so that none vouches for itself.

    material = material_of(job, settings)        # search, validation, held_out: disjoint
    pool, notes = pool_of(job, material.held_out)

Reads files and asks nobody. What is left out is said in a note; what leaves too little raises
`DataError` with the remedy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trueup.data import leaks, read_demonstrations, read_queries, split, without_duplicates
from trueup.data.likeness import WordIndex, query_text, words
from trueup.errors import DataError, SettingsError
from trueup.jobs.job import Job
from trueup.prompt.settings import CALLS, Settings
from trueup.types import Demonstration, Query

HELD_OUT = 80
VALIDATION = 32
FEWEST = 4
"""Queries in any part: fewer say nothing."""


@dataclass(frozen=True, slots=True)
class Material:
    """A job's queries."""

    search: tuple[Query, ...]
    validation: tuple[Query, ...]
    """To choose among the finalists with."""
    held_out: tuple[Query, ...]
    """To report on."""
    notes: tuple[str, ...]
    """What was left out, and why."""


def material_of(job: Job, settings: Settings) -> Material:
    """Read and divide. Raises `DataError`."""
    given = read_queries(job.data, column=job.column)
    if job.held_out_data is not None:
        return _beside(job, given, settings)
    distinct = without_duplicates(given)
    held_out = job.held_out or min(HELD_OUT, 2 * len(distinct) // 5)
    validation = _validation(job, settings, len(distinct) - held_out)
    _enough(job, len(distinct), held_out, validation)
    parts = split(distinct, (len(distinct) - held_out - validation, validation, held_out), job.seed)
    return Material(parts.search, parts.validation, parts.held_out, _duplicates(given, distinct))


def _beside(job: Job, given: list[Query], settings: Settings) -> Material:
    """The same where the queries to report on come from elsewhere."""
    elsewhere = without_duplicates(read_queries(str(job.held_out_data), column=job.column))
    held_out = job.held_out or len(elsewhere)
    if held_out > len(elsewhere):
        raise DataError(
            f"{job.held_out_data} holds {len(elsewhere)} distinct queries, and {held_out} are to "
            "be held out: lower --held-out, or give more."
        )
    reported = split(elsewhere, (0, 0, held_out), job.seed).held_out
    index = WordIndex(
        Counter(word for one in (*given, *reported) for word in set(words(query_text(one))))
    )
    for query in reported:
        index.add_if_new(query_text(query))
    distinct = [query for query in without_duplicates(given) if index.add_if_new(query_text(query))]
    validation = _validation(job, settings, len(distinct))
    _enough(job, len(distinct), 0, validation)
    parts = split(distinct, (len(distinct) - validation, validation, 0), job.seed)
    return Material(parts.search, parts.validation, reported, _duplicates(given, distinct))


def _validation(job: Job, settings: Settings, left: int) -> int:
    """How many queries choose among the finalists: no more than the search can pay for."""
    if settings.validation == 0:
        return 0
    affordable = (job.calls or CALLS) // (3 * settings.finalists)
    return job.validation or max(FEWEST, min(VALIDATION, left // 3, affordable))


def _enough(job: Job, distinct: int, held_out: int, validation: int) -> None:
    if distinct - held_out - validation < FEWEST:
        raise DataError(
            f"{job.data} holds {distinct} distinct queries; {held_out} held out and {validation} "
            f"to choose with leave fewer than {FEWEST} to search on. Give more queries, or lower "
            "--held-out."
        )


def _duplicates(given: Sequence[Query], distinct: Sequence[Query]) -> tuple[str, ...]:
    count = len(given) - len(distinct)
    return (f"{count} queries left out because another like them is there",) if count else ()


def pool_of(
    job: Job, held_out: Sequence[Query]
) -> tuple[tuple[Demonstration, ...], tuple[str, ...]]:
    """The demonstrations to choose from, without any that give a held-out query away."""
    if job.rewrite_demonstrations and job.writer == "none":
        raise SettingsError(
            "Rewriting demonstrations needs a writer: name a model with --writer, or leave "
            "rewrite_demonstrations out."
        )
    if job.demonstrations == "none":
        return (), ()
    sources = {"bundled": "seeds", "long": "seeds:long"}
    pool = read_demonstrations(sources.get(job.demonstrations, job.demonstrations))
    kept = tuple(one for one in pool if not leaks([one], held_out))
    if len(kept) == len(pool):
        return kept, ()
    return kept, (
        f"{len(pool) - len(kept)} demonstrations left out: held-out queries are like them",
    )
