"""Whatever a server sends is read, or refused as unreadable: nothing else happens."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import SettingsError
from trueup.models import wire
from trueup.models.address import address
from trueup.models.capabilities import Capabilities
from trueup.models.patience import Patience, told
from trueup.models.refusals import understood
from trueup.models.shape import fitting, misfit, obeyed
from trueup.types import Message, Reply, Request, Sampling

SERVER_WORDS = """
choices index message content text refusal finish_reason logprobs token tokens logprob usage
top_logprobs token_logprobs prompt_tokens completion_tokens timings cache_n error predicted_n
prompt_tokens_details cached_tokens data embedding id owned_by code param detail
"""
FIELDS = SERVER_WORDS.split()
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=25,
)
choices = st.fixed_dictionaries(
    {},
    optional={
        "index": scalars,
        "message": st.fixed_dictionaries({}, optional={"content": anything, "refusal": scalars}),
        "text": scalars,
        "finish_reason": anything,
        "logprobs": anything,
    },
)
answers = anything | st.fixed_dictionaries(
    {"choices": st.lists(choices, max_size=3)}, optional={"usage": anything, "timings": anything}
)


@given(answers, st.integers(1, 3))
def test_any_answer_is_a_reply_or_unreadable(data: Any, n: int) -> None:
    request = Request((Message("user", "x"),), Sampling(n=n))
    try:
        reply = wire.read_reply(data, request, 0.5)
    except wire.Unreadable:
        return
    assert isinstance(reply, Reply) and 1 <= len(reply.choices) <= n
    usage = reply.usage
    assert min(usage.tokens_in, usage.tokens_out, usage.cached) >= 0
    for choice in reply.choices:
        assert isinstance(choice.text, str)
        for token in choice.logprobs or ():
            known = [token.logprob, *(value for _, value in token.top)]
            assert all(wire.FLOOR <= value <= 0 for value in known)


@given(anything)
def test_any_list_of_models_or_embeddings(data: Any) -> None:
    assert all(isinstance(model.name, str) for model in wire.read_models(data))
    try:
        rows = wire.read_embeddings(data, 1)
    except wire.Unreadable:
        return
    assert len(rows) == 1 and all(math.isfinite(x) for x in rows[0])


@given(st.binary(max_size=60) | anything.map(lambda data: json.dumps(data).encode()))
def test_any_error_is_one_short_line(body: bytes) -> None:
    complaint = wire.read_complaint(body)
    assert complaint.text.isprintable() and len(complaint.text) <= 300


@given(st.integers(100, 599), anything, st.sets(st.sampled_from(["seed", "n", "schema", "raw"])))
def test_any_error_has_exactly_one_meaning(code: int, data: Any, sent: set[Any]) -> None:
    meaning = understood(code, wire.read_complaint(json.dumps(data).encode()), sent)
    said = [meaning.again, meaning.lacks, meaning.unknown_model, meaning.refused_key, meaning.final]
    assert sum(bool(one) for one in said) == 1
    assert meaning.lacks is None or meaning.lacks in sent


@given(st.text(), st.text(max_size=20))
def test_what_is_sent_is_valid_json_and_keeps_the_text(prompt: str, system: str) -> None:
    turns = (Message("system", system), Message("user", prompt))
    can = Capabilities("x")
    body = json.loads(json.dumps(wire.written(Request(turns), "m", can).body).encode())
    assert [turn["content"] for turn in body["messages"]] == [system, prompt]
    can.lacks("system", "test")
    (merged,) = wire.written(Request(turns), "m", can).body["messages"]
    assert merged["role"] == "user" and merged["content"].endswith(prompt)


schemas = st.recursive(
    st.fixed_dictionaries(
        {}, optional={"type": st.sampled_from(["object", "array", "string", "integer", "number"])}
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array"]),
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "required": st.lists(st.sampled_from("ab"), max_size=2),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "$ref": st.sampled_from(["#", "#/properties/a", "elsewhere"]),
        },
    ),
    max_leaves=6,
)


@given(st.text(max_size=80), schemas)
def test_any_text_either_fits_or_is_kept_with_its_problem(
    text: str, schema: Mapping[str, Any]
) -> None:
    fitted = fitting(text, schema)
    if fitted.problem is None:
        assert obeyed(fitted.text, schema)
    else:
        assert fitted.text == text and not obeyed(text, schema)


@given(anything, schemas)
def test_a_value_that_fits_is_taken_as_it_is(value: Any, schema: Mapping[str, Any]) -> None:
    text = json.dumps(value)
    assert obeyed(text, schema) == (misfit(json.loads(text), schema, schema) is None)


def test_a_strict_schema_is_one_whose_objects_name_all_their_keys() -> None:
    inner = {"type": "object", "properties": {"b": {}}, "required": ["b"]}
    closed = inner | {"additionalProperties": False}
    cases = {True: closed, False: {"type": "array", "items": inner}}
    for strict, schema in cases.items():
        request = Request((Message("user", "x"),), schema=schema | {"title": "A b"})
        sent = wire.written(request, "m", Capabilities("x")).body["response_format"]
        assert (sent["json_schema"]["strict"], sent["json_schema"]["name"]) == (strict, "A_b")


@given(st.text(max_size=40))
def test_a_wait_is_a_number_of_seconds_or_nothing(header: str) -> None:
    seconds = told(header, header)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(st.integers(1, 10_000), st.randoms())
def test_waits_grow_to_a_limit(failures: int, chance: Any) -> None:
    patience = Patience(first_wait=0.5, longest_wait=30)
    full = min(30.0, 0.5 * 2.0 ** min(failures - 1, 30))
    assert full / 2 <= patience.wait(failures, chance) <= full


@given(st.text(alphabet="abc:/@?#[]%1.", max_size=30))
def test_any_url_is_read_or_refused(text: str) -> None:
    try:
        server = address(text)
    except SettingsError:
        return
    assert "@" not in str(server).split("/")[2] and "?" not in str(server)
