"""The pool is whole; names are recognised; the user's file is read or refused in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trueup.errors import DataError
from trueup.judges.checks import Length, Pattern
from trueup.judges.criteria import LONGEST_REMEDY, POOL, Criterion, find, load_criteria
from trueup.judges.scoring import Checks
from trueup.types import Query

FOURTEEN = (
    *("Helpfulness", "Clarity", "Factuality", "Depth", "Engagement", "Conciseness", "Safety"),
    *("Compliance", "Limitations", "Critical-Thinking", "Creativity", "Interactivity"),
    *("Empathy", "Sensitivity"),
)


def test_the_pool_has_the_papers_fourteen_each_complete() -> None:
    assert tuple(criterion.name for criterion in POOL) == FOURTEEN
    for criterion in POOL:
        assert criterion.good and criterion.worst and criterion.best
        assert "\n" not in criterion.good
        assert 2 <= len(criterion.remedies) <= 4
        assert all(len(remedy.split()) <= LONGEST_REMEDY for remedy in criterion.remedies)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Clarity", "Clarity"),
        ("critical thinking", "Critical-Thinking"),
        ("CRITICAL_THINKING", "Critical-Thinking"),
        ("Compliance with Instructions", "Compliance"),
        ("cultural sensitivity", "Sensitivity"),
        ("Acknowledgement of Limitations", "Limitations"),
        ("3. Empathy", "Empathy"),
        ("**Depth**", "Depth"),
        ("Helpfulness: solves the problem", "Helpfulness"),
        ("Safety (no harm)", "Safety"),
        ("Humour", None),
        ("Clarity and Depth", None),
        ("", None),
        ("***", None),
    ],
)
def test_names_as_models_write_them(written: str, meant: str | None) -> None:
    found = find(written, POOL)
    assert (found.name if found else None) == meant


GOOD = """
[[criterion]]
name = "Kindness"
good = "gentle"
worst = "insulting"
best = "as kind as a friend"
remedies = ["Speak gently.", "Thank the user."]
aliases = ["Warmth"]

[[criterion]]
name = "Signed"
good = "ends with a signature"
remedies = ["End with a signature."]
check = "regex"
pattern = '-- me$'
always = true

[[criterion]]
name = "No shouting"
good = "has no word in capitals"
check = "regex"
must_not = '\\b[A-Z]{4,}\\b'

[[criterion]]
name = "Brief"
good = "has at most ten words"
check = "length"
most = 10
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "criteria.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_users_criteria_are_read(tmp_path: Path) -> None:
    kind, signed, calm, brief = load_criteria(written(tmp_path, GOOD))
    assert kind == Criterion(
        "Kindness",
        good="gentle",
        worst="insulting",
        best="as kind as a friend",
        remedies=("Speak gently.", "Thank the user."),
        aliases=("Warmth",),
    )
    assert find("warmth", (kind, signed)) is kind
    assert (signed.check, signed.always) == (Pattern(must="-- me$", name="Signed"), True)
    assert calm.check == Pattern(must_not=r"\b[A-Z]{4,}\b", name="No shouting")
    assert brief.check == Length(most=10, name="Brief")


async def test_criteria_from_a_file_score_under_their_own_names(tmp_path: Path) -> None:
    code = [one for one in load_criteria(written(tmp_path, GOOD)) if one.check]
    verdict = await Checks(code)(Query("Bye?"), "BYE then\n-- me")
    assert {score.criterion: score.value for score in verdict.scores} == {
        "Signed": 5.0,
        "No shouting": 5.0,
        "Brief": 5.0,
    }


WHOLE = 'name = "A"\ngood = "g"\nworst = "w"\nbest = "b"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[criterion]\n", "is not valid TOML"),
        ("", "criterion: Field required"),
        ("criterion = []", "criterion: List should have at least 1 item"),
        ("[criterion]\n" + WHOLE, "criterion: Input should be a valid list"),
        ('title = "x"\n[[criterion]]\n' + WHOLE, "title: unknown key. Known keys: criterion."),
        ("[[criterion]]\n" + WHOLE + "weigth = 2", "criterion 'A', weigth: unknown key"),
        ('[[criterion]]\ngood = "g"', "criterion 'number 1', name: Field required"),
        ('[[criterion]]\nname = "A"\ngood = "g"', "say what a 1 and a 5 look like"),
        ('[[criterion]]\nname = "A"\ngood = ""', "criterion 'A', good:"),
        ("criterion = [3]", "criterion 'number 1'"),
        ("[[criterion]]\n" + WHOLE + "remedies = ['" + "a " * 16 + "']", "more than 15 words"),
        ("[[criterion]]\n" + WHOLE + "pattern = 'x'", "only for a criterion with a `check`"),
        ('[[criterion]]\nname = "A"\ngood = "g"\ncheck = "magic"', "known are regex, length"),
        ('[[criterion]]\nname = "A"\ngood = "g"\ncheck = "regex"', "checks nothing"),
        ('[[criterion]]\nname = "A"\ngood = "g"\ncheck = "refusal"\nmost = 3', "no options"),
        (
            '[[criterion]]\nname = "A"\ngood = "g"\ncheck = "regex"\npattern = "("',
            "is not a regular expression",
        ),
        (f"[[criterion]]\n{WHOLE}[[criterion]]\n{WHOLE}", "already belongs"),
        (f"[[criterion]]\n{WHOLE}[[criterion]]\n{WHOLE.replace('A', 'a')}", "already belongs"),
        (f"[[criterion]]\n{WHOLE}aliases = ['B']\n[[criterion]]\n{WHOLE.replace('A', 'B')}", "'B'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=re.escape(told)) as caught:
        load_criteria(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.toml cannot be read"):
        load_criteria(tmp_path / "nothing.toml")


def test_the_file_shown_in_the_docs_can_be_read(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "criteria.md"
    (example,) = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names = [criterion.name for criterion in load_criteria(written(tmp_path, example))]
    assert names == ["Kindness", "Signed"]
