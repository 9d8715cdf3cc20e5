"""When two queries are the same query, and whether a prompt has seen the test.

    kept = without_duplicates(queries)
    for leak in leaks(prompt_text, held_out): ...

Two texts are alike when their sets of words, after folding case, width, punctuation and white
space, overlap by more than 0.8 (Jaccard). That is what a person calls a duplicate in these sets:
another article, another ending. It does not see paraphrases.

Comparing all pairs of 10,000 queries is 50 million comparisons; instead each text is looked up
under its rarest words only. Two sets that overlap by more than t must share one of their first
n - ceil(t n) + 1 words in any fixed order of words, so rarest first finds every pair and looks at
few (prefix filtering: Bayardo, Ma and Srikant, WWW 2007).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from trueup.types import Demonstration, Query

SIMILARITY = 0.8
"""Jaccard overlap of word sets above which two texts count as one."""
SHARED_WORDS = 8
"""Words in a row that a prompt and a query do not share by chance."""
FEWEST_WORDS = 4
"""A query of fewer words may stand inside a longer text by chance."""

# Scripts written without spaces count each character as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")


def words(text: str) -> list[str]:
    """The words of a text, folded so that spelling variants of one word are equal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(folded) or folded.split()


def query_text(query: Query) -> str:
    """The query with what was said before it: only then do two queries ask the same."""
    return "\n".join([*(turn.content for turn in query.history), query.text])


def digest(query: Query, seed: int | None = None) -> str:
    """A hash of everything in the query: an order that is arbitrary, and the same every time."""
    content = json.dumps([seed, asdict(query)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def without_duplicates(queries: Iterable[Query]) -> list[Query]:
    """One query of each group of duplicates, in an order that depends on contents alone."""
    ordered = sorted(queries, key=digest)
    index = WordIndex(Counter(word for q in ordered for word in set(words(query_text(q)))))
    return [query for query in ordered if index.add_if_new(query_text(query))]


class WordIndex:
    """Texts, and which of them one is alike to."""

    def __init__(self, frequency: Counter[str], similarity: float = SIMILARITY) -> None:
        self._frequency = frequency
        self._similarity = similarity
        self._sets: list[frozenset[str]] = []
        self._under: defaultdict[str, list[int]] = defaultdict(list)

    def add_if_new(self, text: str) -> bool:
        """Add a text unless one alike is there; whether it was added."""
        bag = frozenset(words(text))
        rarest = self._rarest(bag)
        if any(self._alike(bag, self._sets[i]) for i in self._candidates(rarest)):
            return False
        self._sets.append(bag)
        for word in rarest:
            self._under[word].append(len(self._sets) - 1)
        return True

    def _rarest(self, bag: frozenset[str]) -> list[str]:
        keep = len(bag) - math.ceil(self._similarity * len(bag) - 1e-9) + 1
        return sorted(bag, key=lambda word: (self._frequency[word], word))[:keep]

    def _candidates(self, rarest: Iterable[str]) -> Iterator[int]:
        return iter({number for word in rarest for number in self._under[word]})

    def _alike(self, one: frozenset[str], other: frozenset[str]) -> bool:
        return overlap(one, other) > self._similarity


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard: words in both over words in either; 0 of nothing."""
    either = len(one | other)
    return len(one & other) / either if either else 0.0


@dataclass(frozen=True, slots=True)
class Leak:
    """A held-out query that the prompt has seen, so that it tests nothing."""

    query: Query
    kind: Literal["shared words", "similar"]
    evidence: str
    """The words in a row that both have, or the text that the query is alike to."""


def leaks(shown: str | Sequence[str | Demonstration], held_out: Iterable[Query]) -> list[Leak]:
    """The held-out queries that share eight words in a row with what a model is shown, are quoted
    there whole (four words or more), or are alike to one of its lines or demonstrations."""
    texts = [shown] if isinstance(shown, str) else list(shown)
    runs: set[tuple[str, ...]] = set()
    bags: dict[frozenset[str], str] = {}
    for text in texts:
        whole = f"{text.query}\n{text.reply}" if isinstance(text, Demonstration) else text
        runs.update(_runs(words(whole)))
        pieces = [text.query] if isinstance(text, Demonstration) else whole.splitlines()
        bags.update({frozenset(words(piece)): piece for piece in pieces if piece.strip()})
    found = (_leak(query, runs, bags) for query in held_out)
    return [leak for leak in found if leak is not None]


def _runs(listed: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for length in range(FEWEST_WORDS, SHARED_WORDS + 1):
        for start in range(len(listed) - length + 1):
            yield tuple(listed[start : start + length])


def _leak(query: Query, runs: set[tuple[str, ...]], bags: dict[frozenset[str], str]) -> Leak | None:
    listed = words(query.text)
    length = min(len(listed), SHARED_WORDS)
    if length >= FEWEST_WORDS:
        for start in range(len(listed) - length + 1):
            run = tuple(listed[start : start + length])
            if run in runs:
                return Leak(query, "shared words", " ".join(run))
    bag = frozenset(listed)
    for other, text in bags.items():
        if overlap(bag, other) > SIMILARITY:
            return Leak(query, "similar", text)
    return None
