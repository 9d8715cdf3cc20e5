"""In which order the methods ask: what a server has just read is asked about before it forgets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trueup.evaluation.judging import decide
from trueup.judges.methods import named
from trueup.models.prefixes import common, letters
from trueup.models.scripted import Scripted
from trueup.types import Choice, Pair, Query, Reply, Request, TokenLogprob

METHODS = named("yes-no-1,yes-no-2,yes-no-3,yes-no,rating,pairs")


def cache(server: Slotted) -> Callable[[Request], Reply]:
    asked: dict[str, Reply] = {}

    def reply(request: Request) -> Reply:
        key = request.content()
        if key not in asked:
            asked[key] = server(request)
        return asked[key]

    return reply


class Slotted:
    """A server of a few slots, each holding what it read last; it counts letters."""

    def __init__(self, slots: int) -> None:
        self.slots = [""] * slots
        self.read = self.cached = 0

    def __call__(self, request: Request) -> Reply:
        text = letters(request)
        # As llama.cpp does: the slot with most of the prompt, else the one unused for longest.
        at = max(range(len(self.slots)), key=lambda slot: common(self.slots[slot], text))
        known = common(self.slots[at], text)
        if known < len(text) // 10:
            at, known = 0, common(self.slots[0], text)
        self.slots.pop(at)
        self.slots.append(text)
        self.read += len(text)
        self.cached += known
        top = tuple((word, -1.5) for word in ("Yes", "No", "A", "B", "1", "5"))
        return Reply((Choice("Yes", logprobs=(TokenLogprob("Yes", -1.5, top),)),))


def pairs(count: int = 8) -> list[Pair]:
    """As long as those of LLMBar's natural part."""
    return [
        Pair(
            Query(f"{n} query " * 16), f"{n} first reply " * 18, f"{n} second reply " * 18, "first"
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("slots", [1, 8])
async def test_more_than_60_of_100_letters_were_just_read(slots: int) -> None:
    server = Slotted(slots)
    # A store stands before every model, so the same question is asked once.
    model = Scripted(cache(server))
    await decide(METHODS, lambda name: model, pairs(), at_once=1)
    assert server.cached / server.read > 0.6


async def test_all_that_is_asked_of_one_reply_comes_before_the_other_reply() -> None:
    model = Scripted(Slotted(1))
    await decide(METHODS[:5], lambda name: model, pairs(1))
    asked = ["first" if "first reply" in letters(one) else "second" for one in model.requests]
    half = len(asked) // 2
    assert asked == ["first"] * half + ["second"] * half and half == 8


async def test_what_a_method_thinks_is_the_same_alone_and_among_others() -> None:
    model = Scripted(Slotted(1))
    among = await decide(METHODS, lambda name: model, pairs(2), retest=1)
    for method in METHODS:
        alone = await decide([method], lambda name: model, pairs(2), retest=1)
        assert alone[method.name] == among[method.name]
        assert [one.again is not None for one in alone[method.name]] == [True, False]
