"""Is the reply a reply at all, or a machine stuck in a groove?

    degenerate("the the the the the the")          # 'the same words over and over'
    degenerate("Paris.")                           # None: short, but an answer
    degenerate("User: hi\\nAssistant: hello")       # 'role markers leak into the reply'
    repetition("a b c a b c")                      # 0.25: one of four 3-grams came before

The idea: most broken replies of small models are broken in one of ten visible ways, and each can
be seen without understanding a word. The reason given is the way.

What it does not do: judge whether a well-formed reply is any good, or about the question; for the
latter see `relevance`. Songs repeat lines and code repeats brackets, so repetition must fill a
large part of the reply before it counts. In code `<query>` may be a tag and `query:` a field, so
markers and placeholders are looked for outside of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

_READ = 20_000
"""Characters read, which bounds the time."""
_LONGEST_PERIOD = 24
"""Words in the longest loop that is looked for."""
_PHRASE = 6
"""From so many words on, a phrase said twice in a row is a loop; a shorter one takes three."""

_WORD = re.compile(r"\w+(?:'\w+)*")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SPACE = re.compile(r"\s+")
_SENTENCE = re.compile(r"[^.!?\n。！？]+[.!?。！？]*")
_CHARACTER_RUN = re.compile(r"([^\s\d.\-=_*#~+|/\\])\1{9}|([.\-=_*#~+|/\\])\2{79}")
_CODE = re.compile(
    r"(```|~~~)[\w+#.-]+[ \t]*\n.*?(?:\1|\Z)|`[^`\n]+`|\b[fF](?:\"[^\"\n]*\"|'[^'\n]*')", re.DOTALL
)
"""Spans, Python's f-strings, and blocks that name their language, the last perhaps cut off. Blocks
that name none are as often prose: small models fence whole replies, role markers and all."""
_SCAFFOLD = re.compile(
    r"<\|?/?(?:im_start|im_end|im_sep|endoftext|end_of_text|eot_id|start_header_id|end_header_id"
    r"|system|user|assistant)\|?>"
    r"|\[/?INST\]|<</?SYS>>|<s>|</s>"
    r"|^\s*\**(?:user|human|assistant|system|query|instruction|AI)\**\s?:\**(?=\s|$)"
    r"|^\s*#{1,4}\s?(?:instruction|response|query|input|user|assistant|human|system|answer|question)"
    r"s?\s?:?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_PLACEHOLDER = re.compile(
    # Not after a word or a dollar: `rows[input]`, `List<Text>`, `${query}`.
    r"(?<![\w$\])\[{<])(?:[\[<{(]\s?(?:insert|your|the|add|enter|write)\s(?:\w+\s){0,4}?"
    r"(?:reply|response|answer|text|query|question|prompt|instruction|output|content|here)\b[^\]>})]{0,60}[\]>})]"
    r"|[\[{]{1,2}\s?(?:query|reply|response|answer|output|prompt|instruction|input|question|placeholder"
    r"|user_input|text)\s?[\]}]{1,2}"
    # HTML has the tags `<input>` and `<output>`, SVG `<text>`.
    r"|<{1,2}\s?(?:query|reply|response|answer|prompt|instruction|question|placeholder|user_input)"
    r"\s?>{1,2})"
    r"(?!\()",  # a link of Markdown: `[text](url)`
    re.IGNORECASE,
)


_LEAST_LETTERS = 0.2
"""Share of letters and digits below which a reply is taken for a smear of signs."""
_TAIL = 8
"""Words said again at the very end of a reply that was cut off are a loop not yet closed."""

_NUMBERING = re.compile(r"(?m)^\s*(?:[-*•]|\d{1,3}[.):])\s+")
_FRAGMENTS = frozenset(
    [
        *("a", "an", "and", "as", "certainly", "hello", "here", "hi", "i", "in", "it", "of"),
        *("ok", "okay", "so", "sure", "that", "the", "this", "to", "well", "you"),
    ]
)
"""One of these alone is the beginning of a reply, not a reply."""


def words(text: str) -> list[str]:
    """The words of a text in lower case; of scripts without spaces, the characters."""
    lowered = text[:_READ].lower()
    if _CJK.search(lowered):
        lowered = _CJK.sub(lambda found: f" {found.group()} ", lowered)
    return _WORD.findall(lowered)


def _shingles(tokens: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def repetition(reply: str) -> float:
    """Share of the reply's word 3-grams that occurred before in it, 0 to 1."""
    grams = _shingles(words(reply), 3)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def overlap(reply: str, source: str, n: int = 4) -> float:
    """Share of the reply's word n-grams that occur in `source`, 0 to 1; 0 of a shorter reply."""
    grams = _shingles(words(reply), n)
    known = set(_shingles(words(source), n))
    return sum(gram in known for gram in grams) / len(grams) if grams else 0.0


def copied(reply: str, demonstrations: Sequence[str], share: float = 0.8) -> bool:
    """Whether `share` of the reply's word 4-grams come from one of these demonstration replies.

    A reply of fewer than four words is a copy only when it is the whole demonstration.
    """
    mine = words(reply)
    return bool(mine) and any(
        mine == words(text) or overlap(reply, text) >= share for text in demonstrations
    )


def _longest_loop(tokens: list[str]) -> int:
    """Words in the longest stretch in which a phrase follows itself."""
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(token, len(numbers)) for token in tokens], dtype=np.int64)
    best = 0
    for period in range(1, min(_LONGEST_PERIOD, len(ids) - 1) + 1):
        same = ids[period:] == ids[:-period]
        if not same.any():
            continue
        breaks = np.flatnonzero(~np.concatenate(([False], same, [False])))
        run = int(np.diff(breaks).max()) - 1
        if same[-_TAIL:].all() and len(same) >= _TAIL:
            best = max(best, int(breaks[-1] - breaks[-2] - 1) + period)
        copies = 1 if period >= _PHRASE else 2
        if run >= max(copies * period, 3) and run + period > best:
            best = run + period
    return best


def _repeats_a_sentence(text: str) -> bool:
    parts = [" ".join(words(part)) for part in _SENTENCE.findall(_NUMBERING.sub(" ", text))]
    parts = [part for part in parts if part.count(" ") >= 3]
    if len(parts) < 2:
        return False
    counts = Counter(parts)
    total = sum(part.count(" ") + 1 for part in parts)
    again = sum((part.count(" ") + 1) * (n - 1) for part, n in counts.items())
    return again / total >= 0.3


def echoes(reply: str, query: str) -> bool:
    """Whether the reply says the query again and next to nothing else."""
    mine, theirs = words(reply), words(query)
    if not mine or len(theirs) < 3:
        return False
    if mine == theirs:
        return True
    if len(mine) > 1.25 * len(theirs) + 2:
        return False
    return overlap(reply, query, 3) >= 0.85 and overlap(query, reply, 3) >= 0.7


def _too_short(reply: str, reference: str | None) -> bool:
    if reference is not None and reply.strip().casefold() == reference.strip().casefold():
        return False
    said = words(reply)
    return not said or (len(said) == 1 and said[0] in _FRAGMENTS)


def degenerate(reply: str, query: str | None = None, reference: str | None = None) -> str | None:
    """Why this is no reply at all, or None. `query` allows an echo to be seen."""
    text = reply[:_READ]
    if not text.strip():
        return "empty"
    prose = _CODE.sub("`", text)
    if _SCAFFOLD.search(prose):
        return "role markers leak into the reply"
    if _PLACEHOLDER.search(prose):
        return "a placeholder was left unfilled"
    if _too_short(text, reference):
        return "too short to be an answer"
    solid = _SPACE.sub("", text)
    letters = sum(character.isalnum() for character in solid)
    if letters / len(solid) < _LEAST_LETTERS:
        return "mostly punctuation"
    if _CHARACTER_RUN.search(text):
        return "one character over and over"
    tokens = words(_NUMBERING.sub(" ", text))
    covered = _longest_loop(tokens)
    if covered >= max(6, 0.35 * len(tokens)) or covered >= 60:
        return "the same words over and over"
    if _repeats_a_sentence(text):
        return "the same sentence over and over"
    if len(tokens) >= 20 and repetition(text) >= 0.4:
        return "more repetition than text"
    if query is not None and echoes(text, query):
        return "echoes the query"
    return None
