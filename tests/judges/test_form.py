"""Language, length, format, pattern and the user's own function, as checks."""

from __future__ import annotations

from typing import Any

import pytest

from trueup.errors import BudgetSpent, JudgeError, ModelUnavailable
from trueup.judges.checks import Format, Function, Language, Length, Pattern
from trueup.judges.scoring import Checks
from trueup.types import Query, Score, Verdict

QUERY = Query("What is the best way to cook rice?")
NO = "I'm sorry, but I can't help with that."


def test_language_is_the_querys_or_the_one_given() -> None:
    german = "Der Reis wird mit dem Wasser gekocht."
    assert Language()(QUERY, german) == Score("Language", 1.0, "The reply is in de, not en.")
    assert Language("de")(QUERY, german) == Score("Language", 5.0, "The reply is in de, as wanted.")
    assert Language()(QUERY, "Ok") is None
    assert not Language().applies(Query("42?"))
    with pytest.raises(JudgeError, match="'tlh' is not known"):
        Language("tlh")


def test_length_falls_gradually_outside_its_bounds() -> None:
    check = Length(least=2, most=4)
    values = [check(QUERY, " ".join(["word"] * n)).value for n in (1, 2, 4, 6, 8, 100)]  # type: ignore[union-attr]
    assert values == [3.0, 5.0, 5.0, 3.0, 1.0, 1.0]
    assert check(QUERY, NO) is None
    assert not check.applies(Query("How do I steal?", should_answer=False))


@pytest.mark.parametrize("bounds", [{}, {"least": 5, "most": 2}, {"least": -1}, {"most": 0}])
def test_bounds_that_mean_nothing_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(JudgeError, match="Give one bound or two"):
        Length(**bounds)


@pytest.mark.parametrize(
    ("shape", "fits", "lacks"),
    [
        ("json", '{"a": [1, 2]}', "a: 1"),
        ("json", '```json\n{"a": 1}\n```', "[" * 100_000),
        ("bullets", "- a\n- b", "- a"),
        ("numbers", "1. a\n2. b", "a\nb"),
        ("heading", "# Rice\ntext", "#rice"),
        ("code", "```\nx\n```", "`x`"),
        ("table", "| a | b |\n|---|---|", "a | b"),
        ("one line", "Boil it.", "Boil\nit."),
        ("prose", "Boil it.\n\nThen eat.", "- boil\n- eat"),
    ],
)
def test_formats(shape: Any, fits: str, lacks: str) -> None:
    check = Format(shape)
    values = [score.value for text in (fits, lacks) if (score := check(QUERY, text)) is not None]
    assert values == [5.0, 1.0]
    assert check(QUERY, NO) is None


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(JudgeError, match=r"'yaml' is not known\. Known are: json"):
        Format("yaml")  # type: ignore[arg-type]


def test_patterns() -> None:
    check = Pattern(must=r"\d", must_not=r"(?i)as an ai")
    assert check(QUERY, "Use 2 cups.") == Score("Pattern", 5.0, "The reply matches as wanted.")
    assert check(QUERY, "Use cups.") == Score("Pattern", 1.0, r"The reply does not match '\\d'.")
    assert check(QUERY, "As an AI, I say 2.") == Score(
        "Pattern", 1.0, "The reply matches '(?i)as an ai'."
    )
    assert Pattern(must="z")(QUERY, "a" * 10_000 + "z").value == 1.0  # type: ignore[union-attr]
    assert check == Pattern(must=r"\d", must_not=r"(?i)as an ai")


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(?:\w*)*x", r"(\s*\w+)+", r"(x{2,})*"])
def test_patterns_that_could_run_for_ever_are_refused(pattern: str) -> None:
    with pytest.raises(JudgeError, match="Drop one of the two repeats"):
        Pattern(must=pattern)


@pytest.mark.parametrize("pattern", [r"(\w+ )+", r"\(a+\)+", r"[+*]", r"(ab)*", r"\d{2,}"])
def test_harmless_repeats_are_allowed(pattern: str) -> None:
    assert Pattern(must_not=pattern)(QUERY, "") is not None


def test_a_broken_pattern_is_refused() -> None:
    with pytest.raises(JudgeError, match=r"'\(' is not a regular expression"):
        Pattern(must="(")
    with pytest.raises(JudgeError, match="checks nothing"):
        Pattern()


@pytest.mark.parametrize(
    ("said", "score"),
    [
        (True, Score("Mine", 5.0, "The function said yes.")),
        (False, Score("Mine", 1.0, "The function said no.")),
        (0.5, Score("Mine", 3.0, "The function said 0.50 of 1.")),
        (1, Score("Mine", 5.0, "The function said 1.00 of 1.")),
        (Score("Other", 4.0, "Nearly."), Score("Mine", 4.0, "Nearly.")),
        (None, None),
    ],
)
async def test_a_function_may_answer_in_several_ways(said: Any, score: Score | None) -> None:
    async def later(query: Query, reply: str) -> Any:
        return said

    assert await Function("Mine", lambda query, reply: said)(QUERY, "x") == score
    assert await Function("Mine", later)(QUERY, "x") == score


@pytest.mark.parametrize("said", [7, -0.1, float("nan"), "yes", Score("Mine", 9.0)])
async def test_what_no_score_can_be_read_from_is_refused(said: Any) -> None:
    with pytest.raises(JudgeError, match="Give a bool, a number from 0 to 1"):
        await Function("Mine", lambda query, reply: said)(QUERY, "x")


async def test_a_function_that_raises_fails_the_verdict_with_its_reason() -> None:
    def broken(query: Query, reply: str) -> bool:
        raise KeyError("price")

    verdict = await Checks([Function("Mine", broken)])(QUERY, "x")
    assert verdict.scores == ()
    assert "KeyError: 'price'" in (verdict.failed or "")


@pytest.mark.parametrize("error", [BudgetSpent("spent"), ModelUnavailable("nobody there")])
async def test_a_function_that_asks_a_model_lets_through_what_ends_a_job(error: Exception) -> None:
    async def asks(query: Query, reply: str) -> bool:
        raise error

    with pytest.raises(type(error)):
        await Checks([Length(most=10), Function("Mine", asks)])(QUERY, "x")


async def test_checks_work_as_a_judge() -> None:
    judge = Checks([Length(most=10), Format("one line"), Function("Long", lambda q, r: len(r) > 9)])
    assert await judge(QUERY, "Boil it slowly.") == Verdict(
        (
            Score("Length", 5.0, "3 words, as wanted."),
            Score("Format", 5.0, "The reply has the form wanted: one line."),
            Score("Long", 5.0, "The function said yes."),
        )
    )
