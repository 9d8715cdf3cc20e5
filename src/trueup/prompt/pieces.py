"""A prompt taken to pieces, so that it can be asked of each what it is worth.

    found = pieces(prompt)
    shorter = without(prompt, found[:2])

Pieces are what can be left out: each line of the instruction; each demonstration, where all queries
are shown the same ones; where they are retrieved, how many are shown, and groups of the pool. A
pool of hundreds cannot be tried one by one, and a member of it costs a request nothing until it is
shown. So it is taken by kind (category and behaviour, as far as there are at most `MOST_GROUPS`)
and by length: without its longest third, what is shown becomes shorter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from trueup.prompt.prompt import Prompt

MOST_GROUPS = 12
LONGEST = 1 / 3


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that can be left out."""

    kind: Literal["line", "demonstration", "shown", "pool"]
    name: str
    """What it is, in words."""
    places: tuple[int, ...] = ()
    """Of lines, of demonstrations in the pool; of "shown", the number that is left."""


def pieces(prompt: Prompt) -> list[Piece]:
    """Everything that can be left out of a prompt."""
    lines = prompt.instruction.splitlines()
    found = [
        Piece("line", f"line {at + 1}: {line.strip()}", (at,))
        for at, line in enumerate(lines)
        if line.strip()
    ]
    how, pool = prompt.retrieval, prompt.demonstrations
    if how.k == 0:
        return found
    if how.by == "fixed":
        return found + [
            Piece("demonstration", f"demonstration {at + 1}: {one.query}", (at,))
            for at, one in enumerate(pool[: how.k])
        ]
    found += [
        Piece("shown", f"{how.k} shown become {left}", (left,)) for left in range(how.k - 1, -1, -1)
    ]
    return found + _groups(prompt)


def without(prompt: Prompt, removed: Iterable[Piece]) -> Prompt:
    """The prompt with these left out; its retrieval shows no more than there is."""
    gone: dict[str, set[int]] = {"line": set(), "demonstration": set(), "pool": set()}
    k = prompt.retrieval.k
    for piece in removed:
        if piece.kind == "shown":
            k = min(k, piece.places[0])
        else:
            gone[piece.kind].update(piece.places)
    lines = prompt.instruction.splitlines()
    kept = [line for at, line in enumerate(lines) if at not in gone["line"]]
    lost = gone["demonstration"] | gone["pool"]
    pool = tuple(one for at, one in enumerate(prompt.demonstrations) if at not in lost)
    k = min(k - len(gone["demonstration"]), len(pool))
    return replace(
        prompt,
        instruction="\n".join(kept).strip() if gone["line"] else prompt.instruction,
        demonstrations=pool if k else (),
        retrieval=replace(prompt.retrieval, k=k),
    )


def _groups(prompt: Prompt) -> list[Piece]:
    pool = prompt.demonstrations
    kinds: dict[tuple[str, bool], list[int]] = {}
    for at, one in enumerate(pool):
        kinds.setdefault((one.category, one.shows_answer), []).append(at)
    found = []
    if 1 < len(kinds) <= MOST_GROUPS:
        for (category, answers), places in kinds.items():
            name = f"{category or 'unnamed'}, {'answers' if answers else 'refusals'}"
            found.append(Piece("pool", f"of the pool {len(places)}: {name}", tuple(places)))
    longest = sorted(range(len(pool)), key=lambda at: -len(pool[at].query + pool[at].reply))
    third = tuple(sorted(longest[: round(LONGEST * len(pool))]))
    if third:
        found.append(Piece("pool", f"of the pool {len(third)}: its longest third", third))
    return found
