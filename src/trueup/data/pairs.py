"""Comparisons with people's labels: two replies to one query, and which people found better.

    labelled = read_pairs("mine.csv")                   # query, first, second, better
    labelled = read_pairs("pandalm@~/data")             # public sets: see `pair_sets`
    labelled.pairs, labelled.notes                      # what was left out, and why
    some = sample(labelled.pairs, 100, seed=0)

A file has either the columns `first`, `second` and `better` (first, second or tie), or `chosen`
and `rejected`. With the latter a hash decides which reply is put first, since a better reply that
always stands in one place would make a judge that likes the place look wise.

A row without a label is a mistake, not an opinion, so it ends the reading with its place. A tie is
an opinion with which no decision can agree: it ends the reading too, unless `leave_out_ties`.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from trueup.data.columns import Columns, first, listed, optional, spelt, text_of, to_query
from trueup.data.labels import Better, digest, label, placed
from trueup.data.pair_sets import PAIR_SETS, read_pair_set
from trueup.data.rows import HUB, Row, iterate_rows
from trueup.errors import DataError
from trueup.paths import expanded
from trueup.types import Pair, Query

FEWEST_PAIRS = 20
"""With fewer the interval of an agreement is wider than 0.4: it says nothing."""

FIRST = ("first", "output_1", "response_1", "response1", "response_a", "answer_a", "reply_a", "a")
SECOND = ("second", "output_2", "response_2", "response2", "response_b", "answer_b", "reply_b", "b")
LABEL = ("better", "label", "winner", "preference", "preferred")
CHOSEN, REJECTED = ("chosen", "preferred_reply"), ("rejected", "dispreferred_reply")
SUBSET = ("subset", "category", "source")
MODELS = (("model_a", "model_1", "first_model"), ("model_b", "model_2", "second_model"))


@dataclass(frozen=True, slots=True)
class Labelled:
    """Comparisons that people decided, and what was left out of the source."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


def read_pairs(
    source: str | os.PathLike[str], *, leave_out_ties: bool = False, column: str | None = None
) -> Labelled:
    """The decided comparisons of a file or public set; ties of public sets are left out anyway.

    Raises `DataError` for rows that cannot be used, saying which and what to do.
    """
    name = os.fspath(source)
    public, at, place = name.partition("@")
    if at and public in PAIR_SETS and place:
        return decided(read_pair_set(public, place), name, leave_out_ties=True)
    if public in PAIR_SETS and not os.path.exists(name):
        raise DataError(f"{name!r} says which set but not where it is: write {public}@PATH.")
    if at and public.replace("_", "").isalnum() and not os.path.exists(name):
        raise DataError(
            f"{public!r} is no set of comparisons. Known are {', '.join(sorted(PAIR_SETS))}; or "
            "give a file."
        )
    if not name.startswith(HUB) and not os.path.exists(expanded(name)):
        raise DataError(
            f"There is no file {name}: give a file of labelled comparisons, or a public set as in "
            "llmbar@PATH."
        )
    rows = list(iterate_rows(name))
    if not rows:
        raise DataError(f"{name} holds no comparisons. Put at least {FEWEST_PAIRS} into it.")
    reader = _Reader(rows[0], column, os.path.basename(name))
    return decided([reader.pair(row) for row in rows], name, leave_out_ties=leave_out_ties)


def decided(pairs: Sequence[Pair], name: str, *, leave_out_ties: bool) -> Labelled:
    """The pairs without ties and without those of equal texts.

    Raises `DataError` for ties that are not to be left out, and where nothing or only one side is
    left.
    """
    kept = [pair for pair in pairs if pair.better != "tie"]
    ties = len(pairs) - len(kept)
    if ties and not leave_out_ties:
        raise DataError(
            f"{name}: {ties} of {len(pairs)} comparisons are ties, with which no decision can "
            "agree. Remove them, or leave them out with --leave-out-ties."
        )
    different = [pair for pair in kept if pair.first.strip() != pair.second.strip()]
    if not different:
        raise DataError(
            f"{name} holds no comparison that can be decided: of {len(pairs)} rows {ties} are "
            f"ties, and {len(kept)} have the same reply twice. Say which of two replies is better."
        )
    _refuse_one_sided(different, name)
    notes = []
    if ties:
        notes.append(f"{ties} ties left out")
    if len(different) < len(kept):
        notes.append(f"{len(kept) - len(different)} left out, whose two replies are the same")
    return Labelled(tuple(different), tuple(notes))


def enough(pairs: Sequence[Pair], name: str) -> None:
    """Raise `DataError` for too few comparisons for an interval that says anything."""
    if len(pairs) < FEWEST_PAIRS:
        raise DataError(
            f"{name}: {len(pairs)} comparisons are too few, since even {FEWEST_PAIRS} leave an "
            f"agreement uncertain by 0.2 either way. Label {FEWEST_PAIRS} or more."
        )


def sample(pairs: Sequence[Pair], n: int, seed: int = 0) -> tuple[Pair, ...]:
    """`n` of the pairs, or all where there are fewer: from each subset in proportion, by a hash."""
    groups: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: digest(pair, seed)):
        groups[pair.subset].append(pair)
    # One in turn from the group that is furthest behind its share.
    taken: Counter[str] = Counter()
    chosen: list[Pair] = []
    while len(chosen) < min(n, len(pairs)):
        name = min(
            (name for name in groups if taken[name] < len(groups[name])),
            key=lambda name: ((taken[name] + 0.5) / len(groups[name]), name),
        )
        chosen.append(groups[name][taken[name]])
        taken[name] += 1
    return tuple(chosen)


def _refuse_one_sided(pairs: Sequence[Pair], name: str) -> None:
    sides = Counter(pair.better for pair in pairs)
    if len(pairs) >= 8 and len(sides) == 1:
        (side,) = sides
        raise DataError(
            f"{name}: the {side} reply is the better one in all {len(pairs)} comparisons, so a "
            "liking for the place would pass for judgement. Mix the places, or call the columns "
            "chosen and rejected, and they are mixed for you."
        )


class _Reader:
    """Reads rows of one source, whose first row says what the columns are called."""

    def __init__(self, row: Row, column: str | None, source: str) -> None:
        names = spelt(row.fields)
        self._columns = Columns.of(row, column)
        self._source = source
        self._sides = (first(names, FIRST), first(names, SECOND))
        self._wanted = (first(names, CHOSEN), first(names, REJECTED))
        self._label = first(names, LABEL)
        self._subset = first(names, SUBSET)
        self._models = tuple(first(names, known) for known in MODELS)
        if None in self._sides and None in self._wanted:
            raise DataError(
                f"{row.where} has no two replies to compare: it has {listed(row.fields)}. Call "
                "them first and second (and say in `better` which is), or chosen and rejected."
            )
        if None in self._wanted and self._label is None:
            raise DataError(
                f"{row.where} has no column that says which reply is better: it has "
                f"{listed(row.fields)}. Add `better`: first, second or tie."
            )

    def pair(self, row: Row) -> Pair:
        """The row as a pair. Raises `DataError`."""
        asked = to_query(row, self._columns)
        query = Query(
            asked.text,
            should_answer=asked.should_answer,
            history=asked.history,
            source=self._source,
        )
        subset = optional(row, self._subset) or ""
        if None not in self._sides and self._label is not None:
            one, other = (text_of(row, str(name)) for name in self._sides)
            return Pair(query, one, other, self._better(row), subset, self._named(row))
        chosen, rejected = (text_of(row, str(name)) for name in self._wanted)
        return placed(query, chosen, rejected, subset)

    def _better(self, row: Row) -> Better:
        return label(row.fields, str(self._label), row.where)

    def _named(self, row: Row) -> tuple[str, str] | None:
        one, other = (optional(row, name) for name in self._models)
        return (one, other) if one and other else None
