"""What others wrote reaches a terminal as text: nothing of it is obeyed, nothing is markup."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from trueup.cli import app, main
from trueup.commands.compare import show_found
from trueup.jobs.judging import JudgeJob, judge
from trueup.models.scripted import Scripted
from trueup.report.tables import Table
from trueup.types import Choice, Reply, Request, TokenLogprob

HOSTILE = "\x1b[2J[red]mine[/red]\x07"
SHOWN = "\N{REPLACEMENT CHARACTER}[2J[red]mine[/red]\N{REPLACEMENT CHARACTER}"


def labels(path: Path) -> str:
    """People like either model's replies half the time."""
    rows = [
        {
            "query": f"question {n}",
            "first": f"by the first: {n}",
            "second": f"by the second: {n}",
            "better": "second" if n % 2 else "first",
            "first_model": HOSTILE,
            "second_model": "another",
        }
        for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def liking_the_first(request: Request) -> Reply:
    """Favours the first model's replies, wherever they stand."""
    p = 0.9 if "by the first" in request.content() else 0.1
    top = (("Yes", math.log(p)), ("No", math.log(1 - p)))
    return Reply((Choice("Yes", logprobs=(TokenLogprob(*top[0], top=top),)),))


async def test_names_in_a_labels_file_are_shown_and_not_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    data, out = labels(tmp_path / "set\x1b[2J[red].jsonl"), str(tmp_path / "run")
    job = JudgeJob("scripted", (data,), methods="yes-no", retest=0, out=out)
    await judge(job, model=Scripted(liking_the_first, identity="partial"))
    app(["show", out], standalone_mode=False)
    printed = capsys.readouterr().out
    assert not set(printed) & set("\x1b\x07")
    heads = [line.split() for line in printed.splitlines()]
    assert ["agreement", "by", "set", "set\N{REPLACEMENT CHARACTER}[2J[red].jsonl"] in heads
    (row,) = (line.split() for line in printed.splitlines() if "mine" in line)
    assert row[:3] == ["yes-no", SHOWN, "+0.50"]


def test_titles_headings_cells_and_lines_are_shown_and_not_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = {"summary": HOSTILE, "judge": HOSTILE, "stopped": HOSTILE}
    show_found([Table(HOSTILE, [HOSTILE], [[HOSTILE]])], results)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    table = [SHOWN, SHOWN, SHOWN, ""]
    assert lines == [*table, SHOWN, f"Judge: {SHOWN}", f"Stopped early: {SHOWN}"]


def test_an_error_that_names_what_somebody_wrote_is_shown_and_not_obeyed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trueup", "show", HOSTILE])
    with pytest.raises(SystemExit, match="1"):
        main()
    printed = capsys.readouterr().err
    assert SHOWN in printed and not set(printed) & set("\x1b\x07")
