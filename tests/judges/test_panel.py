"""Several judges as one: weights, disagreement, and who is asked again."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from trueup.errors import BudgetSpent, JudgeError
from trueup.judges.calibration import Calibration
from trueup.judges.panel import Member, Panel, Weighed
from trueup.judges.standing import Calibrated, Share, Standing, keep, known, load, quantiles
from trueup.types import Query, Score, Verdict

QUERY = Query("q")


class Fixed:
    """A judge that always says the same, and counts how often."""

    def __init__(self, *scores: float | None) -> None:
        self.scores = scores
        self.asked = 0

    async def __call__(self, query: Query, reply: str) -> Verdict:
        self.asked += 1
        names = [f"c{at}" for at in range(len(self.scores))]
        if None in self.scores:
            return Verdict(failed="mute")
        values = [score for score in self.scores if score is not None]
        return Verdict(tuple(Score(n, v, "so") for n, v in zip(names, values, strict=True)))


def standing(
    agreement: float, *, low: float | None = None, slope: float = 3.0, name: str = "m"
) -> Standing:
    share = Share(agreement, agreement - 0.05 if low is None else low, agreement + 0.05, 400)
    return Standing("model", name, share, Calibration("platt", (slope,)), rewards=(2.0, 3.0, 4.0))


async def test_weights_are_the_log_odds_of_agreement() -> None:
    panel = Panel(
        [
            Member("good", Fixed(4.0), standing(0.8)),
            Member("fair", Fixed(2.0), standing(0.6)),
            Member("coin", coin := Fixed(5.0), standing(0.52, low=0.45)),
            Member("unknown", Fixed(5.0)),
        ]
    )
    good, fair = math.log(0.8 / 0.2), math.log(0.6 / 0.4)
    assert panel.weights == pytest.approx(
        {"good": good / (good + fair), "fair": fair / (good + fair), "coin": 0.0, "unknown": 0.0}
    )
    found = await panel.weigh(QUERY, "reply")
    high, low = standing(0.8).preferred(4.0), standing(0.6).preferred(2.0)
    mean = (good * high + fair * low) / (good + fair)
    assert found.reward == pytest.approx(1 + 4 * mean)
    spread = (good * (high - mean) ** 2 + fair * (low - mean) ** 2) / (good + fair)
    assert found.disagreement == pytest.approx(math.sqrt(spread))
    assert set(found.failed) == {"coin", "unknown"} and coin.asked == 0


async def test_judges_that_nobody_measured_count_alike() -> None:
    panel = Panel([Member("a", Fixed(5.0)), Member("b", Fixed(1.0))])
    assert await panel.weigh(QUERY, "r") == Weighed(3.0, 0.5, {"a": 1.0, "b": 0.0}, {})
    verdict = await panel(QUERY, "r")
    assert verdict == Verdict((Score("Panel", 3.0, "a 1.00, b 0.00; disagreement 0.50"),))


async def test_one_that_fails_is_left_out_and_said() -> None:
    panel = Panel([Member("a", Fixed(4.0)), Member("b", Fixed(None))])
    verdict = await panel(QUERY, "r")
    assert (verdict.reward, verdict.dropped) == (4.0, ("b: mute",))
    mute = Panel([Member("b", Fixed(None))])
    assert await mute(QUERY, "r") == Verdict(failed="b: mute", dropped=("b: mute",))


async def test_one_that_breaks_is_left_out_and_said() -> None:
    async def breaks(query: Query, reply: str) -> Verdict:
        raise KeyError("tone")

    async def forgets(query: Query, reply: str) -> Verdict:
        return None  # type: ignore[return-value]

    panel = Panel([Member("a", Fixed(4.0)), Member("b", breaks), Member("c", forgets)])
    verdict = await panel(QUERY, "r")
    assert verdict.reward == 4.0
    assert verdict.dropped == (
        "b: the judge raised KeyError: 'tone'",
        "c: the judge gave None: have it return a Verdict",
    )

    async def spends(query: Query, reply: str) -> Verdict:
        raise BudgetSpent("spent")

    with pytest.raises(BudgetSpent):
        await Panel([Member("a", Fixed(4.0)), Member("b", spends)])(QUERY, "r")


async def test_only_what_the_first_disagree_on_is_shown_to_the_others() -> None:
    alike, costly = Fixed(4.0), Fixed(1.0)
    again = [Member("costly", costly)]
    agreed = Panel([Member("a", alike), Member("b", Fixed(4.2))], again=again)
    found = await agreed.weigh(QUERY, "r")
    assert (found.asked_again, costly.asked) == (False, 0)
    apart = Panel([Member("a", alike), Member("b", Fixed(2.0))], again=again)
    found = await apart.weigh(QUERY, "r")
    assert (found.asked_again, costly.asked) == (True, 1)
    assert found.reward == pytest.approx(1 + 4 * (0.75 + 0.25 + 0.0) / 3)
    silent = Panel([Member("a", Fixed(None))], again=again)
    assert (await silent.weigh(QUERY, "r")).reward == 1.0


def test_a_panel_of_coins_is_refused() -> None:
    with pytest.raises(JudgeError, match="more than a coin"):
        Panel([Member("a", Fixed(3.0), standing(0.51, low=0.4))])
    with pytest.raises(JudgeError, match="name of its own"):
        Panel([Member("a", Fixed(3.0)), Member("a", Fixed(3.0))])
    with pytest.raises(JudgeError):
        Panel([])


async def test_calibrated_scores_rise_with_the_raw_and_are_flat_at_chance() -> None:
    rewards = []
    for raw in (1.0, 2.5, 4.0, 5.0):
        verdict = await Calibrated(Fixed(raw), standing(0.7))(QUERY, "r")
        assert verdict.reward is not None
        rewards.append(verdict.reward)
    assert rewards == sorted(set(rewards))
    flat = await Calibrated(Fixed(5.0), standing(0.5, slope=0.0))(QUERY, "r")
    assert flat.reward == 3.0


async def test_criteria_at_chance_are_left_out_and_said() -> None:
    known_of = standing(0.7)
    shares = {"c0": Share(0.7, 0.6, 0.8, 90), "c1": Share(0.51, 0.4, 0.6, 90)}
    of_two = Standing(
        "model", "m", known_of.agreement, known_of.calibration, rewards=(3.0,), criteria=shares
    )
    verdict = await Calibrated(Fixed(4.0, 2.0), of_two)(QUERY, "r")
    assert [score.criterion for score in verdict.scores] == ["c0"]
    assert verdict.dropped == ("c1: at chance with people (0.51 [0.40, 0.60], n = 90)",)
    kept = await Calibrated(Fixed(4.0, 2.0), of_two, keep=["c1"])(QUERY, "r")
    assert kept.scores[1] == Score("c1", 2.0, "so")
    failed = await Calibrated(Fixed(None), of_two)(QUERY, "r")
    assert failed == Verdict(failed="mute")


def test_what_is_known_of_a_judge_survives_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    one, other = standing(0.7, name="perplexity"), standing(0.6, name="else")
    from trueup.judges.standing import home

    keep([one], home("model"))
    keep([other], home("model"))
    assert load(home("model")) == (one, other)
    assert known("model", "perplexity") == one
    assert known("another", "perplexity") is None
    # Other words are another judge.
    changed = standing(0.9, name="yes-no")
    keep([changed], home("model"))
    assert known("model", "yes-no") is None


def test_quantiles_stand_for_all() -> None:
    assert quantiles([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)
    some = quantiles([float(n) for n in range(330)], 33)
    assert len(some) == 33 and some[0] == 5.0 and some[-1] == 325.0
