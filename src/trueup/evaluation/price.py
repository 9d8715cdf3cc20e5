"""What a prompt costs on every request, and what it buys for that.

    cost = price(comparison, Price(0.15, 0.60))
    cost.added.value, cost.seconds.value, cost.usd_per_thousand, cost.gain_per_100_tokens

A search is paid once; the tokens it puts in front of each query are paid for as long as the model
is used. The gain is that of the headline: balanced safety where queries say how they should be met,
else the mean reward. Seconds are a reply's as the model gave them, beside whatever else it was
doing: compare them within one table only. Cached input tokens are told, since they cost less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trueup.evaluation.comparison import Comparison, Row
from trueup.evaluation.evaluate import Result
from trueup.evaluation.statistics import Interval, mean_interval, paired_difference
from trueup.models.budgeted import Price
from trueup.types import mean

LEAST_ADDED = 1.0
"""Tokens: a prompt that adds less is not divided by."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one reply of the second model of a comparison, on the average."""

    tokens_in: Interval | None
    added: Interval | None
    """Input tokens more than under the first."""
    seconds: Interval | None
    slower: Interval | None
    """Seconds more than under the first."""
    cached: float | None
    """Share of the input tokens that the server had not to compute again."""
    usd_per_thousand: float | None
    """Dollars per thousand replies; None where the price is not known."""
    gain_per_100_tokens: float | None
    """Of the headline measure, per hundred input tokens added; None where none were added."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for name in ("tokens_in", "added", "seconds", "slower"):
            interval = getattr(self, name)
            found[name] = interval.to_dict() if interval else None
        return found


def price(comparison: Comparison, headline: Row | None, per_token: Price | None = None) -> Cost:
    """The cost of the comparison's second model; `headline` is the row that says what is gained."""
    pairs = comparison.pairs
    before, after = [one for one, _ in pairs], [other for _, other in pairs]
    added = paired_difference(_tokens(before), _tokens(after))
    gain = headline.difference.value if headline and headline.difference else None
    replied = [one for one in after if one.reply is not None]
    tokens = sum(one.usage.tokens_in for one in replied)
    paid = mean([per_token.usd(one.usage) for one in replied]) if per_token else None
    return Cost(
        tokens_in=mean_interval(_tokens(after)),
        added=added,
        seconds=mean_interval(_seconds(after)),
        slower=paired_difference(_seconds(before), _seconds(after)),
        cached=sum(one.usage.cached for one in replied) / tokens if tokens else None,
        usd_per_thousand=None if paid is None else 1000 * paid,
        gain_per_100_tokens=100 * gain / added.value
        if gain is not None and added is not None and added.value >= LEAST_ADDED
        else None,
    )


def _tokens(results: Sequence[Result]) -> list[float | None]:
    return [None if one.reply is None else float(one.usage.tokens_in) for one in results]


def _seconds(results: Sequence[Result]) -> list[float | None]:
    return [None if one.reply is None else one.seconds for one in results]
