"""Splits are disjoint, even, and decided by content; duplicates and leaks are found."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.data import leaks, split, without_duplicates
from trueup.data.likeness import SIMILARITY, overlap, query_text, words
from trueup.errors import DataError
from trueup.types import Demonstration, Message, Query


def bag(query: Query) -> frozenset[str]:
    return frozenset(words(query_text(query)))


def several(count: int, category: str = "", should_answer: bool | None = None) -> list[Query]:
    """Queries without a word in common."""
    return [Query(f"{category}{n}x {category}{n}y", category, should_answer) for n in range(count)]


SOME_QUERIES = st.lists(
    st.builds(
        Query,
        st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=7).map(" ".join),
        st.sampled_from(["", "u", "v", "w"]),
        st.sampled_from([True, False, None]),
    ),
    max_size=60,
)


@given(SOME_QUERIES)
def test_no_two_that_are_kept_are_alike_and_every_one_dropped_is(queries: list[Query]) -> None:
    kept = without_duplicates(queries)
    for one, other in combinations(kept, 2):
        assert words(one.text) != words(other.text)
        assert overlap(bag(one), bag(other)) <= SIMILARITY
    for query in queries:
        assert any(overlap(bag(query), bag(other)) > SIMILARITY for other in kept)


def test_spelling_does_not_hide_a_duplicate_and_context_makes_a_difference() -> None:
    queries = [
        Query("What is a lever?"),
        Query("  what is a LEVER "),
        Query("What is a\nlever?!"),
        Query("\uff37hat is a lever\uff1f"),  # full-width
        Query("What is a lever?", history=(Message("user", "Let us talk about physics."),)),
        Query("???"),
        Query("!"),
        Query("杠杆是什么"),
        Query("杠杆是什么?"),
    ]
    kept = {query_text(q) for q in without_duplicates(queries)}
    assert len(kept) == 5
    assert {"???", "!"} <= kept


@settings(deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from([True, False, None]), st.sampled_from("abcdef")),
        st.integers(1, 30),
        min_size=1,
    ),
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(0, 9)),
    st.integers(0, 3),
)
def test_parts_are_disjoint_exact_and_even(
    strata: dict[tuple[bool | None, str], int], shares: tuple[int, int, int, int], seed: int
) -> None:
    queries = [
        Query(f"{answer}{name}{n}", name, answer)
        for (answer, name), count in strata.items()
        for n in range(count)
    ]
    whole = len(queries)
    sizes = tuple(whole * share // sum(shares) for share in shares[:3])
    parts = split(queries, sizes, seed)
    chosen = (parts.search, parts.validation, parts.held_out)
    assert tuple(len(part) for part in chosen) == sizes
    assert len({q.text for part in chosen for q in part}) == sum(sizes)
    answers = Counter(q.should_answer for q in queries)
    for part, size in zip(chosen, sizes, strict=True):
        found = Counter(q.should_answer for q in part)
        for answer, count in answers.items():
            assert abs(found[answer] - count * size / whole) < 1
        cells = Counter((q.should_answer, q.category) for q in part)
        for cell, count in strata.items():
            assert abs(cells[cell] - count * found[cell[0]] / answers[cell[0]]) < 1


def test_only_content_and_seed_decide() -> None:
    queries = several(40, "a", True) + several(25, "b", False) + several(7, "c")
    shuffled = [queries[i] for i in np.random.default_rng(0).permutation(len(queries))]
    again = split(shuffled + queries[:5], seed=3)
    assert again == split(queries, seed=3)
    assert {*split(queries, seed=3).search} != {*split(queries, seed=4).search}


def test_whole_value() -> None:
    a, b, c = several(3)
    parts = split([a, b, c, b], (1, 1, 1))
    assert [len(part) for part in (parts.search, parts.validation, parts.held_out)] == [1, 1, 1]
    assert {*parts.search, *parts.validation, *parts.held_out} == {a, b, c}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((5, 4, 3), r"ask for 5 \+ 4 \+ 3 = 12 queries but there are 10 distinct queries of 11"),
        ((0.8, 0.01, 0.19), "The validation part would be empty"),
        ((0.8, 0.3, 0.2), "more than 1 together"),
        ((1, -1, 2), "not three numbers"),
    ],
)
def test_too_little_data_is_said_with_the_counts(
    sizes: tuple[float, float, float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split([*several(10), several(1)[0]], sizes)


def test_many_categories_and_queries_are_no_trouble() -> None:
    queries = [Query(f"w{n} w{n + 1} w{n * 7 % 10007}", f"c{n % 997}") for n in range(10_000)]
    parts = split(queries, (1000, 1000, 2000))
    assert [len(parts.search), len(parts.validation), len(parts.held_out)] == [1000, 1000, 2000]


def test_a_prompt_that_has_seen_the_test_is_found() -> None:
    copied = Query("Tell me how a steam engine turns heat into motion, please")
    short = Query("What is a lever?")
    alike = Query("Why is it that the deep blue sky is so very blue today")
    clean = Query("Tell me how a diesel engine turns fuel into motion")
    greeting = Query("Hello there")
    shown = [
        Demonstration("Why's that: Hello there, friend of mine", "Hello there"),
        Demonstration("Why is it that the deep blue sky is so very blue", "Scattering."),
        "Be good. When asked 'what is a lever', think.\n"
        "how a Steam engine turns heat into motion is a fine topic",
    ]
    found = leaks(shown, [copied, short, alike, clean, greeting])
    assert [(leak.query, leak.kind) for leak in found] == [
        (copied, "shared words"),
        (short, "shared words"),
        (alike, "shared words"),
    ]
    assert found[0].evidence == "how a steam engine turns heat into motion"
    only_alike = leaks(
        [Demonstration("sky the is blue why tell me", "")], [Query("Why is the sky blue, tell me!")]
    )
    assert [leak.kind for leak in only_alike] == ["similar"]
    assert leaks("You are a helpful assistant.", [copied, short, alike, clean, greeting]) == []
    assert leaks("hello there", [greeting])[0].kind == "similar"
