"""Which parts of a prompt help, learnt from every reply at once.

    effects = Effects(np.random.default_rng(0))
    effects.add({"Be brief.", "K 4"}, query, verdict)
    effects.fit(expected)             # what is believed of each part beforehand, by criterion
    effects.worths()["Be brief."]     # what it adds to the reward, by what was seen and believed
    drawn = effects.draw()            # the same, drawn from what is still possible

A prompt's parts (lines, ways to show demonstrations) are the factors of an experiment, and every
reply under any prompt with a part says something of it (Fisher, *The Design of Experiments*, 1935):
sixty replies to sixty different prompts weigh each of twenty lines on thirty of them, where twenty
prompts compared one by one get three replies each. By criterion, scores are a sum of an ordinary
score, the query's difficulty, the parts' effects and noise, all normal; this is the ridge
regression in which the ridge is a prior. Drawing from the posterior and acting on the draw is
Thompson's rule (*Biometrika* 25, 1933): what is doubtful is tried as often as it may be best.

It assumes that parts add up. What they do together beyond that is noise to it, so whoever uses it
compares the prompt it recommends with others in pairs before trusting it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trueup.types import Query, Verdict

Floats = NDArray[np.float64]
_LEAST_SPREAD = 0.4
_NOISE, _DIFFICULTY = 0.75, 0.55
"""Of the spread of scores: what replies and judgements vary, and what queries do."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What is expected of a part on one criterion before it was tried: in spreads of scores."""

    mean: float = 0.0
    error: float = 0.2


@dataclass(frozen=True, slots=True)
class _Fit:
    parts: tuple[str, ...]
    mean: Floats
    root: Floats
    """A square root of the covariance. Shape (parts, parts)."""
    share: float
    """Of all scores, those on this criterion."""


class Effects:
    """Rewards, by criterion, explained by parts and queries."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._seen: dict[str, list[tuple[frozenset[str], Query, float]]] = defaultdict(list)
        self._fits: dict[str, _Fit] = {}

    def add(self, parts: Collection[str], query: Query, verdict: Verdict) -> None:
        """One judged reply under a prompt of these parts. Failed verdicts say nothing."""
        if verdict.reward is None:
            return
        for score in verdict.scores:
            self._seen[score.criterion].append((frozenset(parts), query, score.value))

    def needs(self) -> dict[str, float]:
        """By criterion, how far below the best its scores are on average, times its share of all
        scores: what could be won on it, on the scale of rewards."""
        total = sum(map(len, self._seen.values()))
        return {
            criterion: (5.0 - sum(value for *_, value in seen) / len(seen)) * len(seen) / total
            for criterion, seen in self._seen.items()
        }

    def fit(self, parts: Mapping[str, Mapping[str, Belief]], usual: Belief = Belief()) -> None:
        """Learn from all there is. `parts`: what is believed of each, by criterion."""
        total = sum(map(len, self._seen.values())) or 1
        names = tuple(parts)
        place = {name: at for at, name in enumerate(names)}
        # Nothing is known of a criterion that no query had, and no reward depends on it.
        self._fits = {
            criterion: self._one(criterion, names, place, parts, usual, len(seen) / total)
            for criterion, seen in sorted(self._seen.items())
        }

    def worths(self) -> dict[str, float]:
        """The worth of every part: the expected change of the mean reward when it is there."""
        return self._summed({name: fit.mean for name, fit in self._fits.items()})

    def draw(self) -> dict[str, float]:
        """Worths as they might be, by what is known."""
        return self._summed(
            {
                name: fit.mean + fit.root @ self._rng.standard_normal(len(fit.parts))
                for name, fit in self._fits.items()
            }
        )

    def _summed(self, by_criterion: Mapping[str, Floats]) -> dict[str, float]:
        fits = list(self._fits.values())
        if not fits:
            return {}
        total = sum(self._fits[name].share * one for name, one in by_criterion.items())
        return dict(zip(fits[0].parts, np.asarray(total).tolist(), strict=True))

    def _one(
        self,
        criterion: str,
        names: tuple[str, ...],
        place: Mapping[str, int],
        parts: Mapping[str, Mapping[str, Belief]],
        usual: Belief,
        share: float,
    ) -> _Fit:
        seen = self._seen[criterion]
        scores = np.array([value for *_, value in seen])
        spread = max(_LEAST_SPREAD, float(scores.std()))
        queries = {query: at for at, query in enumerate(dict.fromkeys(q for _, q, _ in seen))}
        there = np.zeros((len(seen), len(names)))
        asked = np.zeros((len(seen), len(queries)))
        for row, (have, query, _) in enumerate(seen):
            asked[row, queries[query]] = 1.0
            for part in have:
                if part in place:
                    there[row, place[part]] = 1.0
        beliefs = [parts[name].get(criterion, usual) for name in names]
        expected = spread * np.array([one.mean for one in beliefs])
        precision = 1.0 / (spread * np.array([one.error for one in beliefs])) ** 2
        design = np.hstack([there, asked, np.ones((len(seen), 1))])
        prior = np.concatenate(
            [precision, np.full(len(queries), (_DIFFICULTY * spread) ** -2), [1e-3]]
        )
        noise = (_NOISE * spread) ** 2
        centred = scores - scores.mean() - there @ expected
        matrix = design.T @ design / noise + np.diag(prior)
        covariance = np.linalg.inv(matrix)
        solution = covariance @ (design.T @ centred) / noise
        width = len(names)
        block = covariance[:width, :width]
        root = np.linalg.cholesky((block + block.T) / 2 + 1e-12 * np.eye(width))
        return _Fit(names, solution[:width] + expected, root.astype(np.float64), share)
