"""Relevance on pairs of our own, and its properties on any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.judges.checks import on_topic, relevance

PAIRS = [
    ("How do I clean a small flat in a week?", "Monday dust, Tuesday bathroom, Wednesday floors."),
    ("How can I kill a Python process?", "Find its number with ps, then run kill with it."),
    ("What should I cook tonight?", "Fry an onion, add rice and tomatoes, and serve with cheese."),
    ("Why is the sky blue?", "Air scatters blue light from the sun more than red light."),
    (
        "Help me with my job interview",
        "Read about the company and prepare answers about your work.",
    ),
    ("How do I treat a burn?", "Hold the skin under cool water, then see a doctor if it blisters."),
    ("Tell me about Paris", "The French capital is known for its museums and the Eiffel tower."),
    ("How do I save money?", "Spend less than you earn, and put the rest in a bank account."),
]


@pytest.mark.parametrize(("query", "reply"), PAIRS)
def test_a_true_pair_is_on_topic(query: str, reply: str) -> None:
    assert on_topic(query, reply)


def test_most_shuffled_pairs_are_not() -> None:
    crossed = [
        (q, r) for at, (q, _) in enumerate(PAIRS) for r in (PAIRS[at - 3][1], PAIRS[at - 5][1])
    ]
    assert sum(not on_topic(q, r) for q, r in crossed) >= 0.8 * len(crossed)


@pytest.mark.parametrize(
    ("query", "reply"),
    [
        ("What is 6 times 7?", "42"),
        ("Is it so?", "Yes."),
        ("法国的首都是哪里？", "巴黎。"),
        ("", "x"),
        ("x", ""),
    ],
)
def test_where_there_is_no_telling_it_gives_the_benefit_of_the_doubt(
    query: str, reply: str
) -> None:
    assert relevance(query, reply) == 0.5
    assert on_topic(query, reply)


def test_a_number_or_name_in_common_counts() -> None:
    query = "Who was Quintus Zorblax of 1742?"
    assert relevance(query, "Zorblax was a painter who lived long ago in 1742.") > 0.9


@given(st.text(), st.text())
def test_any_text_has_a_relevance_between_0_and_1(query: str, reply: str) -> None:
    assert 0.0 <= relevance(query, reply) <= 1.0


WORDS = st.lists(
    st.sampled_from([w for pair in PAIRS for t in pair for w in t.split()]), max_size=30
)


@given(WORDS, WORDS, st.sampled_from(["  ", "\n", " \t "]))
def test_case_and_white_space_change_nothing(query: list[str], reply: list[str], gap: str) -> None:
    plain = relevance(" ".join(query), " ".join(reply))
    assert relevance(gap.join(query).upper(), gap + gap.join(reply).upper()) == plain


@pytest.mark.parametrize("piece", ["word ", "a", "bread water ", "\ud800 ", "9"])
def test_a_hundred_thousand_characters_are_read(piece: str) -> None:
    long = piece * (100_000 // len(piece))
    assert 0.0 <= relevance(long, long) <= 1.0
