"""What a pool says of a query, whatever is shown of it: who is nearest, and which way it leans.

    nearness = Nearness(pool, "bm25")
    await nearness.ranked("How do I kill a process?")      # places in the pool, nearest first
    await nearness.lean("How do I kill a process?")        # above 0 answer it, below 0 refuse it

The lean is a kernel ridge regression from queries to behaviours (Saunders et al., 1998). An index
takes longer to make than a query takes to look up, and depends neither on how many demonstrations
are shown nor in which order: one serves all the ways in which a pool is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trueup.errors import SettingsError
from trueup.models.model import Model
from trueup.prompt.similarity import Embedded, Lexical, Similarity, bare
from trueup.types import Demonstration

By = Literal["bm25", "embedding", "fixed"]
Places = NDArray[np.intp]

RIDGE = 2.0
MOST_FITTED = 1024
"""A larger pool leans as an even sample of it does: a fit takes the cube of what it is made on."""
REMEMBERED = 4096
"""Queries that are looked up once; what serves for months must not remember them all."""


class Nearness:
    """A pool, indexed."""

    def __init__(
        self, pool: Sequence[Demonstration], by: By = "bm25", embedder: Model | None = None
    ) -> None:
        """`embedder` for "embedding"; "fixed" has the pool's own order for every query.

        Raises `SettingsError` where embeddings are wanted and nobody gives them.
        """
        self._queries = [bare(one.query) for one in pool]
        self._answers = np.array([one.shows_answer for one in pool], dtype=bool)
        self._similarity: Similarity | None = None
        self._fit: Fit | None = None
        self._ranked: dict[str, Places] = {}
        self._leans: dict[str, float] = {}
        if by == "bm25":
            self._similarity = Lexical([one.query for one in pool])
        elif by == "embedding":
            if embedder is None:
                raise SettingsError(
                    "retrieval.by is 'embedding', but no model with embeddings is given. "
                    "Name one, or retrieve by 'bm25'."
                )
            self._similarity = Embedded([one.query for one in pool], embedder)

    async def ranked(self, query: str) -> Places:
        """Shape (at most pool,): places of demonstrations, nearest first, of other queries only."""
        if query not in self._ranked:
            if len(self._ranked) >= REMEMBERED:
                self._ranked.clear()
            count = len(self._queries)
            near = np.zeros(count) if self._similarity is None else await self._similarity.to(query)
            order = np.argsort(-near, kind="stable")
            self._ranked[query] = order[~np.isin(order, self._itself(query))]
        return self._ranked[query]

    async def lean(self, query: str) -> float:
        """What the pool says of a query, about -1 to 1: above 0 answer it, below 0 refuse it.

        A query that is itself in the pool is judged by the others (the leave-one-out identity of
        ridge regression), so that measuring on it flatters nobody.
        """
        if query not in self._leans:
            if len(self._leans) >= REMEMBERED:
                self._leans.clear()
            self._leans[query] = await self._leaning(query)
        return self._leans[query]

    async def _leaning(self, query: str) -> float:
        if self._similarity is None or not self._queries:
            return 0.0
        if self._fit is None:
            self._fit = await Fit.of(self._similarity, self._answers)
        rows = self._fit.rows
        same = np.flatnonzero(np.isin(rows, self._itself(query)))
        if len(same):
            return self._fit.without(same)
        near = (await self._similarity.to(query))[rows]
        length = float(np.linalg.norm(near))
        return float(near @ self._fit.weights) / length if length > 0 else 0.0

    def _itself(self, query: str) -> list[int]:
        """Where in the pool the query itself is."""
        itself = bare(query)
        return [place for place, known in enumerate(self._queries) if known == itself]


@dataclass(frozen=True, slots=True)
class Fit:
    """A kernel ridge regression from a pool's queries to its behaviours."""

    rows: Places
    """Shape (fitted,): the places in the pool that it is made on."""
    weights: NDArray[np.float64]
    """Shape (fitted,)."""
    gram: NDArray[np.float64]
    """Shape (fitted, fitted): the kernel matrix."""
    inverse: NDArray[np.float64]
    """Shape (fitted, fitted), of the regularised kernel matrix."""
    behaviour: NDArray[np.float64]
    """Shape (fitted,): 1 for an answer, -1 for a refusal, less their mean."""

    @classmethod
    async def of(cls, similarity: Similarity, answers: NDArray[np.bool_]) -> Fit:
        """Fit a pool, or an even sample of a large one."""
        count = len(answers)
        fitted = min(count, MOST_FITTED)
        rows = np.linspace(0, count - 1, fitted).round().astype(np.intp)
        gram = await similarity.among(rows)
        behaviour = np.where(answers[rows], 1.0, -1.0)
        regular = gram.copy()
        regular.flat[:: len(gram) + 1] += RIDGE  # the diagonal, no matrix of its own
        inverse = np.asarray(np.linalg.inv(regular), dtype=np.float64)
        centred = behaviour - behaviour.mean()
        return cls(rows, inverse @ centred, gram, inverse, centred)

    def without(self, same: Places) -> float:
        """The lean of a query in the pool, had its rows not been there.

        Both what the others say and how near they are is taken from the kernel matrix: a new
        query's nearness is on another scale, of which only its own length is taken out.
        """
        others = self.gram[same[0]].copy()
        others[same] = 0.0
        length = float(np.linalg.norm(others))
        if length == 0:
            return 0.0
        block = self.inverse[np.ix_(same, same)]
        residuals = np.linalg.solve(block, self.weights[same])
        return float(self.behaviour[same[0]] - residuals[0]) / length
