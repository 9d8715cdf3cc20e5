"""Checks of a reply's outer form: language, length, format, pattern, or a function of yours.

    Length(most=80)(query, reply)              # Score("Length", 5.0, "64 words, as wanted")
    Format("json").applies(query)              # True
    Pattern(must_not=r"(?i)as an AI")          # 1.0 for replies that say it
    Function("Short lines", lambda query, reply: max(map(len, reply.split("\\n"))) < 80)

Each is a frozen value: `name`, `applies(query)`, and a call that gives a `Score` of 1 to 5 with
one sentence of reason, or None where it has nothing to say. Refusals have a form of their own and
are left to `checks.Refusal`.

What it does not do: look at meaning. A regular expression is the user's and could run for hours on
hostile text, so patterns that repeat a repeat are refused and only the first 10,000 characters are
matched.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from trueup.errors import BudgetSpent, JudgeError, ModelUnavailable
from trueup.judges.language import LANGUAGES, language
from trueup.judges.refusal import refused
from trueup.judges.repetition import words
from trueup.types import HIGHEST_SCORE, LOWEST_SCORE, Query, Score, grade

Shape = Literal["json", "bullets", "numbers", "heading", "code", "table", "one line", "prose"]

_MATCHED = 10_000
"""Characters of a reply that a user's pattern is matched against."""


def passed(name: str, good: bool, reason: str) -> Score:
    """5 or 1."""
    return Score(name, HIGHEST_SCORE if good else LOWEST_SCORE, reason)


@dataclass(frozen=True, slots=True)
class Language:
    """The reply is in the query's language, or in the one given."""

    expected: str | None = None
    """ISO 639-1 code; None takes the query's own language."""
    name: str = "Language"

    def __post_init__(self) -> None:
        if self.expected is not None and self.expected not in LANGUAGES:
            raise JudgeError(
                f"The language {self.expected!r} is not known. Known are: {', '.join(LANGUAGES)}."
            )

    def applies(self, query: Query) -> bool:
        return self.expected is not None or language(query.text) is not None

    def __call__(self, query: Query, reply: str) -> Score | None:
        wanted, found = self.expected or language(query.text), language(reply)
        if wanted is None or found is None:
            return None
        told = "as wanted" if found == wanted else f"not {wanted}"
        return passed(self.name, found == wanted, f"The reply is in {found}, {told}.")


@dataclass(frozen=True, slots=True)
class Length:
    """The reply has between `least` and `most` words; beyond them the score falls gradually."""

    least: int | None = None
    most: int | None = None
    name: str = "Length"

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.least, self.most) if bound is not None]
        if not bounds or min(bounds) < 0 or bounds != sorted(bounds) or self.most == 0:
            raise JudgeError(
                f"Length(least={self.least}, most={self.most}) allows no reply, or every one. "
                "Give one bound or two, the smaller as least."
            )

    def applies(self, query: Query) -> bool:
        return query.should_answer is not False

    def __call__(self, query: Query, reply: str) -> Score | None:
        if refused(reply):
            return None
        count = len(words(reply))
        if self.least is not None and count < self.least:
            return Score(
                self.name, grade(count / self.least), f"{count} words, fewer than {self.least}."
            )
        if self.most is not None and count > self.most:
            excess = (count - self.most) / self.most
            return Score(self.name, grade(1 - excess), f"{count} words, more than {self.most}.")
        return passed(self.name, True, f"{count} words, as wanted.")


def _is_json(text: str) -> bool:
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*?)\n?```", text, re.DOTALL)
    try:
        json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True


def _lines_like(pattern: str, text: str) -> bool:
    return len(re.findall(pattern, text, re.MULTILINE)) >= 2


_SHAPES: dict[str, Callable[[str], bool]] = {
    "json": _is_json,
    "bullets": lambda text: _lines_like(r"^[ \t]*[-*•][ \t]+\S", text),
    "numbers": lambda text: _lines_like(r"^[ \t]*\d{1,3}[.)][ \t]+\S", text),
    "heading": lambda text: re.search(r"^#{1,6}[ \t]+\S", text, re.MULTILINE) is not None,
    "code": lambda text: text.count("```") >= 2,
    "table": lambda text: _lines_like(r"^[ \t]*\|[^\n|]*\|", text),
    "one line": lambda text: "\n" not in text,
    "prose": lambda text: (
        re.search(r"^[ \t]*(?:[-*•#|]+|\d{1,3}[.)]|```)[ \t]*\S", text, re.MULTILINE) is None
    ),
}


@dataclass(frozen=True, slots=True)
class Format:
    """The reply has a shape: JSON, a bulleted or numbered list, a markdown heading, and so on."""

    shape: Shape
    name: str = "Format"

    def __post_init__(self) -> None:
        if self.shape not in _SHAPES:
            raise JudgeError(
                f"The format {self.shape!r} is not known. Known are: {', '.join(get_args(Shape))}."
            )

    def applies(self, query: Query) -> bool:
        return query.should_answer is not False

    def __call__(self, query: Query, reply: str) -> Score | None:
        if refused(reply):
            return None
        fits = _SHAPES[self.shape](reply.strip())
        told = "has" if fits else "lacks"
        return passed(self.name, fits, f"The reply {told} the form wanted: {self.shape}.")


_REPEATED_REPEAT = re.compile(r"[+*}]\??\)(?:[+*]|\{\d*,\})")


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    if _REPEATED_REPEAT.search(pattern.replace(r"\)", "").replace(r"\*", "").replace(r"\+", "")):
        raise JudgeError(
            f"The pattern {pattern!r} repeats a group that ends in a repeat, which can take for "
            "ever. Drop one of the two repeats, or make the group end in something fixed."
        )
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise JudgeError(
            f"The pattern {pattern!r} is not a regular expression: {error}. "
            "Escape characters that are meant literally with a backslash."
        ) from error


@dataclass(frozen=True, slots=True)
class Pattern:
    """The reply must, or must not, match a regular expression somewhere."""

    must: str | None = None
    must_not: str | None = None
    name: str = "Pattern"
    _wanted: re.Pattern[str] | None = field(init=False, repr=False, compare=False)
    _unwanted: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.must is None and self.must_not is None:
            raise JudgeError("Pattern() checks nothing. Give `must`, `must_not` or both.")
        object.__setattr__(self, "_wanted", _compiled(self.must))
        object.__setattr__(self, "_unwanted", _compiled(self.must_not))

    def applies(self, query: Query) -> bool:
        return True

    def __call__(self, query: Query, reply: str) -> Score | None:
        text = reply[:_MATCHED]
        if self._wanted is not None and not self._wanted.search(text):
            return passed(self.name, False, f"The reply does not match {self.must!r}.")
        if self._unwanted is not None and self._unwanted.search(text):
            return passed(self.name, False, f"The reply matches {self.must_not!r}.")
        return passed(self.name, True, "The reply matches as wanted.")


Said = Score | float | bool | None


@dataclass(frozen=True, slots=True)
class Function:
    """Your own function of a query and a reply, sync or async, as a check.

    It may give a bool, a share of 0 to 1, a `Score`, or None where it has nothing to say. Raises
    `JudgeError` for anything else and for whatever the function raises; `Checks` and the judges
    record that as the reason why there is no score. What ends a job (`BudgetSpent`,
    `ModelUnavailable`) is let through.
    """

    name: str
    function: Callable[[Query, str], Said | Awaitable[Said]]
    when: Callable[[Query], bool] = lambda query: True

    def applies(self, query: Query) -> bool:
        return self.when(query)

    async def __call__(self, query: Query, reply: str) -> Score | None:
        try:
            said = self.function(query, reply)
            if inspect.isawaitable(said):
                said = await said
        except (BudgetSpent, ModelUnavailable):
            raise
        except Exception as error:
            raise JudgeError(
                f"The function of {self.name!r} raised {type(error).__name__}: {error}. "
                "Mend it, or have it return None where it has nothing to say."
            ) from error
        return self._score(said)

    def _score(self, said: object) -> Score | None:
        if said is None:
            return None
        if isinstance(said, Score):
            if LOWEST_SCORE <= said.value <= HIGHEST_SCORE:
                return Score(self.name, said.value, said.reason)
        elif isinstance(said, bool):
            return passed(self.name, said, "The function said " + ("yes." if said else "no."))
        elif isinstance(said, int | float) and math.isfinite(said) and 0 <= said <= 1:
            return Score(self.name, grade(said), f"The function said {said:.2f} of 1.")
        raise JudgeError(
            f"The function of {self.name!r} gave {said!r:.60}. "
            "Give a bool, a number from 0 to 1, a Score from 1 to 5, or None."
        )
