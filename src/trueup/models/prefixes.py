"""Which long beginnings the requests of a burst have in common, and which slot should answer whom.

    prefixes = Prefixes()
    prefixes.met(text_1)                 # None: nothing is known
    prefixes.met(text_2)                 # the beginning both have, if it is long
    prefixes.met(text_3)                 # the longest beginning known

A server reads a prompt's beginning again for every request, unless the slot that answers has just
read the same. Judges, selectors and writers ask with a page of constant text in front; candidates
with fixed demonstrations have a page each. This finds those pages among the texts as they come, by
their letters. It knows no server: `slots` has the beginnings read once and handed around.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from trueup.types import Request

LEAST = 600
"""Letters that a common beginning must have to be worth a state of its own: about 150 tokens, which
take half a second to read on two cores. Saving and handing around takes a tenth of that."""
RECENT = 32
"""Texts that a new one is compared with."""
KNOWN = 64
"""Beginnings that are remembered."""
SHARERS = 3
"""Texts that must share a longer beginning where a shorter one is known already."""


@dataclass(eq=False, slots=True)
class Prefix:
    """A beginning that several requests have in common."""

    text: str
    examples: tuple[Request, Request]
    """Two requests that begin with it and part after it."""


class Prefixes:
    """The common beginnings of the requests so far."""

    def __init__(self, least: int = LEAST) -> None:
        self._least = least
        self._recent: deque[tuple[str, Request]] = deque(maxlen=RECENT)
        self._known: OrderedDict[str, Prefix] = OrderedDict()

    def met(self, request: Request) -> Prefix | None:
        """The longest known beginning of the request, after learning from it."""
        text = letters(request)
        longest = self.known(text)
        shared = [
            (length, other)
            for earlier, other in self._recent
            if earlier != text and (length := common(earlier, text)) >= self._least
        ]
        self._recent.append((text, request))
        known = len(longest.text) if longest is not None else 0
        shared = [one for one in shared if one[0] >= known + self._least]
        if len(shared) + 1 >= (SHARERS if longest is not None else 2):
            # The shortest that goes beyond what is known: more requests have it than a longer one.
            length, other = min(shared, key=lambda one: one[0])
            longest = self._learnt(text[:length], (other, request))
        if longest is not None:
            self._known.move_to_end(longest.text)
        return longest

    def known(self, text: str) -> Prefix | None:
        """The longest known beginning of a request's letters."""
        found = [prefix for prefix in self._known.values() if text.startswith(prefix.text)]
        return max(found, key=lambda prefix: len(prefix.text), default=None)

    def _learnt(self, text: str, examples: tuple[Request, Request]) -> Prefix:
        prefix = self._known.setdefault(text, Prefix(text, examples))
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return prefix


def letters(request: Request) -> str:
    """The request's prompt as one text, in which the same beginning is the same beginning."""
    if isinstance(request.prompt, str):
        return f"\0{request.prompt}"
    return "".join(f"\0{turn.role}\0{turn.content}" for turn in request.prompt)


def common(one: str, other: str) -> int:
    """How many letters two texts begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
