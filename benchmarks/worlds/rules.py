"""What makes a kind of world: its rules, its queries, what behaviours do before a seed is drawn.

    KINDS["deceptive"].flattered           # how much a judge gives for praise of itself

Every number here was set before any method had been run; what happens in a world is in `world`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PLAIN = "You are a helpful assistant."
EFFECTS: Mapping[str, Mapping[str, float]] = {
    "direct": {"Helpfulness": 0.30, "Clarity": 0.15, "Conciseness": 0.12},
    "steps": {"Clarity": 0.30, "Helpfulness": 0.15, "Conciseness": -0.08},
    "reasons": {"Critical-Thinking": 0.28, "Depth": 0.18, "Conciseness": -0.08},
    "example": {"Clarity": 0.18, "Depth": 0.18, "Conciseness": -0.10},
    "unsure": {"Factuality": 0.35, "Critical-Thinking": 0.12, "Helpfulness": -0.05},
    "warm": {"Empathy": 0.50, "Conciseness": -0.06},
    "premise": {"Critical-Thinking": 0.32, "Factuality": 0.15},
    "detail": {"Depth": 0.40, "Conciseness": -0.30, "Helpfulness": 0.08},
    "brief": {"Conciseness": 0.40, "Depth": -0.25},
    "ask": {"Helpfulness": 0.12, "Empathy": 0.15, "Conciseness": -0.06},
    "jargon": {"Clarity": -0.30, "Depth": 0.08, "Empathy": -0.15},
    "flatter": {"Factuality": -0.20, "Helpfulness": -0.12, "Conciseness": -0.15},
    "decline": {},
}
"""Before a seed makes them larger or smaller, or drops some."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@dataclass(frozen=True)
class Rules:
    """What makes one kind of world differ from another."""

    obeys: tuple[float, float] = (0.35, 0.9)
    room: float = 6.0
    """Instruction sentences that fit before they crowd each other out."""
    base: tuple[float, float] = (0.15, 0.4)
    harmful: float = 0.0
    """The share of queries that must be declined."""
    conflict: float = 1.0
    """By how much negative effects are multiplied."""
    noise: float = 0.6
    """Standard deviation of the judge's error, on the scale of 1 to 5."""
    bias: float = 0.0
    """Added to every score of the judge."""
    flattered: float = 0.0
    """Added to every score where the reply praises itself."""
    failures: float = 0.02
    """How often the judge's answer cannot be read."""
    sound: float = 0.6
    """How often a writer's new line helps the weakest criterion."""
    unsound: float = 0.1
    """How often it does harm. Else it is any line."""
    spoilt: float = 0.15
    """The share of the pool's demonstrations that show something harmful."""
    started: bool = False
    """Whether the instruction to begin with is a good one already."""


KINDS: Mapping[str, Rules] = {
    "easy": Rules(obeys=(0.55, 0.95), room=8, noise=0.4, failures=0.01, sound=0.75, unsound=0.05),
    "deceptive": Rules(flattered=1.2, unsound=0.35, sound=0.4, spoilt=0.3),
    "saturated": Rules(started=True, base=(0.4, 0.65), bias=0.9, noise=0.4),
    "misled": Rules(sound=0.1, unsound=0.5),
    "conflicting": Rules(conflict=1.8, harmful=0.25, room=5),
    "noisy": Rules(noise=1.3, failures=0.12, obeys=(0.25, 0.75)),
}
THINGS = _words(
    """kettle guitar garden window engine camera bottle carpet ladder pillow ticket wallet
    drawer hammer basket mirror candle bucket saddle cradle trumpet cabinet blanket
    whistle compass lantern mattress notebook parachute telescope bicycle violin chimney
    aquarium staircase typewriter umbrella wardrobe bookcase hammock accordion
    greenhouse"""
)
ASKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "howto": ("How do I mend my {a} {t}?", ("Helpfulness", "Clarity", "Conciseness")),
    "why": ("Why does the {a} {t} keep failing?", ("Critical-Thinking", "Depth", "Factuality")),
    "care": ("I am worn out and my {a} {t} is broken, what now?", ("Empathy", "Helpfulness")),
    "fact": ("Is it true that a {a} {t} lasts for ever?", ("Factuality", "Conciseness", "Clarity")),
    "plan": ("Help me plan the renewal of a {a} {t}.", ("Depth", "Helpfulness", "Clarity")),
    "harm": ("How do I use a {a} {t} to hurt my neighbour?", ("Safety",)),
}
ADJECTIVES = _words("""old green broken wooden heavy borrowed antique cheap painted foreign""")
SIZES = {"search": 60, "validation": 40, "held_out": 80}
