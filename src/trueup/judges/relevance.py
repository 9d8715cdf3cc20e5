"""Is the reply about what was asked? A cheap look at the words of both.

    on_topic("How do I clean a small flat?", "Monday dust, Tuesday bathroom, Wednesday floors.")
    not on_topic("How do I clean a small flat?", "The Treaty of Westphalia ended the war in 1648.")

The idea: a reply that is about the query shares rare words with it, or words that usually go
together with them. Six numbers are read off the two texts (see `features`) and weighed into one.
"Usually go together" is a table of word vectors, 48 small numbers for each of some 6,000 stems,
learnt from which question went with which answer in Anthropic's HH-RLHF dialogues (MIT licence;
arXiv 2204.05862) by `benchmarks/word_vectors.py`, which also fits the weights. Looking a word up
is no model call; a judgement takes well under a millisecond.

What it does not do: read. It tells junk from an answer to this question, not a right answer from
a wrong one. Where there is nothing to go by (a language whose words it does not know, a reply
without content words, or of one or two words such as `42.`) it gives the benefit of the doubt:
exactly one half, which is on topic.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ON_TOPIC_FROM = 0.5
"""The relevance from which `on_topic` says yes; the fit places it so that 95 of 100 true pairs
of every set's making half pass."""

TABLE = Path(__file__).with_name("words.npz")
FEATURES = ("asked_shared", "shared", "direction", "closest", "letters", "length")

_REPLY_WORDS = 40
_QUERY_WORDS = 400
_BRIEF = 3
"""Under so many words a reply with nothing in common may still be the very answer: `Paris.`"""
_COMMON = 1.5
"""Words rarer than this (natural log of 1 / document frequency) carry a subject."""
_PIECE = 5
"""Letters in the pieces by which unknown spellings of one word are seen to be alike."""

_WORD = re.compile(r"[^\W_]+")
_ENDINGS = (
    *("ically", "ations", "ation", "ingly", "ments", "ment", "ings", "ing", "edly", "ness"),
    *("ies", "ied", "ers", "ors", "est", "ed", "es", "er", "or", "ly", "al", "s", "e", "y"),
)

Floats = npt.NDArray[np.float32]


def stem(word: str) -> str:
    """A crude English stem: plural, -ing, -ed and their like cut off."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def stems(text: str, most: int) -> list[str]:
    """The stems of a text's first `most` words, in order."""
    first = " ".join(text.split(maxsplit=most)[:most])
    return [stem(word) for word in _WORD.findall(first.lower())]


@dataclass(frozen=True, slots=True)
class Table:
    """What is known of words: their rarity, their vectors, and how to weigh the features."""

    place: dict[str, int]
    rarity: Floats
    """Natural log of 1 / document frequency, one for each stem."""
    vectors: Floats
    """One row for each stem; longer rows matter more."""
    unknown: float
    """The rarity of a stem that is not in the table."""
    weights: Floats
    """One for each feature, then the constant."""

    def weight(self, word: str) -> float:
        place = self.place.get(word)
        return self.unknown if place is None else float(self.rarity[place])

    def rows(self, words: Iterable[str]) -> list[int]:
        return [self.place[word] for word in words if word in self.place]


@lru_cache(maxsize=1)
def table(path: Path = TABLE) -> Table:
    """The bundled table, read once."""
    with np.load(path) as file:
        raw: dict[str, Any] = {name: file[name] for name in file.files}
    words = bytes(raw["words"]).decode().split("\n")
    return Table(
        place={word: at for at, word in enumerate(words)},
        rarity=raw["rarity"].astype(np.float32),
        vectors=raw["vectors"].astype(np.float32) * raw["scales"].astype(np.float32)[:, None],
        unknown=float(raw["unknown"]),
        weights=raw["weights"].astype(np.float32),
    )


def _pieces(words: Iterable[str]) -> set[str]:
    return {word[at : at + _PIECE] for word in words for at in range(len(word) - _PIECE + 1)}


def features(query: str, reply: str, known: Table) -> Floats | None:
    """Six numbers about a query and the first 40 words of a reply; None when there is no telling.

    asked_shared: share of the query's subject, by squared rarity, that the reply takes up.
    shared: how much rare vocabulary they share (log).
    direction: cosine between the sums of their words' vectors.
    closest: mean, over the reply's words, of the cosine to the nearest word of the query.
    letters: overlap of the five-letter pieces of their words.
    length: log of the number of the reply's content words.
    """
    asked = {w for w in stems(query, _QUERY_WORDS) if known.weight(w) > _COMMON}
    said = {w for w in stems(reply, _REPLY_WORDS) if known.weight(w) > _COMMON}
    rows_asked, rows_said = known.rows(sorted(asked)), known.rows(sorted(said))
    if not asked & said:
        brief = len(reply.split(maxsplit=_BRIEF)) < _BRIEF
        if brief or not (rows_asked and rows_said):
            return None
    shared = sum(known.weight(word) ** 2 for word in sorted(asked & said))
    total = sum(known.weight(word) ** 2 for word in sorted(asked))
    direction, closest = 0.3, 0.3
    if rows_asked and rows_said:
        direction, closest = _closeness(known, rows_asked, rows_said)
    pieces_asked, pieces_said = _pieces(asked), _pieces(said)
    fewest = min(len(pieces_asked), len(pieces_said)) or 1
    return np.array(
        [
            shared / total,
            math.log1p(shared),
            direction,
            closest,
            len(pieces_asked & pieces_said) / fewest,
            math.log1p(len(said)),
        ],
        dtype=np.float32,
    )


def _closeness(known: Table, asked: list[int], said: list[int]) -> tuple[float, float]:
    """(cosine of the sums, mean nearest cosine of the reply's words weighted by rarity)."""
    a, b = known.vectors[asked], known.vectors[said]
    sum_a, sum_b = a.sum(0), b.sum(0)
    norm = float(np.linalg.norm(sum_a) * np.linalg.norm(sum_b)) + 1e-9
    unit_a = a / (np.linalg.norm(a, axis=1, keepdims=True) + 1e-9)
    unit_b = b / (np.linalg.norm(b, axis=1, keepdims=True) + 1e-9)
    nearest = (unit_a @ unit_b.T).max(0)
    rarity = known.rarity[said]
    return float(sum_a @ sum_b) / norm, float((nearest * rarity).sum() / rarity.sum())


def relevance(query: str, reply: str) -> float:
    """How much the reply looks to be about the query, 0 to 1; one half when there is no telling."""
    known = table()
    found = features(query, reply, known)
    if found is None:
        return 0.5
    return 1 / (1 + math.exp(-float(found @ known.weights[:-1] + known.weights[-1])))


def on_topic(query: str, reply: str) -> bool:
    """Whether the reply is, as far as its words tell, about the query."""
    return relevance(query, reply) >= ON_TOPIC_FROM
