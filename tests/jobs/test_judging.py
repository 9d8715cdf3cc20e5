"""`trueup judge` from end to end, with models that follow a script."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trueup.errors import DataError, SettingsError
from trueup.jobs.judging import JudgeJob, judge, read_sets
from trueup.judges.standing import known, load
from trueup.models.scripted import Scripted
from trueup.types import Choice, Reply, Request, TokenLogprob, Usage


@pytest.fixture(autouse=True)
def _own_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


def comparisons(path: Path, count: int = 40) -> str:
    """The better reply says so; the worse one is longer."""
    rows = [
        {
            "query": f"question {n}",
            "chosen": f"a fine answer to {n}",
            "rejected": f"some words about something else, and {n} more of them",
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def knowing(request: Request) -> Reply:
    """Sees which reply is fine; likes A a little too much. Answers yes-no and A-B questions."""
    assert not isinstance(request.prompt, str)
    asked = request.prompt[-1].content
    if "BEGIN ANSWER A" in asked:
        a = asked.split("BEGIN ANSWER A")[1].split("END ANSWER A")[0]
        p = 0.95 if "fine" in a else 0.4
        spread = {"A": p, "B": 1 - p}
    else:
        p = 0.8 if "fine" in asked else 0.3
        spread = {"Yes": p, "No": 1 - p}
    top = tuple((token, math.log(share)) for token, share in spread.items())
    token = TokenLogprob(*top[0], top=top)
    return Reply((Choice(top[0][0], logprobs=(token,)),), Usage(100, 1, 70), 0.25)


def job(tmp_path: Path, **changes: Any) -> JudgeJob:
    settings: dict[str, Any] = {
        "model": "scripted",
        "data": (comparisons(tmp_path / "mine.jsonl"),),
        "methods": "yes-no,pairs,checks,longer",
        "retest": 5,
        "out": str(tmp_path / "run"),
    }
    return JudgeJob(**(settings | changes))


async def test_a_judge_that_knows_is_measured_recommended_and_kept(tmp_path: Path) -> None:
    model = Scripted(knowing, identity="knowing")
    outcome = await judge(job(tmp_path), model=model)
    rows = outcome.results["methods"]
    assert {name: row["all"]["agreement"]["value"] for name, row in rows.items()} == {
        "yes-no": 1.0,
        "pairs": 1.0,
        "checks": rows["checks"]["all"]["agreement"]["value"],
        "longer": 0.0,
    }
    assert rows["pairs"]["all"]["position"]["value"] == 0.5
    assert rows["yes-no"]["all"]["retest"]["value"] == 1.0
    # Three phrasings on each of two replies.
    assert (rows["yes-no"]["all"]["tokens_in"], rows["yes-no"]["all"]["cached"]) == (600, 0.7)
    assert rows["yes-no"]["all"]["seconds"] == pytest.approx(1.5)
    assert outcome.advice.method in ("yes-no", "pairs") and outcome.advice.trust == "well"
    assert outcome.advice.text.startswith(f"Use {outcome.advice.method}")
    found = known("knowing", "yes-no")
    assert found is not None and not found.at_chance
    assert found in outcome.standings and load(tmp_path / "run") == outcome.standings
    assert found.preferred(4.2) > 0.5 > found.preferred(2.2)
    svg = (tmp_path / "run" / "judges.svg").read_text()
    assert "yes-no" in svg and "coin" in svg


async def test_a_judge_at_chance_is_not_recommended(tmp_path: Path) -> None:
    def coin(request: Request) -> Reply:
        p = 0.2 + 0.6 * (sum(request.content().encode()) % 97) / 96
        top = (("Yes", math.log(p)), ("No", math.log(1 - p)))
        return Reply((Choice("Yes", logprobs=(TokenLogprob(*top[0], top=top),)),))

    outcome = await judge(job(tmp_path, methods="yes-no"), model=Scripted(coin, identity="coin"))
    assert outcome.advice.trust == "no"
    assert outcome.advice.text.startswith("Do not trust this model as a judge")
    found = known("coin", "yes-no")
    assert found is not None and found.at_chance


async def test_the_same_seed_gives_the_same_figures_and_pays_nothing_again(tmp_path: Path) -> None:
    first = Scripted(knowing, identity="knowing")
    await judge(job(tmp_path), model=first)
    results = (tmp_path / "run" / "results.json").read_text()
    again = Scripted(knowing, identity="knowing")
    await judge(job(tmp_path), model=again)
    assert (tmp_path / "run" / "results.json").read_text() == results
    assert len(first.requests) > 0 and again.requests == []
    other = Scripted(knowing, identity="knowing")
    await judge(job(tmp_path, out=str(tmp_path / "fresh")), model=other)
    assert (tmp_path / "fresh" / "results.json").read_text() == results


async def test_the_folder_of_another_run_is_left_as_it_is(tmp_path: Path) -> None:
    model, folder = Scripted(knowing, identity="knowing"), tmp_path / "run"
    await judge(job(tmp_path, n=20), model=model)
    found = (folder / "results.json").read_text()
    other, asked = comparisons(tmp_path / "other.jsonl", 30), len(model.requests)
    with pytest.raises(SettingsError, match="holds a run with other settings, data"):
        await judge(job(tmp_path, data=(other,)), model=model)
    (folder / "job.json").unlink()
    with pytest.raises(SettingsError, match="holds other files: choose another folder with --out"):
        await judge(job(tmp_path), model=model)
    assert (folder / "results.json").read_text() == found and len(model.requests) == asked


async def test_a_folder_of_the_job_s_own_name_needs_no_settings_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As runs of earlier versions, which kept none."""
    monkeypatch.chdir(tmp_path)
    model = Scripted(knowing, identity="knowing")
    first = await judge(job(tmp_path, out=None), model=model)
    asked = len(model.requests)
    (first.folder / "job.json").unlink()
    again = await judge(job(tmp_path, out=None), model=model)
    assert again.results == first.results and len(model.requests) == asked > 0


async def test_more_comparisons_add_to_those_there_were(tmp_path: Path) -> None:
    model, once = Scripted(knowing, identity="knowing"), Scripted(knowing, identity="knowing")
    await judge(job(tmp_path, n=20), model=model)
    found = await judge(job(tmp_path, n=40), model=model)
    assert found.results["methods"]["pairs"]["all"]["n"] == 40
    await judge(job(tmp_path, out=str(tmp_path / "fresh"), n=40), model=once)
    assert len(model.requests) == len(once.requests)


async def test_what_cannot_be_measured_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    model = Scripted(knowing)
    with pytest.raises(SettingsError, match="Nothing to measure on"):
        await judge(job(tmp_path, data=()), model=model)
    with pytest.raises(SettingsError, match="'guess' is no way to judge"):
        await judge(job(tmp_path, methods="yes-no,guess"), model=model)
    with pytest.raises(DataError, match="12 comparisons are too few"):
        await judge(job(tmp_path, n=12), model=model)
    with pytest.raises(SettingsError, match="None of the methods asks the model"):
        await judge(job(tmp_path, methods="checks,longer"), model=model)
    mine = comparisons(tmp_path / "mine.jsonl")
    with pytest.raises(SettingsError, match="named twice"):
        read_sets(job(tmp_path, data=(mine, mine)))
    assert model.requests == []


SCRIPT = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests.jobs.test_judging import job, knowing
from trueup.jobs.judging import judge
from trueup.models.scripted import Scripted
from pathlib import Path

def counted(request):
    with open({log!r}, "a") as file:
        file.write(request.address("m") + "\\n")
    return knowing(request)

model = Scripted(counted, identity="m", delay=0.01)
asyncio.run(judge(job(Path({folder!r}), at_once=4), model=model))
"""


def test_a_killed_run_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    log = tmp_path / "paid.log"
    root = str(Path(__file__).parents[2])
    script = SCRIPT.format(root=root, log=str(log), folder=str(tmp_path))
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(Path(root) / "src")}
    process = subprocess.Popen(command, env=environment)
    while not log.exists() or len(log.read_text().splitlines()) < 60:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = log.read_text().splitlines()
    subprocess.run(command, env=environment, check=True)
    paid = log.read_text().splitlines()
    # What was under way when it was killed was not yet stored; all else is paid once.
    assert len(paid) - len(set(paid)) <= 4 * 3 * 2
    assert len(before) < len(set(paid))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["methods"]["pairs"]["all"]["agreement"]["n"] == 40


def test_the_command_prints_the_table_and_the_advice_and_shows_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.playing import served
    from trueup.cli import app

    def logprobs(body: dict[str, Any]) -> object:
        prompt = "\n".join(turn["content"] for turn in body["messages"])
        p = 0.9 if "fine" in prompt else 0.2
        top = [
            {"token": "Yes", "logprob": math.log(p)},
            {"token": "No", "logprob": math.log(1 - p)},
        ]
        return {"content": [{**top[0], "top_logprobs": top}]}

    data = comparisons(tmp_path / "mine.jsonl")
    out = str(tmp_path / "judged")
    with served(logprobs=logprobs) as server:
        model = f"endpoint:{server.url}#m"
        command = ["judge", "--model", model, "--data", data, "--methods", "yes-no,longer"]
        app([*command, "--n", "20", "--out", out], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "mine.jsonl: 20 comparisons" in printed
    assert "1.00 [0.84, 1.00]" in printed and "Use yes-no" in printed
    app(["show", out], standalone_mode=False)
    assert "Use yes-no" in capsys.readouterr().out
