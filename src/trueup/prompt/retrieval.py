"""Which demonstrations stand in front of a query.

    how = Retrieval(k=4, mix="leaning")
    shown = await Retriever(pool, how).shown("How do I kill a process?")

DRPO retrieves per query rather than showing fixed examples (arXiv 2411.08733; its code ranks by
sentence embedding, K = 2). Two questions are kept apart here:

* *which* demonstrations of a behaviour are shown: the nearest ones, by BM25 (no second model
  needed), or by a model's embeddings;
* *how many* of each behaviour (`mix`). The nearest K alone are a poor guide: a pool that holds
  each dangerous word in a harmless sense too puts opposite twins side by side. "leaning" asks the
  whole pool: a kernel ridge regression from queries to behaviours (Saunders et al., 1998) leans
  towards answering or refusing, and that share of the K shows answers. The model has the last
  word: it sees both behaviours unless the pool is sure.

A demonstration whose query *is* the query is never shown: it would hand the model its answer and
flatter the measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trueup.errors import SettingsError
from trueup.models.model import Model
from trueup.prompt.similarity import Embedded, Lexical, Similarity, words
from trueup.types import Demonstration

By = Literal["bm25", "embedding", "fixed"]
Order = Literal["nearest last", "nearest first"]
Mix = Literal["nearest", "even", "leaning"]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How demonstrations are chosen for a query."""

    k: int = 4
    """How many; 0 shows none."""
    by: By = "bm25"
    """"fixed" shows the pool's first k to every query."""
    order: Order = "nearest last"
    """Published DRPO puts the nearest first, farthest from the query. Weak models copy what is
    near, so ours puts it last."""
    mix: Mix = "nearest"
    """How many of each behaviour: as they come, half and half, or as the pool leans."""
    caution: float = 0.0
    """For "leaning": above 0 shows refusals sooner, below 0 answers sooner. The lean itself lies
    in about -1 to 1."""

    def __post_init__(self) -> None:
        if self.k < 0:
            raise SettingsError(f"retrieval.k is {self.k}; it must be 0 or more.")


class Retriever:
    """Chooses from one pool in one way."""

    def __init__(
        self, pool: Sequence[Demonstration], how: Retrieval, embedder: Model | None = None
    ) -> None:
        self._pool = pool
        self._how = how
        self._queries = [" ".join(words(one.query)) for one in pool]
        self._answers = np.array([one.shows_answer for one in pool], dtype=bool)
        self._similarity: Similarity | None = None
        self._fit: Fit | None = None
        self._shown: dict[str, list[Demonstration]] = {}
        if how.k > 0 and how.by == "bm25":
            self._similarity = Lexical([one.query for one in pool])
        elif how.k > 0 and how.by == "embedding":
            if embedder is None:
                raise SettingsError(
                    "retrieval.by is 'embedding', but no model with embeddings is given. "
                    "Name one, or retrieve by 'bm25'."
                )
            self._similarity = Embedded([one.query for one in pool], embedder)

    async def shown(self, query: str) -> list[Demonstration]:
        """The demonstrations to show for this query, in the order in which they are shown."""
        if query not in self._shown:
            self._shown[query] = await self._chosen(query)
        return list(self._shown[query])

    async def _chosen(self, query: str) -> list[Demonstration]:
        how = self._how
        if how.k == 0 or not self._pool:
            return []
        itself = " ".join(words(query))
        near = (
            np.zeros(len(self._pool))
            if self._similarity is None
            else await self._similarity.to(query)
        )
        ranked = [
            index
            for index in np.argsort(-near, kind="stable").tolist()
            if self._queries[index] != itself
        ]
        if how.mix != "nearest" and self._similarity is not None:
            ranked = self._mixed(ranked, await self._answers_due(query))
        chosen = [self._pool[index] for index in ranked[: how.k]]
        fixed = self._similarity is None
        return chosen if fixed or how.order == "nearest first" else chosen[::-1]

    def _mixed(self, ranked: Sequence[int], answers: int) -> list[int]:
        """The nearest `answers` answers and `k - answers` refusals, nearest first.

        Where one behaviour is in the majority its demonstrations count as nearer, because models
        follow what stands next to the query more than what they have seen most of.
        """
        due = {True: answers, False: self._how.k - answers}
        chosen = []
        for index in ranked:
            kind = bool(self._answers[index])
            if due[kind] > 0:
                due[kind] -= 1
                chosen.append(index)
        if 2 * answers != self._how.k and self._how.mix == "leaning":
            chosen.sort(
                key=lambda index: bool(self._answers[index]) is not (2 * answers > self._how.k)
            )
        return chosen

    async def _answers_due(self, query: str) -> int:
        """How many of the K are to show answers: half, moved by the lean."""
        if self._how.mix != "leaning":
            return (self._how.k + 1) // 2
        lean = await self.lean(query) - self._how.caution
        share = min(1.0, max(0.0, 0.5 + STEEPNESS * lean))
        return int(np.floor(self._how.k * share + 0.5))

    async def lean(self, query: str) -> float:
        """What the pool says of a query, about -1 to 1: above 0 answer it, below 0 refuse it.

        A query that is itself in the pool is judged by the others (the leave-one-out identity of
        ridge regression), so that measuring on it flatters nobody.
        """
        if self._similarity is None or not self._pool:
            return 0.0
        if self._fit is None:
            gram = await self._similarity.among()
            behaviour = np.where(self._answers, 1.0, -1.0)
            regular = gram + RIDGE * np.eye(len(gram))
            inverse: NDArray[np.float64] = np.linalg.inv(regular).astype(np.float64)
            centred = behaviour - behaviour.mean()
            weights = inverse @ centred
            self._fit = Fit(weights, inverse, centred)
        near = await self._similarity.to(query)
        itself = " ".join(words(query))
        same = [index for index, known in enumerate(self._queries) if known == itself]
        others = near.copy()
        others[same] = 0.0
        length = float(np.linalg.norm(others))
        if length == 0:
            return 0.0
        said = self._fit.without(same) if same else near @ self._fit.weights
        return float(said) / length


@dataclass(frozen=True, slots=True)
class Fit:
    """A kernel ridge regression from a pool's queries to its behaviours."""

    weights: NDArray[np.float64]
    """Shape (pool,)."""
    inverse: NDArray[np.float64]
    """Shape (pool, pool), of the regularised kernel matrix."""
    behaviour: NDArray[np.float64]
    """Shape (pool,): 1 for an answer, -1 for a refusal, less their mean."""

    def without(self, rows: Sequence[int]) -> float:
        """What the regression would say of a query had its rows not been in the pool."""
        block = self.inverse[np.ix_(rows, rows)]
        residuals = np.linalg.solve(block, self.weights[rows])
        return float(self.behaviour[rows[0]] - residuals[0])


RIDGE = 2.0
STEEPNESS = 6.0
"""A lean of 0.08 either way shows one behaviour only."""
