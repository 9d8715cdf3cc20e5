"""What the calls cost, by role.

    ledger = calls.ledger()
    ledger.process["judge"].calls_paid          # since this process opened the file
    ledger.file["judge"].tokens_in              # everything the file holds, also from earlier runs
    total(ledger.file).usd

Money is known only where the model has a price: None means that no call had one, and a sum over
priced and unpriced calls is the sum of the priced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce


@dataclass(frozen=True, slots=True)
class RoleCost:
    """What one role's calls cost."""

    calls_paid: int = 0
    """Answered by the model."""
    calls_remembered: int = 0
    """Answered from the store, for nothing. Counted in this process only: it is not stored."""
    tokens_in: int = 0
    """Of the paid calls, like all that follows."""
    tokens_out: int = 0
    tokens_cached: int = 0
    """Input tokens which the server had no need to compute again."""
    seconds: float = 0.0
    """Summed over calls: with calls in parallel, more than passed on the clock."""
    usd: float | None = None

    def __add__(self, other: RoleCost) -> RoleCost:
        known = [usd for usd in (self.usd, other.usd) if usd is not None]
        return RoleCost(
            self.calls_paid + other.calls_paid,
            self.calls_remembered + other.calls_remembered,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.tokens_cached + other.tokens_cached,
            self.seconds + other.seconds,
            sum(known) if known else None,
        )


@dataclass(frozen=True, slots=True)
class Ledger:
    """Costs by role, of this process and of everything the file holds."""

    process: Mapping[str, RoleCost]
    file: Mapping[str, RoleCost]


def total(costs: Mapping[str, RoleCost]) -> RoleCost:
    """All roles together."""
    return reduce(RoleCost.__add__, costs.values(), RoleCost())
