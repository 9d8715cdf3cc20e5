"""What parts are worth is learnt from replies to many prompts at once."""

from __future__ import annotations

import numpy as np
import pytest

from trueup.prompt.effects import Belief, Effects
from trueup.types import Query, Score, Verdict

TRUE = {"good": 0.8, "bad": -0.6, "idle": 0.0}


def learnt(replies: int, seed: int = 0) -> Effects:
    """Every part stands in half of the prompts, by chance."""
    chance = np.random.default_rng(seed)
    effects = Effects(np.random.default_rng(seed))
    for number in range(replies):
        have = {part for part in TRUE if chance.random() < 0.5}
        query = Query(f"Query {number // 2}?")
        value = 3 + 0.3 * (number // 2 % 3 - 1) + sum(TRUE[part] for part in have)
        value += 0.4 * chance.standard_normal()
        effects.add(have, query, Verdict((Score("Depth", float(np.clip(value, 1, 5))),)))
    effects.fit({part: {} for part in TRUE})
    return effects


def test_parts_are_told_apart_by_sixty_replies_to_as_many_prompts() -> None:
    worths = learnt(60).worths()
    # Shrunk towards what was believed, and in the right order.
    assert 0.2 < worths["good"] < 0.8 and -0.6 < worths["bad"] < -0.1
    assert worths["bad"] < worths["idle"] < worths["good"]


def test_more_replies_leave_less_doubt() -> None:
    few, many = learnt(10), learnt(160)
    spread = [
        np.std([effects.draw()["idle"] for _ in range(200)]).item() for effects in (few, many)
    ]
    assert spread[1] < 0.7 * spread[0]


def test_without_replies_there_is_nothing_to_fit_and_beliefs_decide_what_was_never_seen() -> None:
    empty = Effects(np.random.default_rng(0))
    empty.fit({"good": {}})
    assert empty.worths() == {} and empty.draw() == {} and empty.needs() == {}
    effects = learnt(40)
    effects.fit({part: {} for part in TRUE} | {"new": {"Depth": Belief(0.5, 0.1)}})
    assert effects.worths()["new"] > 0.1


def test_failed_verdicts_say_nothing_and_shares_count_the_criteria_scored() -> None:
    effects = Effects(np.random.default_rng(0))
    effects.add({"good"}, Query("One?"), Verdict(failed="unreadable"))
    assert effects.needs() == {}
    effects.add({"good"}, Query("One?"), Verdict((Score("Depth", 2.0), Score("Clarity", 4.0))))
    assert effects.needs() == pytest.approx({"Depth": 1.5, "Clarity": 0.5})
