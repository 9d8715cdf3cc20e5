"""The pictures show what was measured, and nothing untrusted gets into their markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup import Query, Score, Verdict
from trueup.evaluation.comparison import Comparison
from trueup.evaluation.evaluate import Evaluation, Result
from trueup.evaluation.pictures import pictured
from trueup.report.album import ALBUM, drawn, shown
from trueup.report.drawing import between
from trueup.report.heat_map import MOST_COLUMNS, MOST_ROWS, heat_map
from trueup.report.safety_chart import LEFT, SIDE, TOP, safety_chart
from trueup.report.wins_chart import PLOT, wins_chart

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "</text><script>alert(1)</script>&\x1b\u202e"


def judged(
    number: int, category: str, should_answer: bool | None, outcome: str, **scores: float
) -> Result:
    verdict = Verdict(tuple(Score(name, value) for name, value in scores.items()))
    query = Query(f"query {number}", category, should_answer)
    return Result(number, query, "a reply", verdict, 2, outcome)


def a_comparison() -> Comparison:
    """Ten harmless queries and ten harmful: fewer harmful ones answered, more harmless refused."""
    before, after = [], []
    for number in range(20):
        harmless = number < 10
        category = "everyday" if harmless else "harmful"
        outcome = ("answered" if number < 8 else "degenerate") if harmless else "answered"
        before.append(judged(number, category, harmless, outcome, Tone=3, Safety=1 + 4 * harmless))
        outcome = ("refused" if number < 2 else outcome) if harmless else "refused"
        after.append(judged(number, category, harmless, outcome, Tone=3 + number % 2, Safety=5))
    return Comparison(Evaluation("m", tuple(before)), Evaluation("m", tuple(after)))


def test_the_numbers_are_those_of_the_replies() -> None:
    found = pictured(a_comparison())
    points = {one["name"]: one for one in found["safety"]}
    shares = {
        name: (one["over_refusal"]["value"], one["attack_success"]["value"])
        for name, one in points.items()
    }
    # A broken reply is no refusal.
    assert shares == {"base": (0.0, 1.0), "aligned": (0.2, 0.0)}
    assert points["base"]["over_refusal"]["low"] == 0 < points["base"]["over_refusal"]["high"] < 0.4

    counted = [(one["name"], one["wins"], one["ties"], one["losses"]) for one in found["wins"]]
    assert counted == [("reward", 15, 5, 0), ("Safety", 10, 10, 0), ("Tone", 10, 10, 0)]
    assert [one["rate"]["value"] for one in found["wins"]] == [0.875, 0.75, 0.75]

    cells = {(one["criterion"], one["category"]): one for one in found["change"]}
    values = {key: (one["value"], one["n"]) for key, one in cells.items()}
    assert values == {
        ("reward", "everyday"): (0.25, 10),
        ("reward", "harmful"): (2.25, 10),
        ("Safety", "everyday"): (0.0, 10),
        ("Safety", "harmful"): (4.0, 10),
        ("Tone", "everyday"): (0.5, 10),
        ("Tone", "harmful"): (0.5, 10),
    }


def test_a_difference_that_nobody_would_see_is_a_tie() -> None:
    before = Evaluation("m", (judged(0, "", None, "answered", Tone=3.0),))
    after = Evaluation("m", (judged(0, "", None, "answered", Tone=3.04),))
    (row, _) = pictured(Comparison(before, after))["wins"]
    assert (row["wins"], row["ties"], row["rate"]["value"]) == (0, 1, 0.5)


def test_what_failed_is_in_no_cell_and_no_tie() -> None:
    comparison = a_comparison()
    lost = Result(0, comparison.before.results[0].query, None, Verdict(failed="no reply"))
    before = Evaluation("m", (lost, *comparison.before.results[1:]))
    found = pictured(Comparison(before, comparison.after))
    assert {one["name"]: one["wins"] + one["ties"] + one["losses"] for one in found["wins"]} == {
        "reward": 19, "Safety": 19, "Tone": 19,
    }  # fmt: skip
    assert {one["n"] for one in found["change"] if one["category"] == "everyday"} == {9}
    assert found["safety"][0]["over_refusal"]["n"] == 9


def test_without_queries_to_refuse_there_is_no_plane_of_safety() -> None:
    results = tuple(judged(n, "", None, "answered", Tone=3) for n in range(5))
    one = Evaluation("m", results)
    found = {"comparison": {"table": []}, "summary": "", "pictures": pictured(Comparison(one, one))}
    assert found["pictures"]["safety"] == []
    assert (
        list(drawn(found)) == list(shown(found)) == ["before_after.svg", "wins.svg", "change.svg"]
    )
    # The results of an earlier version have no such numbers.
    assert list(drawn({"comparison": {"table": []}, "summary": ""})) == ["before_after.svg"]


def test_the_arrow_goes_from_base_to_aligned() -> None:
    picture = ElementTree.fromstring(safety_chart(pictured(a_comparison())["safety"]))
    dots = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in picture.iter(f"{SVG}circle")]
    assert dots[0] == (LEFT, TOP) and dots[2] == (LEFT + 0.2 * SIDE, TOP + SIDE)
    (head,) = picture.iter(f"{SVG}polygon")
    tip = head.attrib["points"].split()[0].split(",")
    assert abs(float(tip[0]) - dots[2][0]) < 10 and abs(float(tip[1]) - dots[2][1]) < 10
    same = pictured(a_comparison())["safety"][:1] * 2
    assert not list(ElementTree.fromstring(safety_chart(same)).iter(f"{SVG}polygon"))


def test_a_bar_is_as_long_as_its_share() -> None:
    rows = pictured(a_comparison())["wins"]
    boxes = list(ElementTree.fromstring(wins_chart(rows)).iter(f"{SVG}rect"))[3:]
    widths = [float(one.attrib["width"]) for one in boxes]
    assert widths == pytest.approx([0.75 * PLOT, 0.25 * PLOT, *[PLOT / 2] * 4])


def test_only_what_is_clear_is_bold_and_the_rest_of_a_crowd_is_told() -> None:
    cells = [
        cell("reward", "a", 1.0, 0.5, 1.5),
        cell("reward", "b", 1.0, -0.5, 1.5),
        cell("reward", "c", 1.0, None, None),
    ]
    picture = ElementTree.fromstring(heat_map(cells))
    bold = [one.text for one in picture.iter(f"{SVG}text") if "font-weight" in one.attrib]
    assert bold == ["+1.00"]
    crowd = [cell(f"c{n}", f"k{m}", 0.0, 0.0, 0.0) for n in range(30) for m in range(30)]
    told = "".join(ElementTree.fromstring(heat_map(crowd)).itertext())
    assert f"{30 - MOST_ROWS} more criteria and {30 - MOST_COLUMNS} more categories" in told


@given(st.text(max_size=60) | st.just(EVIL))
def test_names_are_text_and_nothing_else(name: str) -> None:
    share = {"value": 0.5, "low": 0.25, "high": 0.75}
    pictures = [
        heat_map([cell(name, name, 0.5, None, None)]),
        wins_chart([{"name": name, "wins": 1, "ties": 0, "losses": 2, "rate": share}], name),
        safety_chart([{"name": name, "over_refusal": share, "attack_success": share}]),
    ]
    for svg in pictures:
        tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
        assert tags <= {"svg", "title", "text", "rect", "line", "circle", "polygon"}


def test_a_picture_of_nothing_says_so() -> None:
    for svg in (heat_map([]), wins_chart([]), safety_chart([])):
        assert "nothing was measured" in svg


def test_colours_go_from_one_to_the_other() -> None:
    assert [between("#000000", "#ff8000", share) for share in (0, 0.5, 1)] == [
        "#000000", "#804000", "#ff8000",
    ]  # fmt: skip


def test_a_run_leaves_its_pictures_and_the_page_shows_them(run_folder: Path) -> None:
    page = (run_folder / "report.md").read_text("utf-8")
    assert re.findall(r"!\[[^]]*\]\((\w+\.svg)\)", page) == list(ALBUM)
    for name in ALBUM:
        ElementTree.parse(run_folder / name)


def cell(
    criterion: str, category: str, value: float, low: float | None, high: float | None
) -> dict[str, Any]:
    return {"criterion": criterion, "category": category, "value": value, "low": low, "high": high,
            "n": 10}  # fmt: skip
