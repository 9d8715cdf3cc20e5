"""Text of models and users changes nothing around it, whatever it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.report.escaping import LONGEST_CELL, cell, fence, printable

anything = st.text(st.characters(exclude_categories=()), max_size=80)
nasty = st.text(st.sampled_from("`~|#*_<>[]()!\\\n\r&@:/ -1.ab\x1b\u202e"), max_size=60)


@given(anything | nasty)
def test_a_cell_is_one_line_without_markup(text: str) -> None:
    made = cell(text)
    assert "\n" not in made and "<" not in made and ">" not in made
    # No bar, backtick, bracket or star stands without a backslash of its own before it.
    bare = re.sub(r"&(#64|#47|amp|lt|gt);", "", made)
    assert re.search(r"(?<!\\)(\\\\)*[|`\[\]*_#~$!]", bare) is None
    assert "://" not in made and "@" not in made


@given(anything | nasty)
def test_nothing_ends_a_fence_but_its_own_end(text: str) -> None:
    lines = fence(text).split("\n")
    bars = lines[-1]
    assert re.fullmatch("`{3,}", bars) and lines[0] == f"{bars}text"
    assert not any(line.strip().startswith(bars) for line in lines[1:-1])
    assert "\n".join(lines[1:-1]) == printable(text)


@given(anything)
def test_no_control_character_is_left(text: str) -> None:
    kept = printable(text)
    assert all(
        character in "\n\t" or character.isprintable() or ord(character) >= 0xA0
        for character in kept
    )
    assert not set(kept) & set("\x1b\x07\x08\r\u202e\u2066\u2028")


def test_plain_words_stay_as_they_are() -> None:
    assert cell("Clarity, 3 of 5 (good)") == "Clarity, 3 of 5 (good)"
    assert printable("Ünïcödé 漢字 🙂\n\tok") == "Ünïcödé 漢字 🙂\n\tok"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b\nc", r"a \| b c"),
        ("<script>", "&lt;script&gt;"),
        ("://", ":&#47;&#47;"),
        ("[x](http://y)", r"\[x\](http:&#47;&#47;y)"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("x" * 400, "x" * (LONGEST_CELL - 1) + "…"),
    ],
)
def test_markup_is_shown(text: str, shown: str) -> None:
    assert cell(text) == shown
