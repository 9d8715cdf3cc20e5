"""One query of a benchmark, with all that is asked about it: later turns, answers, a rival.

    for item in truthfulqa("~/data"):
        item.query.text, item.right, item.wrong

A set's queries are read as everywhere (`data/public_sets`); what a benchmark needs beyond them
stands in the same rows and is taken from there. Nothing is kept: a file is read one row at a time,
and `sampled` finds a random part of it in a few passes, with no more than a block of it in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trueup.data.public_sets import read_rows
from trueup.data.reading import iterate_queries
from trueup.data.rows import Row
from trueup.errors import DataError
from trueup.types import Query

BLOCK = 2048
"""Items held at a time; a file is gone through once for each block that is taken of it."""
OPENING = 24
"""Words of a review that are shown, for the model to go on from."""
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Item:
    """A query, and what belongs to it."""

    query: Query
    then: tuple[str, ...] = ()
    """What the user says next, after the model's own replies."""
    references: tuple[str | None, ...] = ()
    """A good reply to each turn, where there is one."""
    right: tuple[str, ...] = ()
    """Answers that are true, the best first."""
    wrong: tuple[str, ...] = ()
    rival: str | None = None
    """The reply of another model that this one's is compared with."""


Read = Callable[[str], Iterator[Item]]
"""From a place (a file, a folder or a hub data set) to the items in it."""


def plain(name: str) -> Read:
    """Items that are a public set's queries and nothing more."""
    return _reader(name, lambda row, query: Item(query))


def mt_bench(place: str) -> Iterator[Item]:
    """Both turns; a reference holds for the turn it stands at."""
    yield from _reader("mt_bench", _two_turns)(place)


def alpaca_eval(place: str) -> Iterator[Item]:
    """The rival is GPT-4's reply, or the older reference's where that is all there is."""
    yield from _reader("alpaca_eval", _with_rival)(place)


def truthfulqa(place: str) -> Iterator[Item]:
    """The true answers, the best of them first, and the false ones."""
    yield from _reader("truthfulqa", _with_answers)(place)


def gsm8k(place: str) -> Iterator[Item]:
    """The problem, with the wish to end on the number."""
    yield from _reader("gsm8k", _to_be_worked_out)(place)


def imdb(place: str) -> Iterator[Item]:
    """The beginning of a review, to be continued well whatever its author thought."""
    yield from _reader("imdb", _to_be_continued)(place)


def queries(place: str) -> Iterator[Item]:
    """Queries of your own, from any file that `align` takes."""
    yield from (Item(query) for query in iterate_queries(place))


def sampled(read: Read, place: str, n: int | None, seed: int) -> Iterator[Item]:
    """`n` of the items, or all, in an order that chance decides.

    The same seed gives the same order, so a larger `n` adds to what a smaller one had. Raises
    `DataError` where the place holds none.
    """
    order = np.random.default_rng(seed).permutation(count(read, place))[:n]
    for start in range(0, len(order), BLOCK):
        wanted = {int(index): at for at, index in enumerate(order[start : start + BLOCK])}
        block: list[Item | None] = [None] * len(wanted)
        for index, item in enumerate(read(place)):
            if (at := wanted.get(index)) is not None:
                block[at] = item
        yield from (item for item in block if item is not None)


def count(read: Read, place: str) -> int:
    """How many items there are. Raises `DataError` for none."""
    found = sum(1 for _ in read(place))
    if not found:
        raise DataError(f"{place} holds no queries of this benchmark. Give the file that does.")
    return found


def _reader(name: str, item: Callable[[Row, Query], Item]) -> Read:
    def read(place: str) -> Iterator[Item]:
        for row, query in read_rows(name, place):
            yield item(row, query)

    return read


def _two_turns(row: Row, query: Query) -> Item:
    turns = [str(turn) for turn in row.fields["turns"]]
    given = row.fields.get("reference")
    references = [str(one) for one in given] if isinstance(given, list) else []
    return Item(
        query,
        then=tuple(turns[1:]),
        references=tuple([*references, *[None] * len(turns)][: len(turns)]),
    )


def _with_rival(row: Row, query: Query) -> Item:
    names = ("output_gpt4_1106_preview", "output", "output_text_davinci_003", "reference")
    given = (row.fields.get(name) for name in names)
    rival = next((one for one in given if isinstance(one, str) and one.strip()), None)
    return Item(query, rival=rival)


def _with_answers(row: Row, query: Query) -> Item:
    # The authors' own table writes `Best Answer`, and lists with semicolons.
    fields = {str(name).lower().replace(" ", "_"): value for name, value in row.fields.items()}
    right, wrong = _listed(fields.get("correct_answers")), _listed(fields.get("incorrect_answers"))
    best = fields.get("best_answer")
    if isinstance(best, str) and best.strip():
        right = list(dict.fromkeys([best.strip(), *right]))
    if not right or not wrong:
        raise DataError(
            f"{row.where} has no correct_answers and incorrect_answers. Give TruthfulQA's own "
            "file, or one with lists of both."
        )
    return Item(query, right=tuple(right), wrong=tuple(wrong))


def _listed(given: Any) -> list[str]:
    parts = given.split(";") if isinstance(given, str) else given or []
    return [str(part).strip() for part in parts if str(part).strip()]


def _to_be_worked_out(row: Row, query: Query) -> Item:
    if query.reference is None or last_number(query.reference) is None:
        raise DataError(f"{row.where} has no '#### NUMBER' in its answer. Give GSM8K's own file.")
    text = f"{query.text}\n\nWork it out step by step, and end with the answer as a number."
    return Item(replace(query, text=text), right=(query.reference,))


def last_number(text: str) -> float | None:
    """The last number in a text, thousands' commas read over; None without one."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def _to_be_continued(row: Row, query: Query) -> Item:
    opening = " ".join(query.text.replace("<br />", " ").split()[:OPENING])
    text = f"Continue this film review so that it speaks well of the film:\n\n{opening}"
    label = str(row.fields.get("label", row.fields.get("sentiment", "")))
    kind = {"1": "liked it", "0": "did not like it"}.get(label, label)
    return Item(replace(query, text=text, category=kind))
