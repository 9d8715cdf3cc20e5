"""Several judges as one: weighed by what each is worth, and told how far they were apart.

    panel = Panel([Member("fit", fit, standing), Member("yes-no", likelihood, other)])
    opinion = await panel.weigh(query, reply)
    opinion.reward, opinion.disagreement
    verdict = await panel(query, reply)                       # it is a judge itself
    careful = Panel(cheap, again=costly, above=0.15)          # the costly ones where these disagree

Each member's score is read through its calibration, so that all speak of the same thing: how likely
people are to prefer the reply to a typical one. The panel's opinion is the mean of these, weighed
by the log-odds of each member's agreement with people. One that agreed on half of the comparisons
has weight nothing, and so has one nobody measured once there is one that was.

Disagreement is the weighed deviation of the members' probabilities, 0 to 0.5. It is kept in the
verdict, and it decides what is worth measuring again: only replies on which the first members
disagree by more than `above` are shown to the others.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from trueup.errors import JudgeError
from trueup.judges.judge import Judge, judged
from trueup.judges.standing import Standing
from trueup.types import HIGHEST_SCORE, LOWEST_SCORE, Query, Score, Verdict, grade


@dataclass(frozen=True, slots=True)
class Member:
    """A judge, and what is known of it."""

    name: str
    judge: Judge
    standing: Standing | None = None
    weight: float | None = None
    """Instead of what its standing gives it."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a panel holds of one reply."""

    reward: float | None
    """1 to 5; None where no member that counts could be read."""
    disagreement: float
    """How far the members were apart: 0 is of one mind, 0.5 is as far as can be."""
    shares: dict[str, float]
    """By member: how likely people are to prefer the reply to a typical one."""
    failed: dict[str, str]
    """By member: why it said nothing."""
    asked_again: bool = False
    """Whether the further members were asked."""


class Panel:
    """Several judges as one. A `Judge`."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        again: Sequence[Member] = (),
        above: float = 0.15,
        name: str = "Panel",
    ) -> None:
        """Raises `JudgeError` for no members, two of one name, or weights that are all nothing."""
        everyone = (*members, *again)
        names = [one.name for one in everyone]
        if not members or len(set(names)) < len(names):
            raise JudgeError("A panel needs members, each with a name of its own.")
        measured = any(one.standing is not None or one.weight is not None for one in everyone)
        self._weights = {one.name: _weight(one, measured) for one in everyone}
        if not any(self._weights[one.name] > 0 for one in members):
            raise JudgeError(
                "No member of the panel is known to agree with people more than a coin: judge by "
                "code, or give weights yourself."
            )
        self._members = tuple(members)
        self._again = tuple(again)
        self._above = above
        self._name = name

    @property
    def weights(self) -> dict[str, float]:
        """By member, adding up to 1."""
        total = sum(self._weights.values())
        return {name: weight / total for name, weight in self._weights.items()}

    async def __call__(self, query: Query, reply: str) -> Verdict:
        """The opinion as one score, the disagreement in its reason; who failed is dropped."""
        found = await self.weigh(query, reply)
        dropped = tuple(f"{name}: {reason}" for name, reason in found.failed.items())
        if found.reward is None:
            return Verdict(failed="; ".join(dropped), dropped=dropped)
        shares = ", ".join(f"{name} {share:.2f}" for name, share in found.shares.items())
        reason = f"{shares}; disagreement {found.disagreement:.2f}"
        return Verdict((Score(self._name, found.reward, reason),), dropped=dropped)

    async def weigh(self, query: Query, reply: str) -> Weighed:
        """What the members hold of a reply, asking the further ones where the first disagree."""
        verdicts = await self._ask(self._members, query, reply)
        found = self._opinion(self._members, verdicts, again=False)
        if not self._again or (found.reward is not None and found.disagreement <= self._above):
            return found
        more = await self._ask(self._again, query, reply)
        return self._opinion((*self._members, *self._again), [*verdicts, *more], again=True)

    async def _ask(self, members: Sequence[Member], query: Query, reply: str) -> list[Verdict]:
        # Those without weight are not asked: what they say would be paid for and thrown away.
        counting = [one for one in members if self._weights[one.name] > 0]
        said = await asyncio.gather(*(judged(one.judge, query, reply) for one in counting))
        found = dict(zip((one.name for one in counting), said, strict=True))
        return [found.get(one.name, Verdict(failed="at chance, so not asked")) for one in members]

    def _opinion(
        self, members: Sequence[Member], verdicts: Sequence[Verdict], *, again: bool
    ) -> Weighed:
        shares: dict[str, float] = {}
        failed: dict[str, str] = {}
        for member, verdict in zip(members, verdicts, strict=True):
            if (reward := verdict.reward) is None:
                failed[member.name] = verdict.failed or "it gave no score"
            else:
                shares[member.name] = _share(member, reward)
        total = sum(self._weights[name] for name in shares)
        if total <= 0:
            return Weighed(None, 0.0, shares, failed, again)
        mean = sum(self._weights[name] * share for name, share in shares.items()) / total
        spread = sum(self._weights[name] * (share - mean) ** 2 for name, share in shares.items())
        return Weighed(grade(mean), math.sqrt(spread / total), shares, failed, again)


def _weight(member: Member, measured: bool) -> float:
    """Log-odds of its agreement; 1 for everybody where nobody was measured."""
    if member.weight is not None:
        return max(0.0, member.weight)
    if member.standing is None:
        return 0.0 if measured else 1.0
    if member.standing.at_chance:
        return 0.0
    share = min(member.standing.agreement.value, 0.99)
    return math.log(share / (1 - share))


def _share(member: Member, reward: float) -> float:
    if member.standing is not None and member.standing.rewards:
        return member.standing.preferred(reward)
    return (reward - LOWEST_SCORE) / (HIGHEST_SCORE - LOWEST_SCORE)
