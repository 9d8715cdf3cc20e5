"""The bundled seed data keeps the promises that retrieval and the splits rely on.

Read here as plain JSON lines, on purpose: a fault in the data should not look like a fault in the
reader.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from importlib.resources import files
from itertools import combinations
from typing import Any

import pytest

ANSWERED = {"everyday", "reasoning", "writing", "knowledge", "coding", "borderline"}
DANGEROUS = re.findall(
    r"\w+",
    """bomb explo weapon gun shoot kill murder stab poison drug steal rob thie hack password virus
    phish scam fraud fake stalk bully blackmail racis hate terror suicide abus harass child vot
    election drunk police dump vaccin threat smuggl privat fire burn attack hit""",
)
"""Beginnings of words that a harmless query may share with a harmful one."""

OPENING = "I'm sorry, but I can't help with that. "


def seeds(name: str) -> list[dict[str, Any]]:
    text = (files("trueup") / "seeds" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


DEMONSTRATIONS = seeds("demonstrations.jsonl")
QUERIES = seeds("queries.jsonl")
LONG = seeds("long_demonstrations.jsonl")
SHOWN = [(row["query"], row["shows_answer"]) for row in DEMONSTRATIONS]
ASKED = [(row["text"], row["should_answer"]) for row in QUERIES]


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", text.lower()))


def share(rows: list[dict[str, Any]], *categories: str) -> float:
    return sum(row["category"] in categories for row in rows) / len(rows)


@pytest.mark.parametrize("rows", [DEMONSTRATIONS, LONG], ids=["short", "long"])
def test_a_demonstration_answers_unless_its_category_is_harmful(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert list(row) == ["query", "reply", "category", "shows_answer"]
        assert row["category"] in ANSWERED | {"harmful"}
        assert row["shows_answer"] is (row["category"] != "harmful")


def test_a_query_should_be_answered_unless_its_category_is_harmful() -> None:
    for row in QUERIES:
        assert list(row) == ["text", "category", "should_answer"]
        assert row["category"] in ANSWERED | {"harmful"}
        assert row["should_answer"] is (row["category"] != "harmful")


def test_every_text_is_trimmed_ascii() -> None:
    for row in DEMONSTRATIONS + QUERIES + LONG:
        for text in (value for value in row.values() if isinstance(value, str)):
            assert text.isascii() and text == text.strip() != "", text


def test_refusals_are_over_a_third_and_ordinary_answers_as_many() -> None:
    # A retriever shows refusals to whatever it has seen nothing like: ordinary instructions need
    # a wide cover, wider than harmless queries that merely sound dangerous.
    assert len(DEMONSTRATIONS) >= 700
    assert 0.36 <= share(DEMONSTRATIONS, "harmful") <= 0.45
    assert 0.36 <= share(DEMONSTRATIONS, *ANSWERED - {"borderline"}) <= 0.45
    assert {row["category"] for row in DEMONSTRATIONS} == ANSWERED | {"harmful"}


def test_the_queries_are_enough_for_eighty_held_out_and_keep_their_mix() -> None:
    assert len(QUERIES) >= 260
    assert 0.40 <= share(QUERIES, "harmful") <= 0.50
    assert 0.20 <= share(QUERIES, "borderline") <= 0.30
    assert {row["category"] for row in QUERIES} == ANSWERED | {"harmful"}


def test_refusals_open_alike_and_answers_never_open_so() -> None:
    for row in DEMONSTRATIONS:
        assert row["reply"].startswith(OPENING) is not row["shows_answer"], row["query"]
        assert "sorry" not in row["reply"].removeprefix(OPENING) or row["shows_answer"]


def test_short_replies_are_short() -> None:
    for row in DEMONSTRATIONS:
        least, most = (12, 30) if row["shows_answer"] else (10, 25)
        assert least <= len(row["reply"].split()) <= most, row["reply"]


def test_an_answer_repeats_a_word_of_its_query() -> None:
    off_topic = [
        row["query"]
        for row in DEMONSTRATIONS
        if row["shows_answer"]
        and not {word for word in words(row["query"]) & words(row["reply"]) if len(word) > 2}
        and row["category"] != "writing"
    ]
    assert len(off_topic) <= len(DEMONSTRATIONS) // 20, off_topic


def test_long_replies_have_the_published_form() -> None:
    assert Counter(row["shows_answer"] for row in LONG) == {True: 9, False: 7}
    for row in LONG:
        reply = row["reply"]
        assert 120 <= len(reply.split()) <= 250, row["query"]
        assert 3 <= len(re.findall(r"^- ", reply, re.MULTILINE)) <= 6, row["query"]
        assert not reply.startswith("- ") and not reply.splitlines()[-1].startswith("- ")
        assert "<START>" not in reply and "<END>" not in reply
        if not row["shows_answer"]:
            assert re.search(r"I (can't|won't) ", reply.split("\n\n")[0]), row["query"]


def test_no_two_queries_are_nearly_the_same() -> None:
    everything = SHOWN + ASKED + [(row["query"], row["shows_answer"]) for row in LONG]
    sets = [(text, words(text)) for text, _ in everything]
    for (one, first), (other, second) in combinations(sets, 2):
        assert len(first & second) < 0.7 * len(first | second), (one, other)


@pytest.mark.parametrize("rows", [SHOWN, ASKED, SHOWN + ASKED], ids=["shown", "asked", "all"])
def test_the_first_two_words_do_not_give_the_behaviour_away(rows: list[tuple[str, bool]]) -> None:
    behaviours: dict[str, list[bool]] = defaultdict(list)
    for text, answered in rows:
        behaviours[" ".join(text.lower().split()[:2])].append(answered)
    for opening, answered_ones in behaviours.items():
        if len(answered_ones) >= 6:
            assert 0.15 <= sum(answered_ones) / len(answered_ones) <= 0.85, opening


@pytest.mark.parametrize("stem", DANGEROUS)
def test_a_dangerous_word_is_shown_in_both_kinds_of_query(stem: str) -> None:
    shown = {answered for text, answered in SHOWN if any(w.startswith(stem) for w in words(text))}
    assert shown == {True, False}


@pytest.mark.parametrize(
    ("rows", "field"), [(DEMONSTRATIONS, "shows_answer"), (QUERIES, "should_answer")]
)
def test_the_behaviours_are_spread_evenly_through_the_file(
    rows: list[dict[str, Any]], field: str
) -> None:
    # A query that matches nothing falls back to the file's first rows, ties to its earlier ones.
    assert Counter(row[field] for row in rows[:4]) == {True: 2, False: 2}
    for start in range(0, len(rows) - 20, 20):
        assert 6 <= sum(row[field] for row in rows[start : start + 20]) <= 14


def test_nobody_private_is_named() -> None:
    for row in DEMONSTRATIONS + QUERIES + LONG:
        text = " ".join(value for value in row.values() if isinstance(value, str))
        assert not re.search(r"\w@\w|https?:|www\.", text), text
        # Long digit runs would be somebody's number; a crisis line and a date are not.
        assert not re.search(r"\d[\d -]{6,}\d", text.replace("2024-05-01", "")), text
    for text, answered in SHOWN + ASKED:
        if not answered:
            assert not re.search(r"(?<!^)\b[A-Z][a-z]+ [A-Z][a-z]+", text), text
