"""A world: what a policy obeys, what is good, how well the judge sees it and the writer writes.

    world = World("deceptive", seed=3)
    world.search, world.validation, world.pool, world.lines, world.start      # the material
    world.reply_text(system, demonstrations, query, salt)                     # the policy's reply
    world.true_quality(system, demonstrations)             # 1 to 5, on held-out queries, exact

The seed draws an instance: which behaviours help which criterion and how much, which of them the
policy obeys and how readily, and the queries. All chance is a hash of what was asked: the same
request has the same reply, on every machine and in any order.

How likely a reply shows a behaviour, for a query of difficulty d under n instruction sentences and
k demonstrations of which a share s show it:

    instructed = obeys * min(1, (room / n) ** 0.8) * (1 - d / 2)             if it is asked for
    shown      = copies * s * k / (k + 0.5)                                        (k at most 5)
    p = 1 - (1 - habit) * (1 - instructed * (1 - 0.4 * (1 - s) * k / (k + 2))) * (1 - shown)

Behaviours are drawn independently. A criterion's level is the query's base plus the effects of what
is shown, cut to 0 to 1; the quality is 1 + 4 times the mean level of the query's criteria. So the
expected quality is a finite sum, which `true_quality` takes exactly.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from worlds.behaviours import (
    BEHAVIOURS,
    BY_NAME,
    CRITERIA,
    NAMES,
    PLACEBOS,
    exhibited,
    induced,
    sentences,
)
from worlds.rules import ADJECTIVES, ASKS, EFFECTS, KINDS, PLAIN, SIZES, THINGS

Shown = Sequence[tuple[str, str]]
"""Demonstrations in front of a query: (query, reply), in order."""


@dataclass(frozen=True)
class Asked:
    """A query of the world, and what the world knows of it."""

    text: str
    kind: str
    thing: str
    difficulty: float
    base: float


class World:
    """One instance of a kind of world."""

    def __init__(self, kind: str, seed: int = 0) -> None:
        if kind not in KINDS:
            raise ValueError(f"There is no world {kind!r}. There are: {', '.join(KINDS)}.")
        self.kind, self.seed, self.rules = kind, seed, KINDS[kind]
        rng = random.Random(f"{kind}/{seed}")
        self._draw_effects(rng)
        self._draw_queries(rng)
        self._draw_material(rng)

    def _draw_effects(self, rng: random.Random) -> None:
        low, high = self.rules.obeys
        self.obeys = {name: rng.uniform(low, high) for name in NAMES}
        self.copies = {name: min(0.97, self.obeys[name] + rng.uniform(0.1, 0.4)) for name in NAMES}
        self.habit = {name: rng.uniform(0.02, 0.2) for name in NAMES}
        self.habit |= {"decline": 0.03, "flatter": 0.01, "jargon": 0.05}
        self.effects: dict[str, dict[str, float]] = {}
        for name, effects in EFFECTS.items():
            drawn = {}
            for criterion, effect in effects.items():
                scale = 0.0 if rng.random() < 0.15 else rng.uniform(0.9, 2.1)
                drawn[criterion] = effect * scale * (self.rules.conflict if effect < 0 else 1.0)
            self.effects[name] = drawn

    def _draw_queries(self, rng: random.Random) -> None:
        kinds = [kind for kind in ASKS if kind != "harm"]
        pairs = [(a, t) for a in ADJECTIVES for t in THINGS]
        rng.shuffle(pairs)
        asked = []
        for place, (a, t) in enumerate(pairs[: sum(SIZES.values()) + 60]):
            harmful = rng.random() < self.rules.harmful
            kind = "harm" if harmful else kinds[place % len(kinds)]
            text = ASKS[kind][0].format(a=a, t=t)
            asked.append(Asked(text, kind, t, rng.random(), rng.uniform(*self.rules.base)))
        self._by_text = {one.text: one for one in asked}
        cut = list(itertools.accumulate(SIZES.values(), initial=0))
        parts = [asked[i:j] for i, j in itertools.pairwise(cut)]
        self.search, self.validation, self.held_out = ([q.text for q in part] for part in parts)
        self._to_show = asked[cut[-1] :]

    def _draw_material(self, rng: random.Random) -> None:
        """Lines with the criterion they are said to help; demonstrations of mixed worth."""
        lines = [(line, one.claims) for one in BEHAVIOURS for line in one.lines[:2]]
        lines += [(line, rng.choice(CRITERIA)) for line in PLACEBOS]
        if self.rules.flattered == 0:
            lines = [one for one in lines if "flatter" not in induced(one[0])]
        rng.shuffle(lines)
        self.lines: list[tuple[str, str]] = lines
        self.pool: list[tuple[str, str]] = []
        harmful = ("jargon", "flatter") if self.rules.flattered else ("jargon",)
        for asked in self._to_show[:30]:
            if asked.kind == "harm":
                shown = {"decline"} if rng.random() < 0.8 else {"direct"}
            else:
                useful = sorted(self._useful(asked.kind), key=lambda _: rng.random())
                shown = set(useful[: rng.choice((1, 2, 2, 3))])
                if rng.random() < self.rules.spoilt:
                    shown = {rng.choice(harmful), *useful[:1]}
            self.pool.append((asked.text, self.spoken(asked, shown, 0)))
        self.start = PLAIN
        if self.rules.started:
            good = [name for name in NAMES if self._worth(name) > 0.02]
            good.sort(key=self._worth, reverse=True)
            self.start = "\n".join([PLAIN, *(BY_NAME[name].lines[2] for name in good[:3])])

    def _useful(self, kind: str) -> list[str]:
        wanted = ASKS[kind][1]
        return sorted(
            name
            for name in NAMES
            if sum(self.effects[name].get(criterion, 0.0) for criterion in wanted) > 0.05
        )

    def _worth(self, name: str) -> float:
        """A behaviour's effect, averaged over the kinds of queries."""
        kinds = [kind for kind in ASKS if kind != "harm"]
        return sum(
            sum(self.effects[name].get(c, 0.0) for c in ASKS[kind][1]) / len(ASKS[kind][1])
            for kind in kinds
        ) / len(kinds)

    # What the world knows

    def asked(self, text: str) -> Asked:
        """What the world knows of the query that a text is, or holds."""
        found = self._by_text.get(text.strip())
        if found is None:
            inside = [one for known, one in self._by_text.items() if known in text]
            found = inside[-1] if inside else None
        if found is None:
            return Asked(text, "howto", "thing", 0.5, sum(self.rules.base) / 2)
        return found

    def wanted(self, query: str) -> tuple[str, ...]:
        """The criteria by which replies to a query are good or bad."""
        return ASKS[self.asked(query).kind][1]

    def chance(self, *what: object) -> float:
        """A number in 0 to 1 that the seed and `what` decide."""
        text = "\x1f".join([self.kind, str(self.seed), *map(str, what)])
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") + 0.5) / 2**64

    def probabilities(self, system: str, shown: Shown, difficulty: float) -> dict[str, float]:
        """How likely a harmless query's reply is to show each behaviour."""
        return _chances(self, *_context(system, tuple(reply for _, reply in shown)), difficulty)

    def reply_text(self, system: str, shown: Shown, query: str, salt: object = "") -> str:
        """The policy's reply. Half of its chance is the query's own, so that the same query goes
        the same way under prompts that are alike; half depends on all of the request."""
        asked = self.asked(query)
        chances = self.probabilities(system, shown, asked.difficulty)
        chances = self._for_kind(chances, asked.kind)
        digest = hashlib.blake2b(repr((system, tuple(shown), salt)).encode()).hexdigest()[:16]
        does = set()
        for name, p in chances.items():
            own = _NORMAL.inv_cdf(self.chance("own", name, asked.text))
            drawn = _NORMAL.inv_cdf(self.chance("drawn", name, asked.text, digest))
            if _NORMAL.cdf((own + drawn) / 2**0.5) < p:
                does.add(name)
        return self.spoken(asked, does, int(digest[:4], 16))

    def _for_kind(self, chances: Mapping[str, float], kind: str) -> dict[str, float]:
        found = dict(chances)
        if kind != "harm":
            # A policy told or shown to decline declines a few harmless queries too.
            found["decline"] *= 0.15
        return found

    def spoken(self, asked: Asked, does: set[str], variant: int) -> str:
        """A reply that shows these behaviours."""
        if "decline" in does:
            return BY_NAME["decline"].says
        about = (
            f"Here is something about the {asked.thing}.",
            f"You asked about a {asked.thing}.",
            f"As for the {asked.thing}:",
            f"A {asked.thing} can be looked after.",
        )[variant % 4]
        order = sorted(does, key=NAMES.index)
        if "brief" in order:
            order = [*(one for one in order if one != "brief"), "brief"]
        said = [BY_NAME[one].says.format(thing=asked.thing) for one in order]
        return " ".join([about, *said])

    def levels(self, query: str, does: frozenset[str]) -> dict[str, float]:
        """How good a reply is on each of its query's criteria, 0 to 1."""
        asked = self.asked(query)
        if asked.kind == "harm":
            return {"Safety": 1.0 if "decline" in does else 0.0}
        if "decline" in does:
            return dict.fromkeys(ASKS[asked.kind][1], 0.0)
        return {
            criterion: min(
                1.0,
                max(0.0, asked.base + sum(self.effects[n].get(criterion, 0.0) for n in does)),
            )
            for criterion in ASKS[asked.kind][1]
        }

    # The truth

    def true_quality(
        self, system: str, shown: Shown | Callable[[str], Shown] = (), queries: str = "held_out"
    ) -> float:
        """The exact expectation of the quality, 1 to 5, over held-out queries and all chance.

        `shown` is what stands in front of every query, or a function of the query.
        """
        texts: list[str] = getattr(self, queries)
        return sum(self.expected(system, self._shown(shown, t), t) for t in texts) / len(texts)

    @staticmethod
    def _shown(shown: Shown | Callable[[str], Shown], query: str) -> Shown:
        return shown(query) if callable(shown) else shown

    def expected(self, system: str, shown: Shown, query: str) -> float:
        """The exact expected quality of the reply to one query."""
        asked = self._by_text[query]
        context = _context(system, tuple(reply for _, reply in shown))
        found = self._expected.get((context, query))
        if found is not None:
            return found
        chances = self._for_kind(_chances(self, *context, asked.difficulty), asked.kind)
        if asked.kind == "harm":
            value = 1 + 4 * chances["decline"]
        else:
            wanted = ASKS[asked.kind][1]
            level = sum(self._level(criterion, asked.base, chances) for criterion in wanted)
            value = 1 + 4 * (1 - chances["decline"]) * level / len(wanted)
        self._expected[context, query] = value
        return value

    @cached_property
    def _expected(self) -> dict[object, float]:
        return {}

    def _level(self, criterion: str, base: float, chances: Mapping[str, float]) -> float:
        names, states, sums = self._states[criterion]
        p = np.array([chances[name] for name in names])
        weight = np.prod(np.where(states, p, 1 - p), axis=1)
        return float(weight @ np.clip(base + sums, 0.0, 1.0))

    @cached_property
    def _states(self) -> dict[str, tuple[list[str], np.ndarray, np.ndarray]]:
        """By criterion: what moves it, every way that may turn out, and by how much."""
        found = {}
        for criterion in CRITERIA:
            names = [n for n in NAMES if self.effects[n].get(criterion, 0.0) != 0.0]
            states = np.array(list(itertools.product((False, True), repeat=len(names))))
            effects = np.array([self.effects[name][criterion] for name in names])
            found[criterion] = (names, states, states.reshape(len(states), -1) @ effects)
        return found

    @cached_property
    def attainable(self) -> tuple[float, str]:
        """The best instruction of pool lines that greedy search on the truth finds, and its
        quality: what instructions alone can do. Demonstrations may go beyond it."""
        best, text = self.true_quality(PLAIN), PLAIN
        while True:
            tried = [f"{text}\n{line}" for line, _ in self.lines if line not in text]
            top, found = max((self.true_quality(one), one) for one in tried)
            if top <= best + 1e-6:
                return best, text
            best, text = top, found


_NORMAL = NormalDist()
_MEMORY: dict[tuple[str, tuple[str, ...]], tuple[frozenset[str], int, tuple[int, ...]]] = {}


def _context(system: str, replies: tuple[str, ...]) -> tuple[frozenset[str], int, tuple[int, ...]]:
    """What of a prompt decides: what is asked for, in how many sentences, what is shown."""
    key = (system, replies)
    found = _MEMORY.get(key)
    if found is None:
        last = [exhibited(reply) for reply in replies[-5:]]
        counts = tuple(sum(name in one for one in last) for name in NAMES)
        found = (frozenset(induced(system)), len(sentences(system)), (len(last), *counts))
        if len(_MEMORY) > 200_000:
            _MEMORY.clear()
        _MEMORY[key] = found
    return found


def _chances(
    world: World, asked: frozenset[str], n: int, shown: tuple[int, ...], difficulty: float
) -> dict[str, float]:
    k, *counts = shown
    crowd = min(1.0, (world.rules.room / max(n, 1)) ** 0.8)
    found = {}
    for name, count in zip(NAMES, counts, strict=True):
        share = count / k if k else 0.0
        told = world.obeys[name] * crowd * (1 - difficulty / 2) if name in asked else 0.0
        told *= 1 - 0.4 * (1 - share) * k / (k + 2)
        copied = world.copies[name] * share * k / (k + 0.5)
        found[name] = 1 - (1 - world.habit[name]) * (1 - told) * (1 - copied)
    return found
