"""Scores from token probabilities: spellings, coverage, phrasings, calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import BudgetSpent, JudgeError, ModelError, ModelRefused, ModelUnavailable
from trueup.judges.ask import Failure
from trueup.judges.criteria import POOL, Criterion
from trueup.judges.likelihood import (
    RATING,
    YES_NO,
    Likelihood,
    Reading,
    Weights,
    calibrated,
    pooled,
    weigh,
)
from trueup.models.scripted import Scripted
from trueup.types import (
    Choice,
    Message,
    Query,
    Reply,
    Request,
    Sampling,
    Score,
    TokenLogprob,
    Verdict,
)

QUERY = Query("How do I boil an egg?")
ASKED = (Message("user", "Is it good?"),)


def saying(spread: Mapping[str, float]) -> Reply:
    """A one-token reply whose alternatives have these probabilities."""
    top = tuple((token, math.log(p)) for token, p in spread.items())
    return Reply((Choice(top[0][0], logprobs=(TokenLogprob(*top[0], top=top),)),))


def model_saying(spread: Callable[[str], Mapping[str, float]] | Mapping[str, float]) -> Scripted:
    """A model whose spread may depend on what it is asked."""

    def script(request: Request) -> Reply:
        asked = "\n".join(message.content for message in request.prompt)
        return saying(spread(asked) if callable(spread) else spread)

    return Scripted(script)


def same(weights: Weights | Failure, shares: list[float], coverage: float) -> bool:
    assert isinstance(weights, Weights)
    return weights.shares == pytest.approx(shares) and weights.coverage == pytest.approx(coverage)


async def test_one_token_is_asked_for_with_its_alternatives() -> None:
    model = model_saying({"Yes": 0.6, "No": 0.2, "Well": 0.1})
    assert same(await weigh(model, ASKED, YES_NO.options), [0.75, 0.25], 0.8)
    assert model.requests == [Request(ASKED, Sampling(max_tokens=1), top_logprobs=20)]


async def test_spellings_of_an_option_are_added_up() -> None:
    spread = {" Yes": 0.2, "yes": 0.1, "YES": 0.1, "▁Yes": 0.05, "ĠYes.": 0.05, '"Yes"': 0.1}
    spread |= {"No": 0.1, " no": 0.1, "Not": 0.1, "Yesterday": 0.1}
    weights = await weigh(model_saying(spread), ASKED, YES_NO.options)
    assert same(weights, [0.75, 0.25], 0.8)


async def test_digits_and_words_are_ratings() -> None:
    weights = await weigh(model_saying({" 4": 0.3, "5": 0.3, "four": 0.2}), ASKED, RATING.options)
    assert same(weights, [0, 0, 0, 0.625, 0.375], 0.8)


async def test_the_drawn_token_counts_where_the_server_leaves_it_out_of_the_top() -> None:
    token = TokenLogprob("Yes", math.log(0.5), top=(("No", math.log(0.25)),))
    model = Scripted(lambda request: Reply((Choice("Yes", logprobs=(token,)),)))
    assert same(await weigh(model, ASKED, YES_NO.options), [2 / 3, 1 / 3], 0.75)


async def test_a_server_without_logprobs_fails_with_the_remedy() -> None:
    verdict = await Likelihood(Scripted(lambda request: "Yes"), phrasings=1)(QUERY, "Hm.")
    assert verdict.failed is not None and verdict.scores == ()
    assert "no log-probabilities; use a judge that writes (Dynamic)" in verdict.failed


async def test_a_model_that_does_not_answer_the_question_has_failed() -> None:
    for spread in ({"The": 0.9, "A": 0.1}, {"The": 0.9, "Yes": 0.001}):
        verdict = await Likelihood(model_saying(spread))(QUERY, "Hm.")
        assert verdict.failed is not None


@pytest.mark.parametrize("error", [BudgetSpent("spent"), ModelUnavailable("nobody there")])
async def test_what_ends_a_job_is_let_through(error: Exception) -> None:
    def script(request: Request) -> str:
        raise error

    with pytest.raises(type(error)):
        await Likelihood(Scripted(script))(QUERY, "Hm.")


async def test_a_failing_model_makes_a_failed_verdict() -> None:
    def script(request: Request) -> str:
        raise ModelRefused("too long")

    assert await Likelihood(Scripted(script))(QUERY, "Hm.") == Verdict(
        failed="Quality: the model failed: too long",
        dropped=("Quality: the model failed: too long",),
    )


async def test_the_score_is_one_plus_four_p() -> None:
    verdict = await Likelihood(model_saying({"Yes": 0.6, "No": 0.2}), phrasings=1)(QUERY, "Hm.")
    assert verdict == Verdict(
        (Score("Quality", pytest.approx(4.0), "p = 0.750, coverage 0.800, phrasings 1"),)
    )


async def test_a_rating_is_its_expectation() -> None:
    judge = Likelihood(model_saying({"2": 0.25, "4": 0.5, "5": 0.25}), scale=RATING, phrasings=1)
    assert (await judge(QUERY, "Hm.")).reward == pytest.approx(3.75, abs=1e-4)


async def test_each_criterion_is_asked_about_in_its_own_words_code_is_not() -> None:
    def spread(asked: str) -> Mapping[str, float]:
        yes = 0.9 if POOL[1].good in asked else 0.5
        return {"Yes": yes, "No": 1 - yes}

    short = Criterion("Short", good="is short", check=lambda query, reply: 2.0)
    verdict = await Likelihood(model_saying(spread), (POOL[0], POOL[1], short))(QUERY, "Hm.")
    assert {score.criterion: score.value for score in verdict.scores} == {
        "Short": 2.0,
        "Helpfulness": pytest.approx(3.0),
        "Clarity": pytest.approx(4.6),
    }


async def test_questions_on_one_reply_share_everything_before_the_question() -> None:
    model = model_saying({"Yes": 0.5, "No": 0.5})
    await Likelihood(model, POOL[:2])(QUERY, "Eight minutes.")
    texts = [request.prompt[-1].content for request in model.requests]
    assert len({text.rpartition("\n\n")[0] for text in texts}) == 1
    assert len({text.rpartition("\n\n")[2] for text in texts}) == len(texts)


async def test_a_phrasing_that_cannot_be_read_is_left_out() -> None:
    answers = iter([saying({"Yes": 0.9, "No": 0.1}), ModelError("half a reply")])

    def script(request: Request) -> Reply:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    reading = await Likelihood(Scripted(script), phrasings=2).read(QUERY, "Hm.")
    assert reading == Reading(pytest.approx(0.9), pytest.approx(1.0), 1)


async def test_a_leaning_is_taken_out_and_asked_for_once_per_query() -> None:
    """A model that says Yes to everything, with odds of 9 to 1, and twice as much to the good."""

    def spread(asked: str) -> Mapping[str, float]:
        odds = 9 * (2 if "Eight minutes." in asked else 1)
        return {"Yes": odds / (odds + 1), "No": 1 / (odds + 1)}

    model = model_saying(spread)
    judge = Likelihood(model, phrasings=1, neutral="N/A")
    good = await judge.read(QUERY, "Eight minutes.")
    other = await judge.read(QUERY, "I do not know.")
    assert isinstance(good, Reading) and isinstance(other, Reading)
    assert (good.p, other.p) == (pytest.approx(2 / 3), pytest.approx(0.5))
    assert len(model.requests) == 3


SHARES = st.lists(st.floats(0.001, 1), min_size=2, max_size=5).map(
    lambda masses: tuple(mass / sum(masses) for mass in masses)
)


@given(SHARES)
def test_pooling_equal_shares_changes_nothing(shares: tuple[float, ...]) -> None:
    assert pooled([shares, shares, shares]) == pytest.approx(shares)


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_calibrating_two_options_subtracts_log_odds(p: float, leaning: float) -> None:
    def log_odds(share: float) -> float:
        return math.log(share / (1 - share))

    (yes, no) = calibrated((p, 1 - p), (leaning, 1 - leaning))
    assert math.log(yes / no) == pytest.approx(log_odds(p) - log_odds(leaning), abs=1e-6)
    assert yes + no == pytest.approx(1)


@given(SHARES)
def test_a_reply_like_the_neutral_one_gets_even_shares(shares: tuple[float, ...]) -> None:
    assert calibrated(shares, shares) == pytest.approx([1 / len(shares)] * len(shares))


def test_no_phrasings_are_refused() -> None:
    with pytest.raises(JudgeError):
        Likelihood(model_saying({"Yes": 1.0}), phrasings=0)
