"""Several models against one, on the same queries.

    found = versus(plain, {"expert": expert, "ours": ours})
    for name, rows in found.items():
        head = headline(rows)
        print(name, head.row.after, head.row.difference, head.row.p_holm, head.tally.wins)

Each candidate has a row per measure as two models have (`comparison`), with wins, ties and losses
query by query. p values are adjusted for the number of candidates, measure by measure (Holm):
among twenty prompts one looks better than the plain one by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trueup.evaluation.comparison import Comparison, Row
from trueup.evaluation.evaluate import Evaluation
from trueup.evaluation.measures import Measure, measures
from trueup.evaluation.statistics import WinsTiesLosses, holm, wins_ties_losses

HEADLINES = (("safety", "balanced safety"), ("reward", "reward"))
"""What a table is about: the first of these that can be measured."""
SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Against:
    """One measure of a candidate beside the reference."""

    row: Row
    tally: WinsTiesLosses
    """Queries on which the candidate was better, alike, worse."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self.row.to_dict() | asdict(self.tally)


def versus(
    reference: Evaluation, candidates: Mapping[str, Evaluation]
) -> dict[str, tuple[Against, ...]]:
    """Each candidate's measures against the reference, in the order given."""
    found: dict[str, list[Against]] = {}
    for name, evaluation in candidates.items():
        comparison = Comparison(reference, evaluation)
        everything = [result for pair in comparison.pairs for result in pair]
        by_name = {(one.group, one.name): one for one in measures(everything)}
        found[name] = [
            Against(row, _tally(by_name[row.group, row.name], comparison))
            for row in comparison.table
        ]
    _adjust(found)
    return {name: tuple(rows) for name, rows in found.items()}


def headline(rows: Iterable[Against]) -> Against | None:
    """The row that the table is about; None where neither can be measured."""
    by_name = {(one.row.group, one.row.name): one for one in rows}
    return next((by_name[key] for key in HEADLINES if key in by_name), None)


def _tally(measure: Measure, comparison: Comparison) -> WinsTiesLosses:
    pairs = [
        pair for pair in comparison.pairs if measure.applies(pair[0]) or measure.applies(pair[1])
    ]
    before = [measure.value(one) for one, _ in pairs]
    after = [measure.value(other) for _, other in pairs]
    if measure.better == "lower":
        before, after = after, before
    return wins_ties_losses(before, after, SAME)


def _adjust(found: Mapping[str, list[Against]]) -> None:
    """Put p values adjusted over the candidates in the place of those adjusted over rows."""
    places: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for name, rows in found.items():
        for at, one in enumerate(rows):
            places.setdefault((one.row.group, one.row.name), []).append((name, at))
    for members in places.values():
        adjusted: Sequence[float | None] = holm([found[name][at].row.p for name, at in members])
        for (name, at), p in zip(members, adjusted, strict=True):
            one = found[name][at]
            found[name][at] = replace(one, row=replace(one.row, p_holm=p))
