"""How long to keep trying a server that fails, and how long to wait in between.

    patience = Patience(attempts=10, seconds=600)
    patience.wait(2, random.Random("request"))          # seconds before the third attempt
    told(headers.get("Retry-After"), headers.get("Date"))   # what the server asked for, or None

Waits double from `first_wait` and are shortened at random by up to half, so that requests which
failed together do not come back together. The randomness is the caller's: seeded by the request,
two runs wait alike. Which failures deserve another attempt is not decided here.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Patience:
    """When to give up."""

    attempts: int = 10
    """Attempts in all, the first one included: a server may be gone for a minute."""
    seconds: float = 600.0
    """No attempt begins later than this after the first failure."""
    first_wait: float = 0.5
    """Seconds before the second attempt; doubles from there."""
    longest_wait: float = 30.0
    """Seconds; a server's own Retry-After may be longer."""

    def quick(self) -> Patience:
        """The patience for a question that comes before any work: one more try at most."""
        return replace(self, attempts=min(2, self.attempts))

    def wait(self, failures: int, chance: random.Random) -> float:
        """Seconds to wait after that many failures (1 or more)."""
        full = min(self.longest_wait, self.first_wait * 2.0 ** min(failures - 1, 30))
        return full * (0.5 + 0.5 * chance.random())


def told(retry_after: str | None, date: str | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or as a date; None if neither.

    A date is read against the answer's own Date header, so a wrong clock does no harm.
    """
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        until = _moment(retry_after)
        if until is None:
            return None
        now = _moment(date) if date else None
        seconds = until - (time.time() if now is None else now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
