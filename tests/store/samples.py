"""Calls to store: some plain ones, and every one there could be."""

from __future__ import annotations

from hypothesis import strategies as st

from trueup.types import Choice, Message, Reply, Request, Sampling, TokenLogprob, Usage

# Also half surrogate pairs, NUL and everything else that a broken server may send.
anything = st.text(st.characters(exclude_categories=()), max_size=40)
numbers = st.floats(allow_nan=False)
counts = st.integers(0, 2**40)

token_logprobs = st.builds(
    TokenLogprob,
    anything,
    numbers,
    st.lists(st.tuples(anything, numbers), max_size=2).map(tuple),
)
replies = st.builds(
    Reply,
    choices=st.lists(
        st.builds(
            Choice,
            anything,
            st.sampled_from(["stop", "length", "filter", "unknown"]),
            st.none() | st.lists(token_logprobs, max_size=3).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    usage=st.builds(Usage, counts, counts, counts),
    seconds=st.floats(0, 1e6),
)
requests = st.builds(
    Request,
    prompt=anything | st.lists(st.builds(Message, st.just("user"), anything)).map(tuple),
    schema=st.none() | st.dictionaries(anything, anything | st.integers(), max_size=2),
)


def request(number: int) -> Request:
    return Request((Message("user", f"question {number} " * 20),), Sampling(seed=number))


def reply(number: int, words: int = 20) -> Reply:
    text = f"answer {number} " + "and so on " * words
    return Reply((Choice(text),), Usage(100, 10, 60), 0.5)


def address(number: int) -> str:
    return request(number).address("model")
