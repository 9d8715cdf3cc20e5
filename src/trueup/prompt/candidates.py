"""Candidates, what was measured of them, and how two of them compare.

    archive.add(candidate, Measurement(query, reply, verdict))
    gap = archive.gap(candidate, incumbent)        # paired, on the queries both have answered
    gap.value, gap.error, gap.n

Every measurement is kept, whoever it was made for: two candidates are compared on all queries
they share. Comparisons are balanced: queries to be answered and queries to be refused count
alike, however many there are of each, so no candidate wins by saying no to everything.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from math import fsum, sqrt

from trueup.prompt.prompt import Prompt
from trueup.types import Demonstration, Query, Verdict


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt that was proposed, by which arm, from what, and why."""

    prompt: Prompt
    arm: str = "start"
    note: str = ""
    parent: str | None = None
    id: str = field(init=False)
    """Content address of the prompt: the same prompt proposed twice is one candidate."""

    def __post_init__(self) -> None:
        prompt = self.prompt
        # Of `json.dumps(asdict(prompt), sort_keys=True)`, the pool's part taken in once.
        digest = _taken_in(prompt.demonstrations).copy()
        rest = (
            f', "format": {json.dumps(prompt.format)}, "instruction": '
            f'{json.dumps(prompt.instruction, ensure_ascii=False)}, "retrieval": '
            f"{json.dumps(asdict(prompt.retrieval), sort_keys=True)}}}"
        )
        digest.update(_bytes(rest))
        object.__setattr__(self, "id", digest.hexdigest()[:12])

    def rewritten(self, instruction: str, arm: str = "rewrite") -> Candidate:
        """The same demonstrations under another instruction."""
        return Candidate(replace(self.prompt, instruction=instruction), arm, "", self.id)


@lru_cache(maxsize=64)
def _taken_in(demonstrations: tuple[Demonstration, ...]) -> hashlib._Hash:
    """The digest of what a prompt's JSON begins with: to be copied, not added to."""
    digest = hashlib.sha256(b'{"demonstrations": [')
    for number, one in enumerate(demonstrations):
        text = json.dumps(asdict(one), sort_keys=True, ensure_ascii=False)
        digest.update(_bytes(f", {text}" if number else text))
    digest.update(b"]")
    return digest


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One reply of the policy under a candidate's prompt, judged."""

    query: Query
    reply: str
    verdict: Verdict
    whole: bool = True
    """Whether the policy ended the reply itself, rather than at the token limit."""

    @property
    def reward(self) -> float | None:
        """1 to 5, or None where the judgement failed."""
        return self.verdict.reward


@dataclass(frozen=True, slots=True)
class Gap:
    """A balanced paired difference of mean rewards, on the scale of 1 to 5."""

    value: float
    error: float
    """Standard error, never 0: a few agreeing queries are no certainty."""
    n: int
    """Queries that both have a reward for."""

    @property
    def cautious(self) -> float:
        """The difference shrunk towards none, as if `_PRIOR` queries had shown none."""
        return self.value * self.n / (self.n + _PRIOR)


_PRIOR = 8
_PRIOR_VARIANCE = 1.0
"""Of one query's difference: about what flipping one query in sixteen from 1 to 5 gives."""

NO_GAP = Gap(0.0, sqrt(_PRIOR_VARIANCE), 0)


class Archive:
    """Every (candidate, query) measurement of a search."""

    def __init__(self) -> None:
        self._measured: dict[str, dict[Query, Measurement]] = defaultdict(dict)

    def add(self, candidate: Candidate, measurement: Measurement) -> None:
        """Keep a measurement; a later one of the same query replaces it."""
        self._measured[candidate.id][measurement.query] = measurement

    def of(self, candidate: Candidate) -> Mapping[Query, Measurement]:
        """What was measured of a candidate, by query."""
        return self._measured.get(candidate.id, {})

    def everything(self) -> Iterable[Measurement]:
        """Every measurement, in the order in which candidates were first measured."""
        for measured in self._measured.values():
            yield from measured.values()

    def mean(self, candidate: Candidate, among: Iterable[Query] | None = None) -> float | None:
        """Balanced mean reward, over all its queries or some; None of nothing."""
        measured = self.of(candidate)
        queries = measured.keys() if among is None else [q for q in among if q in measured]
        return balanced({q: r for q in queries if (r := measured[q].reward) is not None})

    def gap(
        self, candidate: Candidate, other: Candidate, among: Iterable[Query] | None = None
    ) -> Gap:
        """How much better `candidate` is than `other` on the queries they share."""
        ours, theirs = self.of(candidate), self.of(other)
        shared = ours.keys() & theirs.keys()
        if among is not None:
            shared &= set(among)
        differences: dict[bool | None, list[float]] = defaultdict(list)
        # A set's order differs between processes: exact sums make it decide nothing.
        for query in shared:
            left, right = ours[query].reward, theirs[query].reward
            if left is not None and right is not None:
                differences[query.should_answer].append(left - right)
        if not differences:
            return NO_GAP
        means, variances = [], []
        for kind in differences.values():
            mean = fsum(kind) / len(kind)
            spread = fsum((one - mean) ** 2 for one in kind) + _PRIOR_VARIANCE
            means.append(mean)
            variances.append(spread / len(kind) / len(kind))
        kinds = len(differences)
        return Gap(
            fsum(means) / kinds,
            sqrt(fsum(variances)) / kinds,
            sum(len(kind) for kind in differences.values()),
        )


def balanced(rewards: Mapping[Query, float]) -> float | None:
    """The mean over kinds (to answer, to refuse, unknown) of the mean reward of each."""
    kinds: dict[bool | None, list[float]] = defaultdict(list)
    for query, reward in rewards.items():
        kinds[query.should_answer].append(reward)
    if not kinds:
        return None
    return fsum(fsum(kind) / len(kind) for kind in kinds.values()) / len(kinds)
