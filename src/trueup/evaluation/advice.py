"""Which judge to use, and whether to trust it: the end of a measurement.

    found = advice(decisions)            # by method, then by set
    found.method, found.trust, found.honest

The best of ten judges looks better than it is, because it is the best of ten. So what is promised
of it is cross-fitted: in each fifth of the comparisons the method is the one that did best in the
other four, and its decisions there count. The same is done for a panel, all judges' margins weighed
by ridge logistic regression; and, to see whether a choice holds elsewhere, with whole sets in place
of fifths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trueup.errors import SettingsError
from trueup.evaluation.agreement import SHARE, Decision
from trueup.evaluation.statistics import Interval, mean_interval
from trueup.judges.calibration import fit_weights
from trueup.judges.methods import METHODS
from trueup.judges.pairwise import margin

FOLDS = 5
FAIR, GOOD = 0.6, 0.75
"""Agreement from which a judge is somewhat, and well, to be trusted; people have 0.65 to 0.85."""

Table = Mapping[str, Mapping[str, Sequence[Decision]]]
"""Decisions by method, then by set; every method's on the same pairs in the same order."""
Trust = Literal["no", "hardly", "somewhat", "well"]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What was learnt on the other sets, tried on this one."""

    chosen: str
    """The method that did best on the other sets."""
    agreement: Interval | None
    """Its agreement here."""
    best: str
    """The method that did best here, which nobody could have known."""
    best_agreement: Interval | None
    panel: Interval | None
    """The panel weighed on the other sets, here."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to use."""

    method: str
    """The best of those that ask the model."""
    agreement: Interval | None
    """As measured, each set weighing the same."""
    honest: Interval | None
    """Cross-fitted: what is to be expected of a method chosen like this."""
    trust: Trust
    panel: Interval | None
    """All methods that ask the model, weighed; cross-fitted."""
    panel_with_code: Interval | None
    """The same with code checks and length beside them."""
    weights: Mapping[str, float]
    """Of the panel, fitted on everything, per unit of each method's margin."""
    elsewhere: Mapping[str, Elsewhere]
    """By set, where there are several."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def advice(table: Table) -> Advice:
    """Raises `SettingsError` where no method asks the model."""
    asking = [name for name in table if _asks(name)]
    if not asking:
        raise SettingsError("None of the methods asks the model: name one that does.")
    frame = _Frame(table)
    everywhere = np.ones(len(frame.sets), dtype=bool)
    best = frame.best(asking, everywhere)
    chosen = frame.cross_fitted(frame.folds, lambda others: frame.right(frame.best(asking, others)))
    honest = frame.mean(chosen)
    trust = _trust(honest)
    elsewhere = {}
    if len(set(frame.sets)) > 1:
        elsewhere = {name: _elsewhere(frame, asking, name) for name in dict.fromkeys(frame.sets)}
    agreed = frame.mean(frame.right(best))
    return Advice(
        method=best,
        agreement=agreed,
        honest=honest,
        trust=trust,
        panel=frame.mean(frame.panel(asking)) if len(asking) > 1 else None,
        panel_with_code=frame.mean(frame.panel(list(table))) if len(table) > 1 else None,
        weights=dict(zip(asking, frame.weights(asking, everywhere).tolist(), strict=True)),
        elsewhere=elsewhere,
        text=_told(best, agreed, honest, trust, frame.unread(frame.right(best))),
    )


def _asks(name: str) -> bool:
    return name not in METHODS or METHODS[name].asks


class _Frame:
    """The decisions as columns: a row for each comparison, a column for each method."""

    def __init__(self, table: Table) -> None:
        self._right = {
            name: np.array([_number(one.right) for some in sets.values() for one in some])
            for name, sets in table.items()
        }
        self._margins = {
            name: np.array(
                [_number(margin(one.preference)) for some in sets.values() for one in some]
            )
            for name, sets in table.items()
        }
        first = next(iter(table.values()))
        rows = [(name, one) for name, some in first.items() for one in some]
        self.sets = np.array([name for name, _ in rows])
        self.first_better = np.array([one.pair.better == "first" for _, one in rows])
        # In turn within each set: the pairs come in an order that a hash decides.
        self.folds = np.concatenate([np.arange(len(some)) % FOLDS for some in first.values()])

    def right(self, name: str) -> NDArray[np.float64]:
        """1 right, 0 wrong, a half a tie, NaN unreadable."""
        return self._right[name]

    def best(self, names: Sequence[str], rows: NDArray[np.bool_]) -> str:
        """The method with the highest mean of the sets' means; what is unreadable is a coin."""

        def score(name: str) -> float:
            right = np.nan_to_num(self._right[name], nan=0.5)
            return float(
                np.mean([right[rows & (self.sets == s)].mean() for s in np.unique(self.sets[rows])])
            )

        return max(names, key=score)

    def weights(self, names: Sequence[str], rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The panel's, fitted on these rows."""
        columns = np.stack([self._margins[name] for name in names], axis=1)
        return fit_weights(columns[rows], self.first_better[rows].tolist())

    def panel(self, names: Sequence[str], parts: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Right or wrong of a panel weighed on the other parts."""
        columns = np.nan_to_num(np.stack([self._margins[name] for name in names], axis=1))

        def decided(others: NDArray[np.bool_]) -> NDArray[np.float64]:
            sums = columns @ self.weights(names, others)
            return np.where(np.abs(sums) < 1e-12, 0.5, (sums > 0) == self.first_better)

        return self.cross_fitted(self.folds if parts is None else parts, decided)

    def cross_fitted(
        self,
        parts: NDArray[Any],
        learnt: Callable[[NDArray[np.bool_]], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """Each part's rows as decided by what was learnt on the other parts."""
        found = np.full(len(parts), np.nan)
        for part in np.unique(parts):
            here = parts == part
            found[here] = learnt(~here)[here]
        return found

    def unread(self, right: NDArray[np.float64]) -> list[str]:
        """The sets of which not one decision could be read."""
        read = set(self.sets[~np.isnan(right)])
        return [name for name in dict.fromkeys(self.sets.tolist()) if name not in read]

    def mean(self, right: NDArray[np.float64], only: str | None = None) -> Interval | None:
        """Agreement, each set weighing the same; one of which nothing was read is left out."""
        rows = ~np.isin(self.sets, self.unread(right))
        if only is not None:
            rows &= self.sets == only
        return mean_interval(right[rows], strata=self.sets[rows].tolist(), bounds=SHARE)


def _elsewhere(frame: _Frame, asking: Sequence[str], name: str) -> Elsewhere:
    others = frame.sets != name
    chosen, best = frame.best(asking, others), frame.best(asking, ~others)
    return Elsewhere(
        chosen=chosen,
        agreement=frame.mean(frame.right(chosen), name),
        best=best,
        best_agreement=frame.mean(frame.right(best), name),
        panel=frame.mean(frame.panel(asking, frame.sets), name) if len(asking) > 1 else None,
    )


def _trust(honest: Interval | None) -> Trust:
    if honest is None or honest.low <= 0.5:
        return "no"
    if honest.value < FAIR:
        return "hardly"
    return "somewhat" if honest.value < GOOD else "well"


def _told(
    best: str, agreed: Interval | None, honest: Interval | None, trust: Trust, unread: list[str]
) -> str:
    about = f": {METHODS[best].told}" if best in METHODS else ""
    if agreed is None or honest is None:
        return "Do not use this model as a judge: none of its verdicts could be read."
    figures = (
        f"It agreed with people on {agreed.value:.0%} [{agreed.low:.0%}, {agreed.high:.0%}] of "
        f"{agreed.n} comparisons; as the best of several, expect {honest.value:.0%} "
        f"[{honest.low:.0%}, {honest.high:.0%}]."
    )
    verdict = {
        "no": "Do not trust this model as a judge: nothing shows that it knows more than a coin. "
        f"Judge by code, or by another model. Its best was {best}{about}.",
        "hardly": f"If this model must judge, use {best}{about}. It knows a little more than a "
        "coin: let it count beside code checks, never alone, and measure many replies.",
        "somewhat": f"Use {best}{about}. It can tell prompts apart over many replies; do not trust "
        "it on one, and report under a second judge.",
        "well": f"Use {best}{about}. It agrees with people about as often as people with people.",
    }[trust]
    without = f" Left out, since nothing could be read: {', '.join(unread)}." if unread else ""
    return f"{verdict} {figures}{without}"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
