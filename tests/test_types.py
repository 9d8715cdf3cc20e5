"""What travels: the address of a request is for ever, because stored replies are found by it."""

from __future__ import annotations

import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from trueup.types import Message, Request, Sampling

TURNS = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text())
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    max_tokens=st.integers(1, 9999),
    stop=st.lists(st.text(), max_size=3).map(tuple),
    seed=st.integers(-5, 2**40),
    n=st.integers(1, 9),
    frequency_penalty=st.sampled_from([0.0, 0.3, -2.0]),
)
SCHEMAS = st.none() | st.dictionaries(st.text(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
))  # fmt: skip
REQUESTS = st.builds(
    Request,
    prompt=st.text() | st.lists(TURNS, max_size=4).map(tuple),
    sampling=SAMPLINGS,
    schema=SCHEMAS,
    top_logprobs=st.integers(0, 20),
    forced=st.none() | st.text(),
)


@given(REQUESTS)
def test_the_content_is_the_canonical_json_of_every_field(request: Request) -> None:
    fields = {name: value for name, value in asdict(request).items() if name[0] != "_"}
    if request.forced is None:
        del fields["forced"]  # younger than the first stored replies
    if request.sampling.frequency_penalty == 0:
        del fields["sampling"]["frequency_penalty"]  # likewise
    whole = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert request.content() == whole


def test_addresses_that_were_given_out_stay() -> None:
    chat = Request((Message("system", "Be kind."), Message("user", "Why, ß?")), Sampling(seed=3))
    raw = Request("Once", Sampling(stop=("END",), n=2), {"type": "object"}, 5)
    assert [chat.address("m"), raw.address("m")] == [
        "0b24ab79d620d6279062ac4cb66e7ab94870798639f600ada674e6e746463381",
        "efd269dddcd2a056ac959d03df75d5aa1425a247cc8e1b01d676a5e09c9e2622",
    ]
