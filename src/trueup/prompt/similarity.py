"""How near a query is to each demonstration of a pool: by shared words, or by embeddings.

    similarity = Lexical(["How do I kill a process?", "Who built the bomb?"])
    await similarity.to("How can I kill a Python process?")        # one number per demonstration

Both give a symmetric matrix of the pool's nearness to itself, scaled to ones on the diagonal,
which is what retrieval learns the pool's lean from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trueup.models.model import Embeddings, Model


class Similarity(Protocol):
    """Nearness of queries to a pool."""

    async def to(self, query: str) -> NDArray[np.float64]:
        """Shape (pool,): how near each demonstration's query is; 0 is nothing in common."""
        ...

    async def among(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Shape (rows, rows): of these places in the pool, symmetric, ones on the diagonal."""
        ...


class Lexical:
    """BM25 (Robertson and Zaragoza, 2009) over words and word pairs, by bm25s.

    Function words stay in: rarity already makes them light, and with their neighbours they carry
    the form of a question ("what is", "how do i"), which says much about what is wanted.
    """

    def __init__(self, queries: Sequence[str]) -> None:
        import bm25s

        self._queries = queries
        self._index = bm25s.BM25(k1=1.2, b=0.75)
        # One document that no query matches keeps a pool without a single word legal.
        self._index.index([*map(terms, queries), ["\x00"]], show_progress=False)
        own = [self._scores(query)[row] for row, query in enumerate(queries)]
        self._scale = np.sqrt(np.maximum(np.array(own, dtype=np.float64), 1e-9))

    async def to(self, query: str) -> NDArray[np.float64]:
        return self._scores(query) / self._scale

    async def among(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        scale = self._scale[rows]
        near = np.array([self._scores(self._queries[row])[rows] / scale for row in rows])
        near = near / scale[:, None]
        symmetric: NDArray[np.float64] = (near + near.T) / 2
        return symmetric

    def _scores(self, query: str) -> NDArray[np.float64]:
        known = [term for term in terms(query) if term in self._index.vocab_dict]
        if not known:
            return np.zeros(len(self._queries))
        scores: NDArray[np.float64] = self._index.get_scores(known).astype(np.float64)
        return scores[: len(self._queries)]


class Embedded:
    """Cosine of a model's embeddings, from 0 for unrelated texts to 1."""

    def __init__(self, queries: Sequence[str], model: Model) -> None:
        self._queries = queries
        self._model = model
        self._rows: Embeddings | None = None

    async def to(self, query: str) -> NDArray[np.float64]:
        rows = await self._embedded()
        row = (await self._model.embed([query]))[0]
        near: NDArray[np.float64] = np.maximum(rows @ row, 0.0).astype(np.float64)
        return near

    async def among(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        chosen = (await self._embedded())[rows]
        near: NDArray[np.float64] = np.maximum(chosen @ chosen.T, 0.0).astype(np.float64)
        return near

    async def _embedded(self) -> Embeddings:
        if self._rows is None:
            self._rows = await self._model.embed(self._queries)
        return self._rows


def warm_up() -> None:
    """Load bm25s, with SciPy behind it: in a thread, while a model answers, nobody waits for it."""
    import bm25s  # noqa: F401


def words(text: str) -> list[str]:
    """Lower-case words and numbers, in order."""
    return re.findall(r"[^\W_]+", text.lower())


def bare(text: str) -> str:
    """The text without case and punctuation: the same for two that say the same words."""
    return " ".join(words(text))


def terms(text: str) -> list[str]:
    """Index terms: stems, and each pair of neighbours, the start of the text counted as one."""
    stems = [_stem(word) for word in words(text)]
    return stems + [f"{left} {right}" for left, right in zip(["^", *stems], stems, strict=False)]


def _stem(word: str) -> str:
    """Harman's S-stemmer (1991) with -ing and -ed: enough to join "bombs" and "bomb"."""
    if len(word) > 5 and word.endswith("ing"):
        word = word[:-3]
    elif len(word) > 4 and word.endswith("ed"):
        word = word[:-2]
    elif len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    if len(word) > 4 and word.endswith("e"):
        word = word[:-1]
    return word
