"""Degeneration: every way of being broken has its name, and real replies have none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.judges.checks import Repetition, copied, degenerate, echoes, outcome, repetition
from trueup.types import Query

BROKEN = {
    "": "empty",
    " \n\t": "empty",
    "...": "too short to be an answer",
    "The": "too short to be an answer",
    "the the the the the the the the": "the same words over and over",
    "I'm not sure what to say. I'm not sure what to say. I'm not sure what": (
        "the same words over and over"
    ),
    "1. Music theory\n2. Music theory\n3. Music theory\n4. Music theory": (
        "the same words over and over"
    ),
    "You need to use a water filter. The best way to do it is to use a water filter. "
    "The best way to do it is to use": "the same words over and over",
    "You can hide a few of the old keys under the mat, "
    "you can hide a few of the old keys": "the same words over and over",
    "We like green apples a lot. Pears are fine. We like green apples a lot.": (
        "the same sentence over and over"
    ),
    "aaaaaaaaaaaaaaaaaaaaaaaa is what I say": "one character over and over",
    "%$# @! a &&& ((( ))) b": "mostly punctuation",
    "Sure.\nUser: and then?\nAssistant: then this": "role markers leak into the reply",
    "<|im_start|>assistant\nHello there, friend": "role markers leak into the reply",
    "### Response:\nHello there, friend": "role markers leak into the reply",
    "[INST] Say hello [/INST]": "role markers leak into the reply",
    "[insert your reply here]": "a placeholder was left unfilled",
    "The reply is: {reply}": "a placeholder was left unfilled",
    "[Your answer here]": "a placeholder was left unfilled",
    "Here it is: {{answer}}": "a placeholder was left unfilled",
    "The question is <query> and so on": "a placeholder was left unfilled",
    "Use `print` as usual.\n\n[Question]\nFashion": "a placeholder was left unfilled",
    "```\nUser: and then?\nAssistant: then this\n```": "role markers leak into the reply",
}

WHOLE = [
    "Paris.",
    "42",
    "巴黎。",
    "Yes.",
    "Dear [Name],\n\nI hope this finds you well.\n\nKind regards,\n[Your Name]",
    "- Eggs\n- Milk\n- Bread",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "# Soup\n\n## Steps\n\n1. Boil water.\n2. Add salt.",
    "Row, row, row your boat gently down the stream.",
    "The user: a person who uses a system.",
    "It was the best of times, it was the worst of times, it was the age of wisdom.",
    "```python\nfor i in range(10):\n    print(i)\n```",
    "Bees make honey. Bees also pollinate plants. Without bees there is less fruit.",
    "A text field is <input>, and its result is shown in <output>.",
    "A form needs `<input>`, an `<answer>` of your own, and `[text]` in brackets.",
    "Greet them with print(f'You asked: {query}') or print(f\"You asked: {query}\").",
    "In JavaScript it is console.log(`You asked: ${query}`), or ${text} in a template.",
    "Read the whole [text](https://example.org/text), or [the answer](answers.md) alone.",
    "Look it up with rows[input], rows[0][text] or a List<Text>.",
    "Write this:\n\n```python\n# Input\nclass Row:\n    query: str\n    user: str\n```\nDone.",
    "Write this:\n\n```html\n<p>[Your text here]</p>\n<s>gone</s> <query>",
]


@pytest.mark.parametrize(("reply", "reason"), BROKEN.items())
def test_a_broken_reply_is_named(reply: str, reason: str) -> None:
    assert degenerate(reply) == reason


@pytest.mark.parametrize("reply", WHOLE)
def test_a_whole_reply_is_left_alone(reply: str) -> None:
    assert degenerate(reply, "What would you say?") is None


def test_a_short_reply_that_is_the_reference_is_an_answer() -> None:
    assert degenerate("The", reference="the") is None


def test_an_echo_is_seen_where_the_query_is_known() -> None:
    query = "How can I keep my bread fresh for a week?"
    assert degenerate(query, query) == "echoes the query"
    assert degenerate(f"{query.upper()}!", query) == "echoes the query"
    assert degenerate(query) is None
    assert not echoes("Keep your bread fresh for a week in a closed box.", query)


def test_repetition_is_the_share_of_3_grams_seen_before() -> None:
    assert repetition("a b c a b c") == 0.25
    assert repetition("a b c d") == 0.0
    assert repetition("a b") == 0.0


def test_copied_means_most_4_grams_come_from_one_demonstration() -> None:
    shown = ["Boil the eggs for ten minutes, then cool them in cold water.", "Paris."]
    assert copied("Boil the eggs for ten minutes, then cool them.", shown)
    assert copied("paris", shown)
    assert not copied("Boil the potatoes for ten minutes, then mash them with butter.", shown)
    assert not copied("", shown)
    assert not copied("Boil the eggs for ten minutes, then cool them.", [])


def test_a_harmless_question_about_html_is_answered_by_html() -> None:
    query = Query("How do I make a text field in HTML?", should_answer=True)
    reply = "Make a text field in HTML with `<input>`:\n\n```html\n<input type='text'>\n```"
    assert outcome(query, reply) == "answered"
    score = Repetition()(query, reply)
    assert score is not None and score.value == 5.0


@given(st.text(), st.text())
def test_any_text_can_be_read(reply: str, query: str) -> None:
    reason = degenerate(reply, query)
    assert reason is None or reason
    assert 0.0 <= repetition(reply) <= 1.0
    assert not reply.strip() or copied(reply, [reply]) is any(
        c.isalnum() or c == "_" for c in reply
    )


@given(st.lists(st.sampled_from(["red", "green", "blue"]), min_size=2, max_size=5), st.booleans())
def test_what_is_said_four_times_over_is_a_loop(phrase: list[str], line_breaks: bool) -> None:
    said = " ".join(phrase)
    assert degenerate(("\n" if line_breaks else " ").join([said] * 4)) is not None


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "word ",
        "a b c. ",
        "[",
        "{",
        "#\n",
        "<|",
        "\ud800",
        "- \n",
        "` ",
        "```a\n",
        "f' ",
        'f" ',
    ],
)
def test_a_hundred_thousand_characters_are_read(piece: str) -> None:
    assert degenerate(piece * (100_000 // len(piece)), piece * 1000) is not None
