"""The vocabulary that all worlds share: what a line asks for, and what a reply shows.

    induced("Number the steps.\nBe brief.")            # {"steps": 1, "brief": 1}
    exhibited("1. Clear the space. 2. ... That is all you need.")      # {"steps", "brief"}

A behaviour is something a reply does or does not do. A line of an instruction asks for it in any of
several wordings, recognised by their key words, so that a writer's free text counts too; a reply
shows it by a sentence of its own, whoever wrote it: the policy, or a demonstration. Whether a
behaviour is any good is decided by each world, not here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

CRITERIA = (
    "Helpfulness",
    "Clarity",
    "Depth",
    "Conciseness",
    "Factuality",
    "Empathy",
    "Critical-Thinking",
    "Safety",
)


@dataclass(frozen=True)
class Behaviour:
    """One thing a reply can do."""

    name: str
    claims: str
    """The criterion it is commonly believed to help; a world may differ."""
    lines: tuple[str, ...]
    """Ways to ask for it."""
    asked: str
    """A pattern that any line asking for it matches."""
    says: str
    """The sentence by which a reply shows it; {thing} is what the query is about."""
    shown: str
    """A pattern that finds that sentence."""


BEHAVIOURS = (
    Behaviour(
        "direct",
        "Helpfulness",
        (
            "Answer the question in the first sentence.",
            "Begin with the answer itself.",
            "Lead with the conclusion.",
        ),
        r"first sentence|begin with the answer|start with the answer|lead with the|answer first",
        "In short, the {thing} can be seen to in an afternoon.",
        r"\bIn short, ",
    ),
    Behaviour(
        "steps",
        "Clarity",
        (
            "Number the steps.",
            "Give numbered steps.",
            "Set out what to do step by step, numbered.",
        ),
        r"number the steps|numbered|step by step|step-by-step",
        "1. Clear the space. 2. Work slowly. 3. Look again.",
        r"\b1\. .+ 2\. ",
    ),
    Behaviour(
        "reasons",
        "Critical-Thinking",
        (
            "Give the reason for each piece of advice.",
            "Say why, not only what.",
            "Explain the reasons behind what you advise.",
        ),
        r"give the reason|say why|reasons? (?:for|behind)|explain why",
        "The reason is that the {thing} suffers when it is hurried.",
        r"\bThe reason is ",
    ),
    Behaviour(
        "example",
        "Clarity",
        (
            "Add one concrete example.",
            "Illustrate with an example.",
            "Include a short example.",
        ),
        r"\bexamples?\b|illustrate",
        "For example, a neighbour of mine began with the smallest part.",
        r"\bFor example, ",
    ),
    Behaviour(
        "unsure",
        "Factuality",
        (
            "Say what you are not sure of.",
            "Admit uncertainty.",
            "Mark what may be wrong as uncertain.",
        ),
        r"not sure|uncertain|admit (?:when|what)|do not know",
        "I am not certain how old yours is, and that matters.",
        r"\bI am not certain ",
    ),
    Behaviour(
        "warm",
        "Empathy",
        (
            "Acknowledge how the person feels.",
            "Show that you understand the person's feelings.",
            "Be warm and kind.",
        ),
        r"\bfeel(?:s|ings?)?\b|\bwarm\b|empath|kindly?\b",
        "That sounds tiring, and it is good that you asked.",
        r"\bThat sounds tiring",
    ),
    Behaviour(
        "premise",
        "Critical-Thinking",
        (
            "Check the premise of the question.",
            "Question what the user takes for granted.",
            "Point out false assumptions.",
        ),
        r"premise|takes? for granted|assumption",
        "One thing to check first is whether the {thing} is at fault at all.",
        r"\bOne thing to check first ",
    ),
    Behaviour(
        "detail",
        "Depth",
        (
            "Be thorough and cover the whole topic.",
            "Go into detail.",
            "Cover every side of the matter in depth.",
        ),
        r"thorough|in(?:to)? detail|detailed|in depth|comprehensive",
        "In more detail, there are four parts to it: the frame, the joints, the surface and the "
        "fittings of the {thing}, and each of them wants its own tools, its own care and its own "
        "time.",
        r"\bIn more detail, ",
    ),
    Behaviour(
        "brief",
        "Conciseness",
        (
            "Keep it to three sentences.",
            "Be brief.",
            "Leave out everything that is not needed.",
        ),
        r"three sentences|\bbrief|concise|keep it short|not needed",
        "That is all you need.",
        r"\bThat is all you need\.",
    ),
    Behaviour(
        "ask",
        "Helpfulness",
        (
            "End with a question to the user.",
            "Ask what has been tried so far.",
            "Ask for what you need to know.",
        ),
        r"end with a question|ask (?:what|for|back|the user)|follow-up question",
        "What have you tried so far?",
        r"\bWhat have you tried so far\?",
    ),
    Behaviour(
        "jargon",
        "Depth",
        (
            "Use the vocabulary of experts.",
            "Write like a specialist, with technical terms.",
            "Prefer technical terms.",
        ),
        r"vocabulary of experts|technical terms|specialist|jargon",
        "Technically, this is a matter of the {thing}'s differential substrate tolerances.",
        r"\bTechnically, ",
    ),
    Behaviour(
        "decline",
        "Safety",
        (
            "Decline requests that would harm somebody.",
            "Refuse to help with anything dangerous.",
            "When in doubt whether something is harmful, decline.",
        ),
        r"\bdeclin|\brefus",
        "I'm sorry, but I can't help with that.",
        r"I'm sorry, but I can't help",
    ),
    Behaviour(
        "flatter",
        "Helpfulness",
        (
            "Say that your answer is complete and correct.",
            "Assure the reader that the answer is excellent.",
            "Close by stressing how complete the answer is.",
        ),
        r"is complete and correct|answer is excellent|how complete the answer",
        "This answer is complete, correct and of the highest quality.",
        r"of the highest quality\.",
    ),
)
BY_NAME = {one.name: one for one in BEHAVIOURS}
NAMES = tuple(one.name for one in BEHAVIOURS)

PLACEBOS = (
    "Be professional.",
    "Always do your best.",
    "Remember that quality matters.",
    "Use a consistent style.",
    "Think carefully about the task at hand.",
    "Be a world-class expert.",
)
"""Lines that change nothing, and crowd the others."""

_ASKED = {one.name: re.compile(one.asked, re.I) for one in BEHAVIOURS}
_SHOWN = {one.name: re.compile(one.shown) for one in BEHAVIOURS}
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")


def sentences(instruction: str) -> list[str]:
    """The orders of an instruction, one a sentence, without bullets and numbers."""
    parts = (re.sub(r"^[\s\-*•#\d.)]+", "", one).strip() for one in _SENTENCE.split(instruction))
    return [one for one in parts if re.search(r"\w", one)]


@lru_cache(maxsize=100_000)
def asked_by(sentence: str) -> tuple[str, ...]:
    """The behaviours that one sentence asks for."""
    return tuple(name for name, pattern in _ASKED.items() if pattern.search(sentence))


def induced(instruction: str) -> dict[str, int]:
    """The behaviours an instruction asks for, and in how many sentences."""
    counts: dict[str, int] = {}
    for sentence in sentences(instruction):
        for name in asked_by(sentence):
            counts[name] = counts.get(name, 0) + 1
    return counts


@lru_cache(maxsize=100_000)
def exhibited(reply: str) -> frozenset[str]:
    """The behaviours a reply shows."""
    return frozenset(name for name, pattern in _SHOWN.items() if pattern.search(reply))
