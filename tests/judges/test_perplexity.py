"""SAR's reward: exact where it can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from trueup.errors import JudgeError, ModelError, ModelRefused, ModelUnavailable
from trueup.jobs.job import Job
from trueup.jobs.scoring import criteria_of, judge_of, reporting
from trueup.judges.ask import Failure
from trueup.judges.checks import Length
from trueup.judges.criteria import Criterion
from trueup.judges.judge import Judge
from trueup.judges.perplexity import Perplexity, Surprise
from trueup.models.scripted import Scripted
from trueup.models.wire import FLOOR
from trueup.types import (
    Choice,
    Message,
    Query,
    Reply,
    Request,
    Sampling,
    TokenLogprob,
    Verdict,
)


def copying(p_copy: float, p_other: float) -> Scripted:
    """A model of two states: a word of the query has one probability, any other has another."""
    return Scripted(words(p_copy, p_other))


def words(p_copy: float, p_other: float) -> Callable[[Request], Reply]:
    def script(request: Request) -> Reply:
        assert request.forced is not None and not isinstance(request.prompt, str)
        asked = request.prompt[-1].content.split()
        tokens = tuple(
            TokenLogprob(word, math.log(p_copy if word in asked else p_other))
            for word in request.forced.split()[: request.sampling.max_tokens]
        )
        return Reply((Choice(request.forced, logprobs=tokens),))

    return script


async def test_a_reply_of_the_querys_words_has_the_reward_in_closed_form() -> None:
    model = copying(0.8, 0.2)
    judge = Perplexity(model, tokens=4)
    found = await judge.read(Query("red blue"), "red blue")
    assert isinstance(found, Surprise)
    assert found.reward == pytest.approx(1 - 0.2 / 0.8)
    verdict = await judge(Query("red blue"), "red blue")
    (score,) = verdict.scores
    assert (score.criterion, score.value) == ("Fit", pytest.approx(3 + 2 * 0.75))
    assert model.requests[:2] == [
        Request(
            (Message("user", asked),), Sampling(max_tokens=4), top_logprobs=1, forced="red blue"
        )
        for asked in ("red blue", "")
    ]
    # The empty turn is asked once, however often the reply comes.
    assert len(model.requests) == 3


async def test_words_that_have_nothing_to_do_with_the_query_lower_it() -> None:
    judge = Perplexity(copying(0.8, 0.2))
    rewards = []
    for reply in ("red", "red green", "red green grey", "green grey"):
        found = await judge.read(Query("red blue"), reply)
        assert isinstance(found, Surprise)
        rewards.append(found.reward)
    assert rewards == sorted(rewards, reverse=True)
    assert rewards[-1] == pytest.approx(0.0)


async def test_the_total_is_what_the_query_tells_of_all_tokens() -> None:
    model = copying(0.8, 0.2)
    found = await Perplexity(model).read(Query("red blue"), "red blue red")
    assert isinstance(found, Surprise)
    assert found.information == pytest.approx(3 * math.log(4))
    verdict = await Perplexity(model, total=True)(Query("red blue"), "red blue red")
    assert verdict.reward == pytest.approx(3 + 2 * math.tanh(3 * math.log(4) / 50))


async def test_an_empty_query_takes_nothing_away() -> None:
    verdict = await Perplexity(copying(0.8, 0.2))(Query(""), "red green")
    assert verdict.scores[0].value == pytest.approx(3.0)


def test_both_formulas_agree_and_the_lower_clip_holds() -> None:
    gain = 0.37
    found = Surprise(-1.0, -1.0 - gain, 9)
    ppl_alone, ppl_given = math.exp(1.0 + gain), math.exp(1.0)
    assert found.reward == pytest.approx((ppl_alone - ppl_given) / ppl_alone, abs=1e-12)
    assert Surprise(-50.0, -1.0, 3).reward == -1.0


async def test_what_cannot_be_measured_fails_with_its_reason() -> None:
    def refuses(request: Request) -> str:
        raise ModelRefused("this server cannot tell")

    assert await Perplexity(Scripted(refuses))(Query("q"), "r") == Verdict(
        failed="the model failed: this server cannot tell"
    )
    forced = TokenLogprob("r", 0.0)
    masked = Scripted(lambda request: Reply((Choice("r", logprobs=(forced,)),)))
    found = await Perplexity(masked).read(Query("q"), "r")
    assert isinstance(found, Failure) and "after it was made to" in found.reason
    found = await Perplexity(copying(0.8, 0.2)).read(Query("q"), " \n")
    assert isinstance(found, Failure) and "empty" in found.reason
    with pytest.raises(JudgeError):
        Perplexity(masked, tokens=0)


async def test_a_server_that_is_gone_ends_the_job() -> None:
    def gone(request: Request) -> str:
        raise ModelUnavailable("nobody answers")

    with pytest.raises(ModelUnavailable):
        await Perplexity(Scripted(gone))(Query("q"), "r")


def job_judge(script: Callable[[Request], Reply]) -> Judge:
    """The judge of `--judge perplexity`: the fit, and the checks beside it."""
    return judge_of("perplexity", criteria_of(Job(judge="perplexity")), Scripted(script))


async def test_a_reply_whose_fit_cannot_be_read_has_no_reward() -> None:
    def script(request: Request) -> Reply:
        if request.forced == "red blue":
            raise ModelError("half a reply")
        return words(0.8, 0.2)(request)

    judge = job_judge(script)
    query = Query("red green", should_answer=True)
    verdict = await judge(query, "red green")
    assert [score.criterion for score in verdict.scores] == [
        "Fit", "Safety", "Repetition", "On topic"
    ]  # fmt: skip
    assert await judge(query, "red blue") == Verdict(failed="the model failed: half a reply")


async def test_saying_nothing_is_scored_and_lowest() -> None:
    verdict = await job_judge(words(0.8, 0.2))(Query("red green", should_answer=True), "")
    assert [(score.criterion, score.value) for score in verdict.scores] == [
        ("Fit", 1.0), ("Safety", 1.0), ("Repetition", 1.0)
    ]  # fmt: skip


def test_only_code_stands_beside_the_fit_and_under_other_names() -> None:
    with pytest.raises(JudgeError, match="has no check"):
        Perplexity(copying(0.8, 0.2), checks=[Criterion("Kindness", good="is kind")])
    with pytest.raises(JudgeError, match="names of its own"):
        Perplexity(copying(0.8, 0.2), checks=[Length(most=3, name="Fit")])


@pytest.mark.parametrize("logprob", [FLOOR, -9999.0, -math.inf, math.inf, math.nan])
@pytest.mark.parametrize("asked", ["red blue", ""])
async def test_a_token_without_a_probability_is_no_surprise(logprob: float, asked: str) -> None:
    def script(request: Request) -> Reply:
        (choice,) = words(0.8, 0.2)(request).choices
        first, *rest = choice.logprobs or ()
        if isinstance(request.prompt, str) or request.prompt[-1].content == asked:
            first = TokenLogprob(first.token, logprob)
        return Reply((Choice(choice.text, logprobs=(first, *rest)),))

    reason = "the model gave no log-probability for 1 of 3 tokens of the text"
    query, reply = Query("red blue"), "red blue green"
    for judge in (
        Perplexity(Scripted(script)),
        Perplexity(Scripted(script), total=True),
        judge_of("perplexity", reporting("perplexity"), Scripted(script)),
        job_judge(script),
    ):
        assert await judge(query, reply) == Verdict(failed=reason)
