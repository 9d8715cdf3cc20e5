"""A question is answered, or fails with a reason: nothing in between."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import BudgetSpent, ModelError, ModelRefused, ModelUnavailable
from trueup.judges.ask import Failure, Unreadable, ask, parsed, read_score
from trueup.models.scripted import Scripted
from trueup.models.shape import LONGEST_ANSWER
from trueup.types import Message, Request, Sampling

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
MESSAGES = (Message("system", "Rules."), Message("user", "How many?"))


def read(data: Any) -> int:
    if "n" not in data:
        raise Unreadable("there was no n")
    return int(data["n"])


async def test_the_first_question_is_asked_as_given() -> None:
    model = Scripted(['{"n": 3}'])
    assert await ask(model, MESSAGES, SCHEMA, read, sampling=Sampling(seed=7)) == 3
    assert model.requests == [Request(MESSAGES, Sampling(seed=7), SCHEMA)]


async def test_what_cannot_be_read_is_asked_again_differently() -> None:
    model = Scripted(["no idea", '{"m": 1}', '{"n": 3}'])
    assert await ask(model, MESSAGES, SCHEMA, read) == 3
    first, second, third = model.requests
    assert [request.sampling.seed for request in model.requests] == [0, 1, 2]
    assert [request.sampling.temperature for request in model.requests] == [0.0, 0.3, 0.3]
    assert second.prompt[0] == first.prompt[0], "what came first stays, so that it is reused"
    assert second.prompt[1].content.startswith("How many?\n\n(An earlier answer")
    assert "there was no JSON object in the answer" in second.prompt[1].content
    assert "there was no n" in third.prompt[1].content


async def test_after_the_last_attempt_it_has_failed() -> None:
    model = Scripted(["", "{}", "novel " * 20_000])
    assert await ask(model, MESSAGES, SCHEMA, read) == Failure(
        "unreadable, asked 3 times: there was no JSON object in the answer", 3
    )
    assert len(model.requests) == 3


@pytest.mark.parametrize("error", [BudgetSpent("spent"), ModelUnavailable("nobody there")])
async def test_what_ends_a_job_is_let_through(error: Exception) -> None:
    def script(request: Request) -> str:
        raise error

    with pytest.raises(type(error)):
        await ask(Scripted(script), MESSAGES, SCHEMA, read)


async def test_a_refused_question_is_not_asked_again() -> None:
    def script(request: Request) -> str:
        raise ModelRefused("the prompt is too long")

    model = Scripted(script)
    assert await ask(model, MESSAGES, SCHEMA, read) == Failure(
        "the model refused the question: the prompt is too long", 1
    )


async def test_a_failing_model_is_asked_the_same_again() -> None:
    answers = [ModelError("no answer from 127.0.0.1:41873"), "no idea", ModelError("no"), "{}"]

    def script(request: Request) -> str:
        answer = answers[len(model.requests) - 1]
        if isinstance(answer, ModelError):
            raise answer
        return answer

    model = Scripted(script)
    failure = await ask(model, MESSAGES, SCHEMA, read, attempts=4)
    assert failure == Failure("unreadable, asked 4 times: there was no n", 4)
    first, second, third, fourth = model.requests
    assert first == second and third == fourth
    # As it would have been asked had the model never failed: a store finds it again.
    unfailing = Scripted(["no idea", "{}"])
    await ask(unfailing, MESSAGES, SCHEMA, read, attempts=2)
    assert unfailing.requests == [first, third]


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 3}',
        '```json\n{"n": 3}\n```',
        'Sure! Here it is: {"n": 3} I hope this helps.',
        '<think>maybe {"n": 1}? no</think>{"n": 3}',
        "{'n': 3,}",
        '{"n": 3',
        '[{"n": 3}]',
    ],
)
def test_json_is_found_in_what_models_write(text: str) -> None:
    assert parsed(text) == {"n": 3}


@pytest.mark.parametrize(
    "text",
    ["", "   ", "3", "null", '"n"', "[]", "{}", "{" * 3000, '{"n": 1} {"n": 3}', "a" * 100_000],
)
def test_what_is_not_one_object_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        read(parsed(text))


def test_only_the_beginning_of_a_novel_is_read() -> None:
    with pytest.raises(Unreadable):
        parsed("x" * LONGEST_ANSWER + '{"n": 3}')


@given(st.text())
def test_any_text_is_read_or_unreadable(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(parsed(text), dict)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans(), min_size=1))
def test_json_is_read_as_it_is(data: dict[str, Any]) -> None:
    assert parsed(json.dumps(data)) == data


@pytest.mark.parametrize(
    ("written", "score"),
    [
        (4, 4.0),
        (4.5, 4.5),
        ("4", 4.0),
        ("4/5", 4.0),
        ("4.5/5.0", 4.5),
        ("4 out of 5", 4.0),
        ("4,5", 4.5),
        ("four", 4.0),
        ("Five out of five", 5.0),
        ("a score of 5", 5.0),
        ("a score of five", 5.0),
        ("I give this one a score of 5", 5.0),
        ("a score of 4", 4.0),
        ("a score of 5 out of 5", 5.0),
        ("a score of 4 of 5", 4.0),
        ("5 of 5", 5.0),
        ("4 stars of 5", 4.0),
        ("three of five", 3.0),
        ("4 (out of 5)", 4.0),
        ("4 (good)", 4.0),
        ("**3**", 3.0),
        ("Score: 2", 2.0),
    ],
)
def test_scores_as_models_write_them(written: object, score: float) -> None:
    assert read_score(written) == score


@pytest.mark.parametrize(
    "written",
    [
        *(7, 0, -1, 5.5, True, None, float("nan"), float("inf"), 10**400, [4], {"score": 4}),
        *(
            "7",
            "-3",
            "8/10",
            "4/50",
            "/5",
            "out of 5",
            "4 of 50",
            "3-4",
            "between 3 and 4",
            "three or four",
            "good",
            "",
        ),
    ],
)
def test_scores_off_the_scale_or_ambiguous_are_not_bent_to_fit(written: object) -> None:
    with pytest.raises(Unreadable):
        read_score(written)
