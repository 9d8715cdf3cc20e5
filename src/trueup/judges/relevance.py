"""Is the reply about what was asked? A cheap look at the words they share.

First version: content-word stems in common.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")
_STOP = frozenset(
    """a an the and or but if then than so of in on at to for from by with about as into onto over
    under is are was were be been being am do does did done have has had having can could will would
    shall should may might must not no yes i you he she it we they me him her us them my your his its
    our their this that these those there here what which who whom whose when where why how all any
    both each few more most other some such only own same too very just also please give tell make
    write explain describe list generate create provide following using use used one two way ways
    get go like s t m re ve ll d don""".split()
)


def stem(word: str) -> str:
    """A crude English stem: plural, -ing, -ed and their like cut off."""
    for ending in ("ically", "ations", "ation", "ingly", "ments", "ment", "ings", "ing", "edly",
                   "ness", "ies", "ied", "ers", "ors", "est", "ed", "es", "er", "or", "ly", "al",
                   "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def content(text: str) -> set[str]:
    """The stems of the words that carry the subject."""
    return {stem(w) for w in _WORD.findall(text[:8000].lower()) if w not in _STOP and len(w) > 1}


def relevance(query: str, reply: str) -> float:
    """How much the reply looks to be about the query, 0 to 1."""
    asked, said = content(query), content(reply)
    if not asked or not said:
        return 0.5
    shared = len(asked & said)
    if not shared:
        return 0.3 if len(said) <= 4 else 0.0
    return min(1.0, 0.4 + 0.6 * shared / min(len(asked), 6))


def on_topic(query: str, reply: str) -> bool:
    """Whether the reply is, as far as its words tell, about the query."""
    return relevance(query, reply) >= 0.3
