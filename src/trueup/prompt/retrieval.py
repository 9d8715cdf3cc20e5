"""Which demonstrations stand in front of a query.

    how = Retrieval(k=4, mix="leaning")
    shown = await Retriever(pool, how).shown("How do I kill a process?")

DRPO retrieves per query rather than showing fixed examples (arXiv 2411.08733; its code ranks by
sentence embedding, K = 2). Two questions are kept apart here:

* *which* demonstrations of a behaviour are shown: the nearest ones, by BM25 (no second model
  needed), or by a model's embeddings;
* *how many* of each behaviour (`mix`). The nearest K alone are a poor guide: a pool that holds
  each dangerous word in a harmless sense too puts opposite twins side by side. "leaning" asks the
  whole pool, which leans towards answering or refusing (`nearness`), and that share of the K
  shows answers. The model has the last word: it sees both behaviours unless the pool is sure.

A demonstration whose query *is* the query is never shown: it would hand the model its answer and
flatter the measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trueup.errors import SettingsError
from trueup.models.model import Model
from trueup.prompt.nearness import REMEMBERED, By, Nearness
from trueup.types import Demonstration

Order = Literal["nearest last", "nearest first"]
Mix = Literal["nearest", "even", "leaning"]

STEEPNESS = 6.0
"""A lean of 0.08 either way shows one behaviour only."""


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
        self,
        pool: Sequence[Demonstration],
        how: Retrieval,
        embedder: Model | None = None,
        *,
        nearness: Nearness | None = None,
    ) -> None:
        """`nearness`: of this pool by this way, where it is indexed already."""
        self._pool = pool
        self._how = how
        self._answers = [one.shows_answer for one in pool]
        self._shown: dict[str, list[Demonstration]] = {}
        self._nearness = nearness
        if nearness is None and how.k > 0:
            self._nearness = Nearness(pool, how.by, embedder)

    async def shown(self, query: str) -> list[Demonstration]:
        """The demonstrations to show for this query, in the order in which they are shown."""
        if query not in self._shown:
            if len(self._shown) >= REMEMBERED:
                self._shown.clear()
            self._shown[query] = await self._chosen(query)
        return list(self._shown[query])

    async def lean(self, query: str) -> float:
        """Which way the pool leans: see `Nearness.lean`."""
        return 0.0 if self._nearness is None else await self._nearness.lean(query)

    async def _chosen(self, query: str) -> list[Demonstration]:
        how = self._how
        if self._nearness is None or how.k == 0 or not self._pool:
            return []
        ranked: Sequence[int] = (await self._nearness.ranked(query)).tolist()
        fixed = how.by == "fixed"
        if how.mix != "nearest" and not fixed:
            ranked = self._mixed(ranked, await self._answers_due(query))
        chosen = [self._pool[index] for index in ranked[: how.k]]
        return chosen if fixed or how.order == "nearest first" else chosen[::-1]

    def _mixed(self, ranked: Sequence[int], answers: int) -> list[int]:
        """The nearest `answers` answers and `k - answers` refusals, nearest first.

        Where one behaviour is in the majority its demonstrations count as nearer, because models
        follow what stands next to the query more than what they have seen most of.
        """
        due = {True: answers, False: self._how.k - answers}
        chosen = []
        for index in ranked:
            kind = self._answers[index]
            if due[kind] > 0:
                due[kind] -= 1
                chosen.append(index)
        if 2 * answers != self._how.k and self._how.mix == "leaning":
            chosen.sort(key=lambda index: self._answers[index] is not (2 * answers > self._how.k))
        return chosen

    async def _answers_due(self, query: str) -> int:
        """How many of the K are to show answers: half, moved by the lean."""
        if self._how.mix != "leaning":
            return (self._how.k + 1) // 2
        lean = await self.lean(query) - self._how.caution
        share = min(1.0, max(0.0, 0.5 + STEEPNESS * lean))
        return int(np.floor(self._how.k * share + 0.5))
