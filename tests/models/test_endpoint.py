"""The endpoint against a server that lacks things and breaks in every way we know of."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest

from trueup.errors import ModelError, ModelRefused, ModelUnavailable, SettingsError
from trueup.models.endpoint import Endpoint
from trueup.models.pace import Pace
from trueup.models.patience import Patience
from trueup.models.wire import FLOOR
from trueup.types import Choice, Message, Reply, Request, Sampling, TokenLogprob, Usage

from .fake_server import FakeServer, hang, reset, says, status, truncated

KEY = "sk-planted-7f3a"
CHAT = "/v1/chat/completions"
RAW = "/v1/completions"
USAGE = Usage(tokens_in=7, tokens_out=3)
SCORE = {
    "type": "object",
    "properties": {"score": {"type": "integer"}, "why": {"type": "string"}},
    "required": ["score"],
}
HASTY = Patience(attempts=4, seconds=20, first_wait=0.001, longest_wait=0.002)


@pytest.fixture
async def model(server: FakeServer) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(server.url, "fake", patience=HASTY, timeout=5)
    yield endpoint
    await endpoint.close()


def ask(text: str = "hello", **settings: Any) -> Request:
    top = settings.pop("top_logprobs", 0)
    schema = settings.pop("schema", None)
    system = settings.pop("system", None)
    turns = (Message("user", text),)
    if system is not None:
        turns = (Message("system", system), *turns)
    return Request(turns, Sampling(max_tokens=16, **settings), schema=schema, top_logprobs=top)


def timeless(reply: Reply) -> Reply:
    assert reply.seconds > 0
    return Reply(reply.choices, reply.usage)


def said(*texts: str, usage: Usage = USAGE) -> Reply:
    return Reply(tuple(Choice(text) for text in texts), usage)


# -- what goes out and what comes back ----------------------------------------------------------


async def test_a_conversation_goes_out_whole_and_comes_back(
    server: FakeServer, model: Endpoint
) -> None:
    request = ask(system="Be kind.", temperature=0.5, top_p=0.9, stop=("END",), seed=3, n=2)
    assert timeless(await model.reply(request)) == said("hello!", "hello! (1)")
    assert server.bodies() == [
        {
            "model": "fake",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "hello"},
            ],
            "max_tokens": 16,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["END"],
            "seed": 3,
            "n": 2,
        }
    ]
    assert model.quirks == ()


async def test_a_string_is_continued_raw(server: FakeServer, model: Endpoint) -> None:
    reply = await model.reply(Request("Once upon", Sampling(max_tokens=4)))
    assert timeless(reply) == said("Once upon!")
    assert server.bodies(RAW) == [
        {"model": "fake", "prompt": "Once upon", "max_tokens": 4, "temperature": 0.0, "seed": 0}
    ]


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "?a=b"])
async def test_the_url_may_be_written_in_any_usual_way(server: FakeServer, ending: str) -> None:
    model = Endpoint(server.url + ending, "fake")
    await model.reply(ask())
    await model.close()
    assert [one.path for one in server.seen] == [CHAT]
    assert model.identity == f"endpoint:{server.url}/v1#fake"


async def test_a_schema_is_sent_and_a_reply_in_shape_is_kept(
    server: FakeServer, model: Endpoint
) -> None:
    server.write = lambda body, place: '{"score": 4, "why": "good"}'
    reply = await model.reply(ask(schema=SCORE))
    assert timeless(reply) == said('{"score": 4, "why": "good"}')
    assert [body["response_format"] for body in server.bodies()] == [
        {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCORE, "strict": False}}
    ]


async def test_log_probabilities_in_the_newer_layout(server: FakeServer, model: Endpoint) -> None:
    reply = await model.reply(ask(top_logprobs=2))
    token = TokenLogprob("hi", -0.5, (("hi", -0.5), ("yo", -1.5)))
    assert timeless(reply) == Reply((Choice("hello!", "stop", (token,)),), USAGE)
    assert (server.bodies()[0]["logprobs"], server.bodies()[0]["top_logprobs"]) == (True, 2)


async def test_log_probabilities_in_the_older_layout(server: FakeServer, model: Endpoint) -> None:
    server.logprobs = lambda body: {
        "tokens": ["a", "b"],
        "token_logprobs": [None, -0.25],
        "top_logprobs": [None, {"c": -2.0, "b": -0.25}],
    }
    reply = await model.reply(Request("x", Sampling(), top_logprobs=2))
    assert reply.choices[0].logprobs == (
        TokenLogprob("a", FLOOR),
        TokenLogprob("b", -0.25, (("b", -0.25), ("c", -2.0))),
    )
    assert server.bodies(RAW)[0]["logprobs"] == 2


async def test_log_probabilities_that_are_no_numbers_become_the_floor(
    server: FakeServer, model: Endpoint
) -> None:
    server.logprobs = lambda body: {
        "content": [
            {
                "token": "x",
                "logprob": float("nan"),
                "top_logprobs": [
                    {"token": "y", "logprob": float("-inf")},
                    {"token": "z", "logprob": 1e-9},
                ],
            }
        ]
    }
    reply = await model.reply(ask(top_logprobs=2))
    assert reply.choices[0].logprobs == (TokenLogprob("x", FLOOR, (("z", 0.0), ("y", FLOOR))),)


@pytest.mark.parametrize(
    ("given", "finish"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("content_filter", "filter"),
        ("tool_calls", "unknown"),
        (None, "unknown"),
        ([1], "unknown"),
    ],
)
async def test_why_a_reply_ended(
    server: FakeServer, model: Endpoint, given: object, finish: str
) -> None:
    server.finish = given
    assert (await model.reply(ask())).choices[0].finish == finish


@pytest.mark.parametrize(
    ("usage", "extra", "read"),
    [
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 5},
            },
            {},
            Usage(9, 2, 5),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 2}, {"timings": {"cache_n": 4}}, Usage(9, 2, 4)),
        ({"prompt_tokens": None, "completion_tokens": float("nan")}, {}, Usage()),
    ],
)
async def test_what_a_call_cost(
    server: FakeServer, model: Endpoint, usage: Any, extra: Any, read: Usage
) -> None:
    server.usage, server.extra = usage, extra
    assert (await model.reply(ask())).usage == read


async def test_llama_cpp_counts_one_choice_so_the_others_are_estimated(
    server: FakeServer, model: Endpoint
) -> None:
    server.extra = {"timings": {"predicted_n": 3}}
    server.write = lambda body, place: "four" * (place + 1)
    assert (await model.reply(ask(n=3))).usage == Usage(7, 18)


@pytest.mark.parametrize(("seed", "sent"), [(-1, 2**31 - 1), (2**32 - 1, 2**31 - 1), (7, 7)])
async def test_no_seed_is_one_that_servers_read_as_random(
    server: FakeServer, model: Endpoint, seed: int, sent: int
) -> None:
    await model.reply(ask(seed=seed))
    assert server.bodies()[0]["seed"] == sent


async def test_lone_surrogates_are_replaced_before_sending(
    server: FakeServer, model: Endpoint
) -> None:
    await model.reply(ask("a\ud800b"))
    assert server.bodies()[0]["messages"][0]["content"] == "a\ufffdb"


async def test_embeddings_are_unit_rows_in_the_order_asked(
    server: FakeServer, model: Endpoint
) -> None:
    rows = await model.embed(["a", "", *map(str, range(70))])
    assert rows.shape == (72, 2) and rows.dtype == np.float32
    np.testing.assert_allclose(rows[:2], [[1.0, 0.0], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)
    asked = server.bodies("/v1/embeddings")
    assert [text for body in asked for text in body["input"]][:3] == ["a", " ", "0"]
    assert (await model.embed([])).shape == (0, 0)


# -- what a server lacks ------------------------------------------------------------------------


async def test_a_schema_that_is_refused_is_asked_for_in_words_from_then_on(
    server: FakeServer, model: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses(lambda body: "response_format" in body, 400, "response_format not supported")
    server.write = lambda body, place: 'Sure:\n```json\n{"score": 4,}\n```'
    with caplog.at_level(logging.WARNING, "trueup"):
        first = await model.reply(ask("rate", schema=SCORE))
        second = await model.reply(ask("rate", schema=SCORE))
    assert timeless(first) == timeless(second) == said('{"score": 4}')
    assert ["response_format" in body for body in server.bodies()] == [True, False, False]
    asked = server.bodies()[1]["messages"][-1]["content"]
    assert asked.startswith("rate\n\n") and json.dumps(SCORE, sort_keys=True) in asked
    assert [record.getMessage() for record in caplog.records] == list(model.quirks)
    assert model.quirks == (
        f"{server.url}/v1 does not obey every JSON schema: then the shape is asked for in words, "
        "and again (it refused one).",
    )


async def test_a_schema_that_is_refused_speaks_for_no_other(
    server: FakeServer, model: Endpoint
) -> None:
    server.refuses(
        lambda body: "why" in json.dumps(body.get("response_format")),
        400,
        "Invalid schema for response_format 'reply': 'why' must be required",
    )
    server.write = lambda body, place: '{"score": 4}'
    plain = {key: value for key, value in SCORE.items() if key != "properties"}
    for schema in (SCORE, plain, SCORE):
        await model.reply(ask(schema=schema))
    assert ["response_format" in body for body in server.bodies()] == [True, False, True, False]


async def test_a_number_of_choices_that_is_refused_speaks_for_no_other(
    server: FakeServer, model: Endpoint
) -> None:
    server.refuses(lambda body: body.get("n", 1) > 2, 400, "n must be at most 2")
    for n in (3, 2, 3):
        assert len((await model.reply(ask(n=n))).choices) == n
    assert [body.get("n", 1) for body in server.bodies()] == [3, 1, 1, 1, 2, 1, 1, 1]


async def test_what_was_asked_before_decides_no_reply(server: FakeServer) -> None:
    """Decided by the request alone: prose for a schema, one choice of several, no probabilities."""

    def number(body: dict[str, Any]) -> int:
        return int(body["messages"][0]["content"].split()[0])

    def write(body: dict[str, Any], place: int) -> str:
        if "response_format" in body and number(body) % 3 == 0:
            return "I like it."
        return json.dumps({"score": number(body), "why": f"{sorted(body)} {place}"})

    usual = server._completion

    def completion(body: dict[str, Any], *, chat: bool) -> dict[str, Any]:
        server.draws_n = number(body) % 4 > 0
        return usual(body, chat=chat)

    server._completion = completion  # type: ignore[method-assign]
    server.write = write
    probable = server.logprobs
    server.logprobs = lambda body: probable(body) if number(body) % 5 else None
    asked = [
        ask(f"{i} is good", **settings)
        for i in range(8)
        for settings in ({"schema": SCORE}, {"n": 3}, {"top_logprobs": 2})
    ]

    async def told(order: list[int]) -> dict[int, object]:
        model = Endpoint(server.url, "fake", patience=HASTY)
        found: dict[int, object] = {}
        for place in order:
            try:
                found[place] = (await model.reply(asked[place])).choices
            except ModelRefused as refused:
                found[place] = str(refused)
        await model.close()
        return found

    order = list(range(len(asked)))
    assert await told(order) == await told(order[::-1]) == await told([*order[9:], *order[:9]])


async def test_a_schema_that_is_silently_ignored_is_noticed_each_time(
    server: FakeServer, model: Endpoint
) -> None:
    server.write = lambda body, place: (
        '{"score": 2}' if "JSON" in body["messages"][-1]["content"] else "I like it."
    )
    reply = await model.reply(ask("rate", schema=SCORE))
    assert timeless(reply) == said('{"score": 2}', usage=USAGE + USAGE)
    assert timeless(await model.reply(ask("rate", schema=SCORE))) == timeless(reply)
    assert ["response_format" in body for body in server.bodies()] == [True, False] * 2
    assert len(model.quirks) == 1


async def test_one_slip_of_a_server_with_schemas_is_mended_and_not_held_against_it(
    server: FakeServer, model: Endpoint
) -> None:
    texts = iter(['{"score": 1}', '{"score": 2}', '{"score": 3}', '{"score": 4', '{"score": 5}'])
    server.write = lambda body, place: next(texts)
    replies = [await model.reply(ask(schema=SCORE)) for _ in range(5)]
    assert [reply.text for reply in replies] == [f'{{"score": {i}}}' for i in range(1, 6)]
    assert all("response_format" in body for body in server.bodies())
    assert model.quirks == ()


async def test_a_reply_that_never_fits_is_given_as_it_is_after_two_more_tries(
    server: FakeServer, model: Endpoint
) -> None:
    server.refuses(lambda body: "response_format" in body, 422, "extra field response_format")
    server.write = lambda body, place: '{"score": "high"}'
    reply = await model.reply(ask("rate", schema=SCORE, seed=5))
    assert timeless(reply) == said('{"score": "high"}', usage=USAGE + USAGE + USAGE)
    first, *again = server.bodies()[1:]
    assert len(again) == 2
    assert [turn["role"] for turn in again[1]["messages"]] == ["user", "assistant", "user"]
    assert again[1]["messages"][-1]["content"].endswith("$.score is not of type integer")
    assert len({body["seed"] for body in (first, *again)}) == 3


async def test_a_reply_cut_off_by_length_is_no_evidence_against_schemas(
    server: FakeServer, model: Endpoint
) -> None:
    server.finish, server.write = "length", lambda body, place: '{"sco'
    server.usage = {"prompt_tokens": 7, "completion_tokens": 16}
    assert (await model.reply(ask(schema=SCORE))).text == '{"sco'
    assert (len(server.seen), model.quirks) == (1, ())


async def test_many_at_once_all_get_their_shape(
    server: FakeServer, model: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    server.write = lambda body, place: (
        '{"score": 2}' if "JSON" in body["messages"][-1]["content"] else "I like it."
    )
    replies = await asyncio.gather(*(model.reply(ask(f"{i}", schema=SCORE)) for i in range(20)))
    assert {reply.text for reply in replies} == {'{"score": 2}'}
    assert len(model.quirks) == len(caplog.records) == 1


async def test_a_server_that_ignores_n_is_asked_several_times(
    server: FakeServer, model: Endpoint
) -> None:
    server.draws_n = False
    server.write = lambda body, place: f"drawn with {body['seed']}"
    texts = ("drawn with 10", "drawn with 11", "drawn with 12")
    first = await model.reply(ask(n=3, seed=10))
    second = await model.reply(ask(n=3, seed=10))
    assert timeless(first) == timeless(second) == said(*texts, usage=USAGE + USAGE + USAGE)
    assert [body.get("n") for body in server.bodies()] == [3, None, None] * 2
    assert len(model.quirks) == 1


async def test_a_server_that_refuses_n_is_asked_several_times(
    server: FakeServer, model: Endpoint
) -> None:
    server.refuses(lambda body: "n" in body, 400, "Only one completion choice is allowed: 'n'")
    server.write = lambda body, place: f"{body['seed']}"
    assert [one.text for one in (await model.reply(ask(n=2))).choices] == ["0", "1"]


async def test_more_choices_than_the_server_takes_at_once_go_in_parts(server: FakeServer) -> None:
    model = Endpoint(server.url, "fake", most_choices=4)
    server.write = lambda body, place: str(body["seed"] + place)
    reply = await model.reply(ask(n=10))
    await model.close()
    assert [choice.text for choice in reply.choices] == [str(i) for i in range(10)]
    assert [body.get("n", 1) for body in server.bodies()] == [4, 4, 2]
    assert model.quirks == ()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("seed", "Unrecognized request argument supplied: seed"),
        ("temperature", "'temperature' does not support 0.0 with this model."),
        ("top_p", "top_p is not supported"),
        ("max_tokens", "Unsupported parameter: use 'max_completion_tokens' instead."),
    ],
)
async def test_a_setting_that_is_refused_is_left_out_from_then_on(
    server: FakeServer, model: Endpoint, field: str, message: str
) -> None:
    server.refuses(lambda body: field in body, 400, message)
    for _ in range(2):
        assert timeless(await model.reply(ask(top_p=0.5))) == said("hello!")
    assert [field in body for body in server.bodies()] == [True, False, False]
    assert len(model.quirks) == 1
    if field == "max_tokens":
        assert server.bodies()[-1]["max_completion_tokens"] == 16


async def test_several_lacks_are_learned_in_one_go(server: FakeServer, model: Endpoint) -> None:
    server.refuses(lambda body: "seed" in body, 400, "seed is not supported")
    server.refuses(lambda body: "n" in body, 400, {"error": {"message": "no", "param": "n"}})
    reply = await model.reply(ask(n=2))
    assert [one.text for one in reply.choices] == ["hello!", "hello!"]
    assert len(model.quirks) == 2


async def test_without_a_system_role_its_text_goes_before_the_first_user_turn(
    server: FakeServer, model: Endpoint
) -> None:
    server.refuses(
        lambda body: body["messages"][0]["role"] == "system", 500, "System role not supported"
    )
    await model.reply(ask(system="Be kind."))
    assert server.bodies()[-1]["messages"] == [{"role": "user", "content": "Be kind.\n\nhello"}]
    assert len(server.seen) == 2 and len(model.quirks) == 1


async def test_what_worked_before_is_not_blamed_for_a_broken_moment(
    server: FakeServer, model: Endpoint
) -> None:
    await model.reply(ask(system="Be kind."))
    server.next(status(500, "system message: unsupported state"))
    await model.reply(ask(system="Be kind."))
    assert {len(body["messages"]) for body in server.bodies()} == {2}
    assert model.quirks == ()


@pytest.mark.parametrize("code", [404, 405, 501])
async def test_without_raw_completions_a_base_model_is_refused_with_the_remedy(
    server: FakeServer, model: Endpoint, code: int
) -> None:
    server.refuses(lambda body: "prompt" in body, code, "Not Found")
    for _ in range(2):
        with pytest.raises(ModelRefused, match=r"continue raw text.*chat model"):
            await model.reply(Request("Once"))
    assert len(server.seen) == 1


@pytest.mark.parametrize("refusing", [True, False])
async def test_without_log_probabilities_those_who_need_them_are_told(
    server: FakeServer, model: Endpoint, refusing: bool
) -> None:
    if refusing:
        server.refuses(lambda body: "logprobs" in body, 400, "logprobs are not supported")
    server.logprobs = lambda body: None
    for _ in range(2):
        with pytest.raises(ModelRefused, match=r"no token log-probabilities.*use a judge"):
            await model.reply(ask(top_logprobs=2))
    # What is missing without a word is asked for again, and says nothing of the next request.
    assert len(server.seen) == (1 if refusing else 6)
    assert (await model.reply(ask())).choices[0].logprobs is None


async def test_log_probabilities_that_are_missing_for_once_are_asked_for_again(
    server: FakeServer, model: Endpoint
) -> None:
    server.next(says('{"choices": [{"message": {"content": "hello!"}}]}'))
    assert (await model.reply(ask(top_logprobs=2))).choices[0].logprobs


async def test_half_a_character_without_a_log_probability_is_a_reply(
    server: FakeServer, model: Endpoint
) -> None:
    """A query in another script has a model begin a letter that one token cannot finish; llama.cpp
    then gives no log-probabilities. That is one unreadable reply, and no reason to end a run."""
    usual = server.logprobs
    for first in (True, False):
        server.logprobs, server.write = (lambda body: None), (lambda body, place: "\ufffd")
        reply = await model.reply(ask(top_logprobs=2, seed=int(first)))
        assert reply.choices[0] == Choice("\ufffd", reply.choices[0].finish, ())
        server.logprobs, server.write = usual, (lambda body, place: "hello!")
        assert (await model.reply(ask(top_logprobs=2, seed=2))).choices[0].logprobs
    assert model.quirks == ()


async def test_too_many_log_probabilities_are_no_lack(server: FakeServer, model: Endpoint) -> None:
    server.refuses(
        lambda body: body.get("top_logprobs", 0) > 5, 400, "top_logprobs must be at most 5"
    )
    with pytest.raises(ModelRefused, match="at most 5"):
        await model.reply(ask(top_logprobs=20))
    assert (await model.reply(ask(top_logprobs=5))).choices[0].logprobs
    assert model.quirks == ()


async def test_a_server_without_usage_is_said_once(server: FakeServer, model: Endpoint) -> None:
    server.usage = None
    replies = [await model.reply(ask()) for _ in range(2)]
    assert [reply.usage for reply in replies] == [Usage(), Usage()]
    assert len(model.quirks) == 1


async def test_without_embeddings_the_remedy_is_said(server: FakeServer, model: Endpoint) -> None:
    server.refuses(lambda body: "input" in body, 501, "not implemented")
    with pytest.raises(ModelRefused, match=r"no embeddings.*retrieve by words"):
        await model.embed(["a"])


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (400, "This model's maximum context length is 512 tokens"),
        (402, "no credit"),
        (403, "Your input was flagged"),
        (404, "Not Found"),
    ],
)
async def test_why_there_are_no_embeddings_is_said(
    server: FakeServer, model: Endpoint, code: int, text: str
) -> None:
    server.next(status(code, text))
    with pytest.raises(ModelError, match=rf"no embeddings with fake.*{text}.*retrieve by words"):
        await model.embed(["a"])


# -- what breaks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        status(408),
        status(409),
        status(425),
        status(429),
        status(500, "boom"),
        status(502, "<html>bad gateway</html>"),
        status(503),
        says('{"choices": [{"mess'),
        says('{"choices": []}'),
        says("{}{}"),
        says(""),
        says(b"\xff\xfe"),
        says("[" * 100_000),
        says("null"),
        says('{"choices": [{"message": {"content": 3}}]}'),
        says('{"choices": [7]}'),
        says('{"error": {"message": "overloaded", "code": 502}}'),
        says('{"error": "overloaded"}'),
        says("<html></html>", "text/html"),
        reset,
        truncated,
    ],
)
async def test_a_fault_is_followed_by_another_attempt(
    server: FakeServer, model: Endpoint, fault: Any
) -> None:
    server.next(fault, fault)
    assert timeless(await model.reply(ask())) == said("hello!")
    assert len(server.seen) == 3 and model.quirks == ()
    assert server.bodies()[0] == server.bodies()[2]


NAN = '{"content": [{"token": "x", "logprob": NaN, "top_logprobs": []}]}'


@pytest.mark.parametrize(
    ("ending", "logprobs"), [("length", "null"), ("content_filter", "null"), ("stop", NAN)]
)
async def test_what_looks_broken_is_asked_again_and_then_believed(
    server: FakeServer, model: Endpoint, ending: str, logprobs: str
) -> None:
    def strange(text: str) -> Any:
        choice = f'{{"text": "{text}", "finish_reason": "{ending}", "logprobs": {logprobs}}}'
        usage = '{"prompt_tokens": 7, "completion_tokens": 3}'
        return says(f'{{"choices": [{choice}], "usage": {usage}}}')

    asked = ask(top_logprobs=1) if logprobs == NAN else ask()
    server.next(strange("cut"))
    assert (await model.reply(asked)).text == "hello!"  # it was a moment's fault
    server.next(*[strange("cut")] * 3)
    assert (await model.reply(asked)).text == "cut"  # it means it
    server.next(*[strange(text) for text in "abcd"])
    reply = await model.reply(asked)
    assert reply.text == "d"  # it will not get better
    assert reply.usage == USAGE + USAGE + USAGE + USAGE  # all four were paid for
    assert len(server.seen) == 2 + 3 + 4
    server.seen.clear()
    trusting = Endpoint(server.url, "fake", trusted=True)
    server.next(strange("cut"))
    assert ((await trusting.reply(asked)).text, len(server.seen)) == ("cut", 1)
    await trusting.close()


async def test_who_tries_once_believes_what_comes_again(server: FakeServer) -> None:
    model = Endpoint(server.url, "fake", patience=replace(HASTY, attempts=1))
    server.finish = "content_filter"
    assert (await model.reply(ask())).choices == (Choice("hello!", "filter"),)
    assert len(server.seen) == 3
    server.seen.clear()
    server.next(says('{"choices": []}'))
    with pytest.raises(ModelUnavailable, match="at the first attempt"):
        await model.reply(ask())
    assert len(server.seen) == 1
    await model.close()


async def test_an_error_sent_as_an_answer_is_an_error(server: FakeServer, model: Endpoint) -> None:
    server.next(says('{"error": {"message": "bad seed parameter: not supported", "code": 400}}'))
    assert timeless(await model.reply(ask())) == said("hello!")
    assert ["seed" in body for body in server.bodies()] == [True, False]
    server.next(says('{"error": {"message": "Forbidden", "code": 403}}'))
    with pytest.raises(ModelRefused, match=r"refused a request without a key \(403\)"):
        await model.reply(ask())


async def test_the_content_type_does_not_matter(server: FakeServer, model: Endpoint) -> None:
    server.next(says('{"choices": [{"text": "fine", "finish_reason": "stop"}]}', "text/plain"))
    assert (await model.reply(ask())).text == "fine"


async def test_a_hanging_server_is_asked_again_after_the_timeout(server: FakeServer) -> None:
    model = Endpoint(server.url, "fake", timeout=0.2, patience=HASTY)
    server.next(hang)
    assert timeless(await model.reply(ask())) == said("hello!")
    await model.close()


async def test_patience_ends_with_a_sentence(server: FakeServer, model: Endpoint) -> None:
    server.next(*[status(503, "warming up")] * 4)
    with pytest.raises(ModelUnavailable) as caught:
        await model.reply(ask())
    assert str(caught.value) == (
        f"{server.url}{CHAT} gave no usable answer after 4 attempts: it answered 503 (warming up). "
        "Check that the server runs and that the URL is right, then run again."
    )
    assert len(server.seen) == 4


async def test_nobody_there(unused_tcp_port: int) -> None:
    model = Endpoint(f"http://127.0.0.1:{unused_tcp_port}", "x", patience=HASTY)
    with pytest.raises(ModelUnavailable, match="after 4 attempts: the connection failed"):
        await model.reply(ask())
    with pytest.raises(ModelUnavailable, match="after 2 attempts"):
        await model.check()
    await model.close()


@pytest.mark.parametrize("code", [400, 403, 422, 413])
async def test_a_refusal_is_not_repeated(server: FakeServer, model: Endpoint, code: int) -> None:
    server.next(status(code, "no thanks"))
    with pytest.raises(ModelRefused):
        await model.reply(ask())
    assert len(server.seen) == 1


async def test_a_prompt_that_is_too_long_says_so(server: FakeServer, model: Endpoint) -> None:
    server.next(status(400, "the request exceeds the available context size"))
    with pytest.raises(ModelRefused, match=r"prompt is too long.*shorten it"):
        await model.reply(ask())


async def test_a_403_is_about_the_key_only_where_it_says_so(
    server: FakeServer, model: Endpoint
) -> None:
    for text in ("Forbidden", "Invalid API key", "This token has no access"):
        server.next(status(403, text))
        with pytest.raises(ModelRefused, match=r"\(403\): put a valid key"):
            await model.reply(ask())
    said = '{"error": {"message": "Access denied", "code": "invalid_api_key"}}'
    server.next(says(said, code=403))
    with pytest.raises(ModelRefused, match=r"\(403\): put a valid key"):
        await model.reply(ask())
    server.next(status(403, "Your input was flagged for violence"))
    with pytest.raises(ModelRefused) as caught:
        await model.reply(ask())
    assert str(caught.value) == (
        f"{server.url}/v1 answered 403 (Your input was flagged for violence): change what is "
        "asked, or ask whoever runs the server to allow it."
    )


async def test_an_empty_account_is_not_waited_for(server: FakeServer, model: Endpoint) -> None:
    server.next(status(429, "You exceeded your current quota"))
    with pytest.raises(ModelUnavailable, match=r"no credit left.*top it up, then run again"):
        await model.reply(ask())
    assert len(server.seen) == 1


@pytest.mark.parametrize("code", [429, 503])
async def test_a_wait_longer_than_patience_is_not_begun_by_anybody(
    server: FakeServer, code: int
) -> None:
    model = Endpoint(server.url, "fake", patience=HASTY, concurrency=1)
    server.next(*[status(code, "slow down", {"Retry-After": "3600"})] * 2)
    async with asyncio.timeout(5):
        found = await asyncio.gather(
            *(model.reply(ask()) for _ in range(3)), return_exceptions=True
        )
        await model.check()
    await model.close()
    assert [type(one) for one in found] == [ModelUnavailable, ModelUnavailable, Reply]
    assert "asks for a wait of 3600 seconds" in str(found[0])
    assert [one.path for one in server.seen] == [CHAT, CHAT, CHAT, "/v1/models"]


async def test_one_429_slows_everybody(server: FakeServer) -> None:
    class Watched(Pace):
        def told_to_wait(self, seconds: float) -> None:
            super().told_to_wait(seconds)
            told.set()

    told = asyncio.Event()
    model = Endpoint(server.url, "fake", patience=HASTY, pace=Watched(16))
    server.next(status(429, "slow down", {"Retry-After": "0.3"}))
    first = asyncio.create_task(model.reply(ask("first")))
    async with asyncio.timeout(5):
        await told.wait()
    await asyncio.gather(first, model.reply(ask("second")))
    await model.close()
    refused, *others = server.seen
    assert len(others) == 2 and all(one.at - refused.at >= 0.29 for one in others)


async def test_a_date_to_wait_for_is_read_against_the_servers_own_clock(
    server: FakeServer, model: Endpoint
) -> None:
    long_ago = 1_000_000_000
    dates = {
        "Date": formatdate(long_ago, usegmt=True),
        "Retry-After": formatdate(long_ago + 3600, usegmt=True),
    }
    server.next(status(503, "", dates))
    with pytest.raises(ModelUnavailable, match="wait of 3600 seconds"):
        await model.reply(ask())


async def test_no_more_requests_than_the_concurrency_are_under_way(server: FakeServer) -> None:
    model = Endpoint(server.url, "fake", concurrency=3)
    server.delay = 0.02
    await asyncio.gather(*(model.reply(ask(f"{i}")) for i in range(12)))
    await model.close()
    assert (server.busiest, len(server.seen)) == (3, 12)


async def test_a_failure_among_several_ends_the_others(server: FakeServer) -> None:
    model = Endpoint(server.url, "fake", concurrency=1)
    server.draws_n = False
    await model.reply(ask(n=2))
    server.seen.clear()
    server.refuses(lambda body: True, 403, "no")
    server.delay = 0.02
    with pytest.raises(ModelRefused):
        await model.reply(ask(n=9))
    assert len(server.seen) <= 2  # one may have been on its way
    await model.close()


# -- keys, models, addresses --------------------------------------------------------------------


async def test_check_passes_and_pays_nothing(server: FakeServer, model: Endpoint) -> None:
    await model.check()
    server.models = None
    await model.check()
    assert [(one.method, one.path) for one in server.seen] == [("GET", "/v1/models")] * 2


@pytest.mark.parametrize(
    ("listed", "asked", "there"),
    [
        ({"id": "llama3:latest"}, "llama3", True),
        ({"id": "/a/b.gguf", "owned_by": "llamacpp"}, "anything", True),
        ({"id": "other"}, "llama3", False),
    ],
)
async def test_check_knows_how_servers_name_models(
    server: FakeServer, listed: Any, asked: str, there: bool
) -> None:
    server.models = [listed]
    model = Endpoint(server.url, asked)
    if there:
        await model.check()
    else:
        with pytest.raises(ModelRefused, match=r"has no model 'llama3': name another\. It offers"):
            await model.check()
    await model.close()


async def test_a_model_that_is_not_there_is_answered_with_those_that_are(
    server: FakeServer, model: Endpoint
) -> None:
    server.models = [{"id": f"m{i}"} for i in range(10)]
    server.refuses(lambda body: True, 404, {"error": {"message": "x", "code": "model_not_found"}})
    with pytest.raises(ModelRefused) as caught:
        await model.reply(ask())
    assert str(caught.value) == (
        f"{server.url}/v1 has no model 'fake': name another. "
        "It offers m0, m1, m2, m3, m4, m5, m6, m7. And 2 more."
    )


async def test_a_wrong_path_is_not_taken_for_a_wrong_model(
    server: FakeServer, model: Endpoint
) -> None:
    server.next(status(404, "Not Found"))
    with pytest.raises(ModelRefused, match=r"answered 404 \(Not Found\): check that the URL"):
        await model.reply(ask())


async def test_a_wrong_key_names_the_variable_and_never_the_key(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.key = "right"
    model = Endpoint(server.url, "fake", api_key=KEY, api_key_env="MY_KEY")
    caplog.set_level(logging.DEBUG)
    shown = [repr(model), model.identity, str(vars(model))]
    for asking in (model.check(), model.reply(ask())):
        with pytest.raises(ModelRefused, match="environment variable MY_KEY") as caught:
            await asking
        shown.append("".join(traceback.format_exception(caught.value)))
    server.next(status(418, f"you sent {KEY}"))
    server.key = None
    with pytest.raises(ModelRefused) as caught:
        await model.reply(ask())
    await model.close()
    assert "[key]" in str(caught.value)
    assert KEY not in "".join([*shown, *map(str, caplog.records), str(caught.value)])
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"


async def test_a_redirect_is_not_followed_so_the_key_stays(server: FakeServer) -> None:
    async with FakeServer() as thief:
        model = Endpoint(server.url, "fake", api_key=KEY)
        server.next(status(307, "", {"Location": f"http://elsewhere.test:{thief.port}/v1"}))
        with pytest.raises(ModelRefused, match=r"redirects to elsewhere\.test"):
            await model.reply(ask())
        await model.close()
        assert thief.seen == [] and len(server.seen) == 1


async def test_a_redirect_to_what_is_no_url_is_refused(server: FakeServer, model: Endpoint) -> None:
    server.next(status(307, "", {"Location": "http://[bad"}))
    with pytest.raises(ModelRefused, match=r"redirects to what is no URL.*give the final URL"):
        await model.reply(ask())


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
async def test_a_host_that_no_name_can_be_is_refused(host: str) -> None:
    model = Endpoint(f"http://{host}", "fake", patience=HASTY)
    with pytest.raises(SettingsError, match="is no URL: give one like"):
        await model.check()
    await model.close()


async def test_a_login_in_the_url_is_sent_and_never_shown(server: FakeServer) -> None:
    url = server.url.replace("http://", "http://me:pa%20ss@")
    model = Endpoint(f"{url}/v1?team=secret", "fake")
    assert "pa" not in model.identity and "secret" not in repr(model) + model.identity
    await model.reply(ask())
    await model.close()
    assert server.seen[0].headers["Authorization"] == "Basic bWU6cGEgc3M="
    assert server.seen[0].query == "team=secret"


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:99999", "http://[::1"])
def test_a_url_that_cannot_be_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="like http://host:8000/v1"):
        Endpoint(url, "x")


def test_a_key_with_a_line_break_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError) as caught:
        Endpoint("http://host", "x", api_key=f"{KEY}\nX-Evil: 1")
    assert KEY not in str(caught.value)


def test_one_model_outlives_several_event_loops() -> None:
    async def once(model: Endpoint | None = None) -> tuple[Endpoint, str]:
        async with FakeServer(port=port) as server:
            model = model or Endpoint(server.url, "fake", patience=HASTY)
            text = (await model.reply(ask())).text
            await model.close()
            return model, text

    port = 0
    model, first = asyncio.run(once())
    port = int(model.identity.split(":")[3].split("/")[0])
    _, second = asyncio.run(once(model))
    assert (first, second) == ("hello!", "hello!")
