"""Results as columns of numbers, and the table made of them: what is kept of a long stream.

    sheet = Sheet(BENCHMARKS["xstest"], models=2)
    sheet.add(done)                                    # from `streaming.answered`
    for row in sheet.rows():
        print(row.name, row.before, row.after, row.difference)
    sheet.headline().needed                            # items needed to be sure of the difference

Texts are for whoever writes them to disk; here each item leaves a few numbers, and columns longer
than a block wait in files without a name, so that a hundred thousand items take no more memory than
a thousand. A number that does not apply to an item is left out of a row, one that could not be had
is left out and counted.
"""

from __future__ import annotations

import math
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from trueup.evaluation.asking import LENGTH_RATIO
from trueup.evaluation.benchmarks import Benchmark, Figure
from trueup.evaluation.comparison import PERMUTATIONS, Row, adjusted
from trueup.evaluation.formulas import standard_error
from trueup.evaluation.guard import intercept
from trueup.evaluation.statistics import (
    Interval,
    WinsTiesLosses,
    differences,
    mean_interval,
    paired_difference,
    permutation_p,
    sample_size,
    wins_ties_losses,
)
from trueup.evaluation.streaming import Done

Floats = NDArray[np.float64]

BLOCK = 4096
"""Numbers of a column that are held in memory."""
ABSENT = math.inf
"""Stands in a column where a mark does not apply; NaN where it could not be had."""
FAILED = "_failed"
"""The column that says whether an item has no reply or no verdict."""
MOST_CATEGORIES = 40
FEWEST_OF_CATEGORY = 2

BEHAVIOUR = (Figure("refused", better=""), Figure("broken", better="lower"))
LENGTH = (Figure("words", "words", ""), Figure("cut off", better="lower"))
COST = (
    Figure("tokens in", "tokens", "lower"),
    Figure("tokens out", "tokens", ""),
    Figure("seconds", "seconds", "lower"),
)


class Column:
    """Numbers in the order they came, most of them on disk."""

    def __init__(self, absent: int = 0) -> None:
        """Begins with so many items that it does not apply to."""
        self._recent = array("d")
        self._file: IO[bytes] | None = None
        for _ in range(absent):
            self.append(ABSENT)

    def append(self, value: float | None) -> None:
        """One more; None could not be had."""
        self._recent.append(math.nan if value is None else value)
        if len(self._recent) >= BLOCK:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- gone with the column
            self._file.write(self._recent.tobytes())
            self._recent = array("d")

    def values(self) -> Floats:
        """All of them."""
        recent = np.array(self._recent, dtype=np.float64)
        if self._file is None:
            return recent
        self._file.seek(0)
        earlier = np.frombuffer(self._file.read(), dtype=np.float64)
        self._file.seek(0, 2)
        return np.concatenate([earlier, recent])

    def close(self) -> None:
        """Give back its file."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True)
class Headline:
    """A benchmark's main figure, and what a comparison of it says."""

    figure: Figure
    row: Row
    tally: WinsTiesLosses | None = None
    """Of the candidate over the baseline, item by item, where two are compared."""
    needed: int | None = None
    """Items at which a difference as large as this one is found four times in five."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        tally = self.tally
        return {
            **self.row.to_dict(),
            "wins": tally.wins if tally else None,
            "ties": tally.ties if tally else None,
            "losses": tally.losses if tally else None,
            "needed": self.needed,
        }


class Sheet:
    """The numbers of one benchmark under one model or several."""

    def __init__(self, benchmark: Benchmark, models: int = 1, *, by_code: bool = True) -> None:
        """`by_code` says that no model judges: then another figure is the headline.

        Two models are compared; of more, the rows are those of the first.
        """
        self._benchmark = benchmark
        self._main = benchmark.headline(by_code)
        self._columns: list[dict[str, Column]] = [{} for _ in range(models)]
        self._paired = models == 2
        self._categories: dict[str, int] = {}
        self._category = Column()
        self._answer = Column()
        self._criteria: dict[str, None] = {}
        self.items = 0
        self.failed = [0] * models
        """Items without a reply or a verdict, by model."""

    def add(self, done: Done) -> None:
        """One more item."""
        query = done.item.query
        self._category.append(self._categories.setdefault(query.category, len(self._categories)))
        self._answer.append(-1 if query.should_answer is None else query.should_answer)
        for at, answer in enumerate(done.answers):
            columns = self._columns[at]
            self.failed[at] += answer.failed is not None
            self._criteria.update(dict.fromkeys(score.criterion for score in answer.scores))
            marks = {**answer.marks, FAILED: float(answer.failed is not None)}
            for name in marks.keys() - columns.keys():
                columns[name] = Column(self.items)
            for name, column in columns.items():
                column.append(marks.get(name, ABSENT))
        self.items += 1

    def close(self) -> None:
        """Give back the files."""
        for column in (self._category, self._answer, *self._all()):
            column.close()

    def rows(self) -> list[Row]:
        """One row a figure: of one model, or of two on the same items."""
        found = [self._row("figure", one) for one in self._benchmark.figures]
        found.append(self._at_equal_length())
        own = {figure.name for figure in self._benchmark.figures}
        extra = [] if "reward" in own else [Figure("reward", "score")]
        extra += [Figure(name, "score") for name in sorted(self._criteria)]
        found += [self._row("criterion", one) for one in extra]
        found += list(self._by_category(self._main))
        for group, figures in (("behaviour", BEHAVIOUR), ("length", LENGTH), ("cost", COST)):
            wanted = (figure for figure in figures if figure.name not in own)
            found += [self._row(group, one) for one in wanted]
        return adjusted([row for row in found if row is not None])

    def headline(self) -> Headline | None:
        """The figure to look at first; None where it could not be had of any item."""
        figure = self._main
        row = self._row("figure", figure)
        if row is None or row.before is None:
            return None
        if row.difference is None:
            return Headline(figure, row)
        one, other, answer = self._pair(figure.name)
        if figure.better == "lower":
            one, other = -one, -other
        changes = differences(one, other)
        strata = answer if figure.balanced else np.zeros(len(changes))
        parts = [changes[(strata == s) & ~np.isnan(changes)] for s in np.unique(strata)]
        deviation = standard_error(parts) * math.sqrt(sum(map(len, parts)))
        gap = row.difference.value
        needed = sample_size(gap, deviation) if gap and deviation else None
        return Headline(figure, row, wins_ties_losses(one, other), needed)

    def _all(self) -> Iterator[Column]:
        for columns in self._columns:
            yield from columns.values()

    def _pair(self, name: str) -> tuple[Floats, Floats, Floats]:
        """Both models' values of the items it applies to, and whether these are to be answered."""
        one, other, applies = self._both(name)
        return one[applies], other[applies], self._answer.values()[applies]

    def _both(self, name: str) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Both models' values of all items, and to which it applies (as in `comparison`)."""
        one, other = self._values(name, 0), self._values(name, 1)
        there, too = ~np.isposinf(one), ~np.isposinf(other)
        failed = (self._values(FAILED, 0) == 1) | (self._values(FAILED, 1) == 1)
        applies = (there & too) | ((there | too) & failed) if self._paired else there
        return np.where(there, one, np.nan), np.where(too, other, np.nan), applies

    def _values(self, name: str, at: int) -> Floats:
        if at >= len(self._columns) or name not in self._columns[at]:
            return np.full(self.items, ABSENT)
        return self._columns[at][name].values()

    def _row(self, group: str, figure: Figure) -> Row | None:
        """None where it applies to nothing."""
        one, other, answer = self._pair(figure.name)
        strata = list(answer) if figure.balanced and len(set(answer)) > 1 else None
        return _row(group, figure, one, other if self._paired else None, strata)

    def _by_category(self, figure: Figure) -> Iterator[Row | None]:
        """The headline in each category, where there are several."""
        category = self._category.values()
        names = [name for name in self._categories if name][:MOST_CATEGORIES]
        if len(names) < 2:
            return
        one, other, applies = self._both(figure.name)
        for name in names:
            inside = applies & (category == self._categories[name])
            if inside.sum() >= FEWEST_OF_CATEGORY:
                called = replace(figure, name=name, balanced=False)
                second = other[inside] if self._paired else None
                yield _row("category", called, one[inside], second, None)

    def _at_equal_length(self) -> Row | None:
        """The win rate where both replies are as long (see `guard`)."""
        candidate = self._columns[1 if self._paired else 0]
        if LENGTH_RATIO not in candidate:
            return None
        won, ratio = (candidate[name].values() for name in ("win rate", LENGTH_RATIO))
        there = np.isfinite(won) & np.isfinite(ratio)
        gain = intercept((won[there] - 0.5).tolist(), ratio[there].tolist())
        if gain is None:
            return None
        value, low, high = (
            min(1.0, max(0.0, 0.5 + end)) for end in (gain.value, gain.low, gain.high)
        )
        rate = Interval(value, low, high, gain.n, method=gain.method)
        half = Interval(0.5, 0.5, 0.5, gain.n, method="by definition")
        row = Row("figure", "win rate at equal length", "share", "higher", rate, n=gain.n)
        return replace(row, before=half, after=rate, difference=gain) if self._paired else row


def _row(
    group: str,
    figure: Figure,
    one: Floats,
    other: Floats | None,
    strata: list[float] | None,
) -> Row | None:
    """None where it applies to nothing."""
    if not len(one):
        return None
    if other is None:
        interval = mean_interval(one, strata=strata, bounds=figure.bounds)
        there = int((~np.isnan(one)).sum())
        return Row(
            group, figure.name, figure.unit, figure.better, interval,
            n=there, failed=len(one) - there,
        )  # fmt: skip
    both = ~np.isnan(one) & ~np.isnan(other)
    one, other = np.where(both, one, np.nan), np.where(both, other, np.nan)
    p = None
    if figure.unit != "seconds":
        p = permutation_p(one, other, strata=strata, permutations=PERMUTATIONS)
    return Row(
        group=group,
        name=figure.name,
        unit=figure.unit,
        better=figure.better,
        before=mean_interval(one, strata=strata, bounds=figure.bounds),
        after=mean_interval(other, strata=strata, bounds=figure.bounds),
        difference=paired_difference(one, other, strata=strata, bounds=figure.bounds),
        n=int(both.sum()),
        failed=len(one) - int(both.sum()),
        p=p,
    )
