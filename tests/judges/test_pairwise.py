"""Both orders are asked; a liking for a place or a letter cancels out and is visible."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import BudgetSpent, ModelUnavailable
from trueup.judges.criteria import POOL
from trueup.judges.pairwise import LikelihoodPairs, Preference, WrittenPairs
from trueup.models.scripted import Scripted
from trueup.types import Choice, Query, Reply, Request, TokenLogprob

QUERY = Query("How do I boil an egg?")
SHOWN = re.compile(r"^BEGIN ANSWER ([AB]) [a-z]{16}\n(.*?)\nEND ANSWER", re.M | re.S)


def shown(request: Request) -> list[tuple[str, str]]:
    """The answers in the order shown, each with its letter."""
    return SHOWN.findall(request.prompt[-1].content)


def chooser(better: str, liking: float, *, place: float = 0.0, letter: float = 0.0) -> Scripted:
    """Prefers the text `better` with log-odds `liking`, the first place and A by the others."""

    def script(request: Request) -> Reply:
        (first_letter, first_text), _ = shown(request)
        for_first = (liking if first_text == better else -liking) + place
        log_odds = (for_first if first_letter == "A" else -for_first) + letter
        a = 1 / (1 + math.exp(-log_odds))
        top = (("A", math.log(a)), (" B", math.log1p(-a)))
        return Reply((Choice("A", logprobs=(TokenLogprob(*top[0], top=top),)),))

    return Scripted(script)


def deciding(*letters: str) -> Scripted:
    """Writes these decisions, one per asking."""
    return Scripted([json.dumps({"reason": "x", "better": letter}) for letter in letters])


async def test_each_reply_is_shown_once_in_each_place() -> None:
    model = chooser("good", 1.0)
    await LikelihoodPairs(model)(QUERY, "good", "bad")
    assert [shown(request) for request in model.requests] == [
        [("A", "good"), ("B", "bad")],
        [("A", "bad"), ("B", "good")],
    ]


async def test_swapping_labels_shows_each_reply_in_each_place_under_each_letter() -> None:
    model = chooser("good", 1.0)
    await LikelihoodPairs(model, swap_labels=True)(QUERY, "good", "bad")
    assert [shown(request) for request in model.requests] == [
        [("A", "good"), ("B", "bad")],
        [("A", "bad"), ("B", "good")],
        [("B", "good"), ("A", "bad")],
        [("B", "bad"), ("A", "good")],
    ]


@given(st.floats(-4, 4), st.floats(-4, 4), st.floats(-4, 4))
async def test_a_liking_for_a_place_or_a_letter_cancels_out(
    liking: float, place: float, letter: float
) -> None:
    model = chooser("good", liking, place=place, letter=letter)
    for swap in (False, True):
        preference = await LikelihoodPairs(model, swap_labels=swap)(QUERY, "good", "bad")
        assert preference.p == pytest.approx(1 / (1 + math.exp(-liking)), abs=1e-5)


async def test_a_clear_preference_is_consistent_a_liking_for_a_place_is_not() -> None:
    clear = await LikelihoodPairs(chooser("good", 2.0, place=1.0))(QUERY, "good", "bad")
    assert (clear.better, clear.consistent) == ("first", True)
    turned = await LikelihoodPairs(chooser("good", 2.0, place=1.0))(QUERY, "bad", "good")
    assert (turned.better, turned.consistent) == ("second", True)
    placed = await LikelihoodPairs(chooser("good", 1.0, place=2.0))(QUERY, "good", "bad")
    assert (placed.better, placed.consistent) == ("first", False)
    assert placed.askings == pytest.approx((1 / (1 + math.exp(-3)), 1 / (1 + math.exp(1))))


async def test_no_difference_is_a_tie_and_so_is_a_small_one_if_asked() -> None:
    assert (await LikelihoodPairs(chooser("good", 0.0))(QUERY, "good", "bad")).better == "tie"
    loose = LikelihoodPairs(chooser("good", 0.1), tie_within=0.05)
    assert (await loose(QUERY, "good", "bad")).better == "tie"


async def test_a_criterion_is_compared_in_its_own_words() -> None:
    model = chooser("good", 1.0)
    await LikelihoodPairs(model, POOL[1])(QUERY, "good", "bad")
    assert len(model.requests) == 2
    assert all(POOL[1].good in request.prompt[-1].content for request in model.requests)


async def test_without_logprobs_there_is_no_preference_and_a_reason() -> None:
    preference = await LikelihoodPairs(Scripted(lambda request: "A"))(QUERY, "good", "bad")
    assert preference.better is None and preference.p is None
    assert preference.failed is not None and "top_logprobs" in preference.failed


@pytest.mark.parametrize(
    ("letters", "preference"),
    [
        (("A", "B"), Preference("first", 1.0, True, (1.0, 1.0))),
        (("Answer B", "a."), Preference("second", 0.0, True, (0.0, 0.0))),
        (("A", "A"), Preference("tie", 0.5, False, (1.0, 0.0))),
        (("tie", "tie"), Preference("tie", 0.5, True, (0.5, 0.5))),
        (("A", "tie"), Preference("first", 0.75, False, (1.0, 0.5))),
    ],
)
async def test_written_decisions(letters: tuple[str, str], preference: Preference) -> None:
    assert await WrittenPairs(deciding(*letters))(QUERY, "good", "bad") == preference


async def test_an_unreadable_decision_in_either_order_is_no_preference() -> None:
    def script(request: Request) -> str:
        return '{"better": "A"}' if shown(request)[0][1] == "good" else "hard to say"

    assert await WrittenPairs(Scripted(script))(QUERY, "good", "bad") == Preference(
        None, failed="unreadable, asked 3 times: there was no JSON object in the answer"
    )


@pytest.mark.parametrize("error", [BudgetSpent("spent"), ModelUnavailable("nobody there")])
@pytest.mark.parametrize("compare", [LikelihoodPairs, WrittenPairs])
async def test_what_ends_a_job_is_let_through(
    error: Exception, compare: type[LikelihoodPairs] | type[WrittenPairs]
) -> None:
    def script(request: Request) -> str:
        raise error

    with pytest.raises(type(error)):
        await compare(Scripted(script))(QUERY, "good", "bad")
