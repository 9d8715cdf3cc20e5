"""A run's results as a page and a picture."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.playing import data_file, naive, pool_file
from trueup import Job, Query, Score, Scripted, Verdict, align
from trueup.report.chart import before_after
from trueup.report.markdown import SAMPLES, interval, report

EVIL = "``` |\n# Gotcha\n<img src=x onerror=alert(1)> [a](http://b) {{ r.job }} {% raw %}"


async def judge(query: Query, reply: str) -> Verdict:
    if "kettle" in query.text:
        return Verdict(failed=f"unreadable: {EVIL}")
    right = ("sorry" in reply) is (query.should_answer is False)
    return Verdict((Score(EVIL, 5.0 if right else 1.0, EVIL),), dropped=(f"dropped {EVIL}",))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import asyncio

    folder = tmp_path_factory.mktemp("report")
    job = Job(
        data=data_file(folder), demonstrations=pool_file(folder), calls=60, held_out=20,
        out=str(folder / "run"),
    )  # fmt: skip
    policy = Scripted(lambda request: naive(request) + EVIL)
    outcome = asyncio.run(align(job, models={"policy": policy}, judge=judge))
    return copy.deepcopy(dict(outcome.results)) | {"folder": outcome.folder}


def test_the_page_says_what_a_reader_asks(results: Any) -> None:
    page = report(results)
    assert page == (Path(results["folder"]) / "report.md").read_text("utf-8")
    assert page.startswith("# run\n\n**balanced safety ")
    for part in (
        "## Before and after",
        "### Safety",
        "### Right behaviour by category",
        "![Before and after, with 95% intervals](before_after.svg)",
        "your own judge, judge.",
        "## How much of the score is luck",
        "| chosen by (search) | compared on (validation) | reported on (held-out) |",
        "## The prompt\n\n```text\nYou are a helpful assistant.\n```",
        "## How it came about",
        "### Round 1",
        "## What it cost",
        "| policy |",
        "| policy (held-out) |",
        "## What it does not rest on",
        "trueup chat",
    ):
        assert part in page, part


def test_nothing_untrusted_breaks_out(results: Any) -> None:
    page = report(results)
    outside = without_blocks(page)
    assert "<img" not in outside
    assert "\n# Gotcha" not in outside
    assert re.search(r"(?<!\\)\]\(h", outside) is None
    assert EVIL.partition("\n")[2] in page  # inside the blocks it stands as it was
    headings = [line for line in outside.splitlines() if line.startswith("#")]
    assert "# Gotcha" not in headings


def test_every_table_has_one_width(results: Any) -> None:
    rows = [line for line in without_blocks(report(results)).splitlines() if line.startswith("|")]
    widths: list[int] = []
    for row in rows:
        width = len(re.findall(r"(?<!\\)\|", row))
        if set(row) <= set("|-: "):
            assert width == widths[-1]
        widths.append(width)
    assert len(rows) > 30


def test_what_failed_is_counted_and_shown(results: Any) -> None:
    verdicts = results["verdicts"]
    failed = sum(verdicts["failed"].values())
    assert failed > 0
    page = report(results)
    assert f"{verdicts['n']} verdicts, {failed} of them failed" in page
    assert re.search(r"- left out of a verdict \d+ times: dropped", page)


def test_both_replies_of_a_few_queries_are_shown(results: Any) -> None:
    page = report(results)
    shown = re.findall(r"^### \d+\. (\w+), to be (answered|refused)$", page, re.MULTILINE)
    assert 0 < len(shown) <= SAMPLES
    assert page.count("\nBefore (") == page.count("\nAfter (") == len(shown)


def test_a_page_of_nothing_can_still_be_made(results: Any) -> None:
    bare = dict(results) | {"rounds": [], "stopped": "The budget is spent."}
    bare["comparison"] = {"before": {}, "after": {}, "table": []}
    assert "Stopped early. The budget is spent." in report(bare)
    assert "nothing was measured" in before_after(bare["comparison"]["table"], "nothing")


def test_the_picture_is_sound_and_holds_its_rows(results: Any) -> None:
    picture = ElementTree.fromstring(before_after(results["comparison"]["table"], "all"))
    said = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"balanced safety", "harmful refused", "harmless answered"} <= set(said)
    assert not list(picture.iter("{http://www.w3.org/2000/svg}script"))
    width = float(picture.attrib["width"])
    for circle in picture.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= width


@pytest.mark.parametrize(
    ("found", "unit", "signed", "shown"),
    [
        (None, "share", False, "–"),
        ({"value": 0.5, "low": 0.25, "high": 0.75}, "share", False, "0.50 [0.25, 0.75]"),
        ({"value": 0.5, "low": -0.25, "high": 0.75}, "share", True, "+0.50 [-0.25, +0.75]"),
        ({"value": 20.0, "low": 10.0, "high": 30.0}, "words", False, "20.0 [10.0, 30.0]"),
        ({"value": 0.5, "low": None, "high": None}, "share", False, "0.50"),
    ],
)
def test_an_interval_as_text(found: Any, unit: str, signed: bool, shown: str) -> None:
    assert interval(found, unit, signed) == shown


def without_blocks(page: str) -> str:
    """The page without its code blocks."""
    kept, bars = [], ""
    for line in page.splitlines():
        if bars:
            bars = "" if line == bars else bars
        elif opening := re.match(r"`{3,}", line):
            bars = opening.group()
        else:
            kept.append(line)
    assert not bars, "a block is not closed"
    return "\n".join(kept)
