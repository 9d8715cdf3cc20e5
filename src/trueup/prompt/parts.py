"""The parts that prompts are composed of, and what is believed of them before they are tried.

    parts = Parts(start, pool, remedies)
    parts.learn("You are helpful.\\nBe brief.", "Conciseness")       # a writer's instruction
    candidate = parts.composed({"Be brief.": 0.2, "4 nearest": 0.5})  # what a part is worth
    parts.of(candidate)                                              # {"Be brief.", "4 nearest"}

Parts: each line of the instruction, each way to show demonstrations, and, because models follow few
lines better than many, "more than N lines" for some N: composing weighs a line's worth against what
one line more may cost. A line that is said to repair a criterion is believed to, until it
is seen; what is in the prompt to start from is believed to be there for a reason.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trueup.prompt.candidates import Candidate
from trueup.prompt.effects import Belief
from trueup.prompt.nearness import By
from trueup.prompt.prompt import Prompt
from trueup.prompt.retrieval import Retrieval
from trueup.prompt.similarity import bare
from trueup.types import Demonstration

MOST_LINES = 10
CROWDS = (3, 5, 7)
_GUESSED_LINES = 4
_CLAIMED = Belief(0.25, 0.4)
_STANDING = Belief(0.1, 0.2)
_CROWDED = Belief(-0.06, 0.12)
_SHOWN = Belief(0.3, 0.5)
_OWN = Belief(0.5, 0.5)
OWN_SHOWN = 4
_FEWEST_OWN = 8


class Parts:
    """Every part there is."""

    def __init__(
        self,
        start: Prompt,
        pool: Sequence[Demonstration],
        remedies: Mapping[str, Sequence[str]],
        *,
        embedded: bool = False,
    ) -> None:
        self._start = start
        self._given = _lines(start.instruction)
        self._lines: dict[str, str | None] = dict.fromkeys(self._given)
        """By line, the criterion it is said to repair."""
        for criterion, several in remedies.items():
            for line in several:
                self._lines.setdefault(line, criterion)
        self._by: By = "embedding" if embedded else "bm25"
        self._shown = _ways(start, tuple(pool), self._by)
        self._own: list[str] = []
        self._of: dict[str, frozenset[str]] = {}

    def learn(self, instruction: str, criterion: str) -> None:
        """Take a written instruction apart; what is new in it becomes a part."""
        known = {bare(line) for line in self._lines}
        for line in _lines(instruction):
            if bare(line) not in known:
                known.add(bare(line))
                self._lines[line] = criterion

    def show(self, replies: Sequence[Demonstration]) -> None:
        """Add a way: the policy's own best replies as demonstrations. The latest two are kept."""
        if len(replies) < _FEWEST_OWN:
            return
        name = f"{OWN_SHOWN} own replies, {len(self._own) + 1}"
        self._own.append(name)
        self._shown[name] = (tuple(replies), Retrieval(OWN_SHOWN, by=self._by))
        for old in self._own[:-2]:
            self._shown.pop(old, None)

    def beliefs(self, needs: Mapping[str, float]) -> dict[str, dict[str, Belief]]:
        """What is believed of every part, by criterion."""
        found: dict[str, dict[str, Belief]] = {}
        for line, criterion in self._lines.items():
            if line in self._given:
                found[line] = dict.fromkeys(needs, _STANDING)
            else:
                found[line] = {name: _CLAIMED for name in needs if name == criterion}
        for name, (_, how) in self._shown.items():
            belief = _OWN if name in self._own else _SHOWN if how.k else Belief()
            found[name] = dict.fromkeys(needs, belief)
        for most in CROWDS:
            found[_crowd(most)] = dict.fromkeys(needs, _CROWDED)
        return found

    def guessed(self, rng: random.Random) -> dict[str, float]:
        """Worths before anything was seen: a few lines at random, demonstrations usually."""
        worths = dict.fromkeys(self._given, 1.0)
        others = [line for line in self._lines if line not in self._given]
        worths |= dict.fromkeys(rng.sample(others, min(_GUESSED_LINES, len(others))), 1.0)
        return worths | {
            name: rng.random() + 0.5 * (how.k > 0) for name, (_, how) in self._shown.items()
        }

    def composed(self, worths: Mapping[str, float], parent: str | None = None) -> Candidate:
        """The prompt of the parts that are worth it, likeliest first until one line more is not."""
        worthy = sorted(
            (line for line in self._lines if worths.get(line, 0.0) > 0),
            key=lambda line: -worths[line],
        )
        sums, total = [0.0], 0.0
        for count, line in enumerate(worthy[:MOST_LINES], start=1):
            total += worths[line]
            if count - 1 in CROWDS:
                total += min(0.0, worths.get(_crowd(count - 1), 0.0))
            sums.append(total)
        chosen = set(worthy[: sums.index(max(sums))])
        lines = [line for line in self._lines if line in chosen]
        instruction = "\n".join(lines)
        if not lines:  # no line is worth it: the instruction as given, and what it holds
            lines, instruction = self._given, self._start.instruction
        prompt, have = replace(self._start, instruction=instruction), set(lines)
        if self._shown:
            way = max(self._shown, key=lambda name: worths.get(name, 0.0))
            have.add(way)
            pool, how = self._shown[way]
            prompt = replace(prompt, demonstrations=pool, retrieval=how)
        have |= {_crowd(most) for most in CROWDS if len(lines) > most}
        candidate = Candidate(prompt, "composed", f"{len(lines)} lines", parent)
        self._of[candidate.id] = frozenset(have)
        return candidate

    def of(self, candidate: Candidate) -> frozenset[str]:
        """The parts of a candidate composed here."""
        return self._of[candidate.id]


Way = tuple[tuple[Demonstration, ...], Retrieval]


def _ways(start: Prompt, pool: tuple[Demonstration, ...], by: By) -> dict[str, Way]:
    """By name, the ways to show demonstrations that are compared."""
    found: dict[str, Way] = {"no demonstrations": ((), Retrieval(0))}
    if start.retrieval.k:
        found["demonstrations as given"] = (start.demonstrations, start.retrieval)
    for k in (2, 4, 6):
        if k <= len(pool):
            found[f"{k} nearest"] = (pool, Retrieval(k, by=by))
    if len({one.shows_answer for one in pool}) > 1 and len(pool) >= 4:
        leaning = Retrieval(4, by=by, mix="leaning", caution=-0.2)
        found["4 as the pool leans"] = (pool, leaning)
    return found


def _lines(instruction: str) -> list[str]:
    stripped = (
        re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", one).strip() for one in instruction.split("\n")
    )
    return list(dict.fromkeys(one for one in stripped if one))


def _crowd(most: int) -> str:
    return f"more than {most} lines"
