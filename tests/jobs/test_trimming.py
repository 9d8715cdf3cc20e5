"""`trueup trim` and `trueup transfer` from end to end, with models that follow a script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.playing import answered, data_file, demonstrations, naive, served
from trueup import (
    Aligned,
    DataError,
    Demonstration,
    Job,
    Prompt,
    Request,
    Retrieval,
    Sampling,
    Scripted,
    SettingsError,
)
from trueup.jobs.transferring import TransferJob, transfer
from trueup.jobs.trimming import TrimJob, ready, trim
from trueup.prompt.pieces import pieces, without

REFUSES = next(one for one in demonstrations() if not one.shows_answer)
ANSWERS = [one for one in demonstrations() if one.shows_answer][:3]
IDLE = "Be as thorough as you can and think about every side of every matter.\n"


def a_run(folder: Path, prompt: Prompt, model: str = "scripted") -> str:
    folder.mkdir()
    Aligned(model, prompt, Sampling(max_tokens=64)).save(folder / "aligned.toml")
    return str(folder)


def a_job(folder: Path, **settings: object) -> Job:
    usual = {
        "policy": "scripted",
        "judge": "checks",
        "writer": "none",
        "data": data_file(folder),
        "held_out": 24,
        "out": str(folder / "trimmed"),
    }
    return Job.of(usual | settings)


async def test_what_does_nothing_goes_and_what_makes_it_refuse_stays(tmp_path: Path) -> None:
    shown = (*ANSWERS, REFUSES)
    prompt = Prompt(f"{IDLE}You are a helpful assistant.", shown, Retrieval(4, by="fixed"))
    run = a_run(tmp_path / "run", prompt)
    outcome = await trim(TrimJob(run, a_job(tmp_path)), models={"policy": Scripted(naive)})
    results = outcome.results
    needed = [one["piece"]["name"] for one in results["alone"] if not one["passes"]]
    assert needed == [f"demonstration 4: {REFUSES.query}"]
    trimmed = Aligned.load(outcome.folder)
    # Lines and answers change nothing here; the one refusal is what the policy copies.
    assert trimmed.prompt.demonstrations == (REFUSES,)
    assert trimmed.prompt.instruction == "" and trimmed.prompt.retrieval.k == 1
    assert trimmed.provenance["trimmed from"] == run
    row = next(one for one in results["table"] if one["name"] == "balanced safety")
    assert (row["before"]["value"], row["after"]["value"], row["n"]) == (1.0, 1.0, 12)
    assert results["cost"]["added"]["value"] < -50
    tokens = [one["tokens"] for one in results["steps"] if one["kept"]]
    assert tokens == sorted(tokens, reverse=True) and len(tokens) == 6
    svg = (outcome.folder / "curve.svg").read_text()
    assert svg.count("<circle") == 6 + 6 and "floor" in svg
    page = (outcome.folder / "report.md").read_text()
    assert (
        "(curve.svg)" in page
        and "| whole | trimmed |" in page
        and results["summary"].partition("(")[0] in page
    )
    chosen = {one["query"]["text"] for one in results["before"]["results"]}
    assert len(chosen) == results["reporting"] == 12

    # Without a floor the standard error alone keeps it.
    free = a_job(tmp_path, out=str(tmp_path / "free"))
    other = await trim(TrimJob(run, free, 0.0), models={"policy": Scripted(naive)})
    assert Aligned.load(other.folder).prompt == trimmed.prompt

    again = await trim(TrimJob(run, a_job(tmp_path)), models={"policy": Scripted(naive)})
    assert again.shown_again and again.results == results


async def test_a_floor_keeps_what_the_standard_error_would_let_go(tmp_path: Path) -> None:
    def slips(request: Request) -> str:
        """Without the long line one harmful query is answered."""
        assert not isinstance(request.prompt, str)
        slip = "thorough" not in request.prompt[0].content and request.prompt[-1].content == text
        return answered(request.prompt[-1].content, may_refuse=not slip)

    prompt = Prompt(f"{IDLE}Help.", (), Retrieval(k=0))
    run = a_run(tmp_path / "run", prompt)
    data = a_job(tmp_path, held_out=48, validation=4)
    chooses = ready(TrimJob(run, data), models={"policy": Scripted(naive)}).choosing
    text = next(one.text for one in chooses if one.should_answer is False)
    for floor, out in ((0.5, "low"), (1.0, "high")):
        job = data.model_copy(update={"out": str(tmp_path / out)})
        outcome = await trim(TrimJob(run, job, floor), models={"policy": Scripted(slips)})
        alone = {one["piece"]["name"]: one for one in outcome.results["alone"]}
        line = alone[f"line 1: {IDLE.strip()}"]
        # One reply in twenty-four is within the error; below a floor of 1 it may not be.
        assert line["change"] >= -line["error"]
        assert line["passes"] is (floor == 0.5)


async def test_too_few_queries_and_floors_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    policy = Scripted(naive)
    run = a_run(tmp_path / "run", Prompt("Help.", (REFUSES,), Retrieval(1, by="fixed")))
    with pytest.raises(DataError, match="6 held-out queries are too few"):
        await trim(TrimJob(run, a_job(tmp_path, held_out=6)), models={"policy": policy})
    with pytest.raises(SettingsError, match="floor of 2"):
        await trim(TrimJob(run, a_job(tmp_path), 2), models={"policy": policy})
    assert policy.requests == []


def test_a_pool_is_taken_by_number_shown_by_kind_and_by_length() -> None:
    pool = tuple(
        Demonstration(f"query {n}", "word " * n, ("a", "b")[n % 2], shows_answer=n % 2 == 0)
        for n in range(9)
    )
    prompt = Prompt("One.\n\nTwo.", pool, Retrieval(3))
    names = [piece.name for piece in pieces(prompt)]
    assert names == [
        "line 1: One.",
        "line 3: Two.",
        "3 shown become 2",
        "3 shown become 1",
        "3 shown become 0",
        "of the pool 5: a, answers",
        "of the pool 4: b, refusals",
        "of the pool 3: its longest third",
    ]
    found = dict(zip(names, pieces(prompt), strict=True))
    assert without(prompt, []) == prompt
    shorter = without(prompt, [found["line 1: One."], found["3 shown become 1"]])
    assert (shorter.instruction, shorter.retrieval.k, shorter.demonstrations) == ("Two.", 1, pool)
    assert without(prompt, [found["3 shown become 0"]]).demonstrations == ()
    assert without(prompt, [found[names[-1]]]).demonstrations == pool[:6]


async def test_a_prompt_is_tried_on_another_model(tmp_path: Path) -> None:
    def stubborn(request: Request) -> str:
        assert not isinstance(request.prompt, str)
        return answered(request.prompt[-1].content, may_refuse=False)

    run = a_run(tmp_path / "run", Prompt("Help.", (REFUSES,), Retrieval(1, by="fixed")))
    models = {"scripted": Scripted(naive), "other": Scripted(stubborn, identity="other")}
    job = TransferJob((run,), ("other",), a_job(tmp_path, held_out=12))
    outcome = await transfer(job, models=models)
    cells = outcome.results["cells"]
    heads = {name: cells[name][run]["headline"] for name in cells}
    assert {
        name: (one["before"]["value"], one["after"]["value"]) for name, one in heads.items()
    } == {
        "scripted": (0.5, 1.0),
        "other": (0.5, 0.5),
    }
    assert cells["scripted"][run]["own"] and not cells["other"][run]["own"]
    assert outcome.results["summary"].startswith("0 of 1 prompts clearly better")
    page = (outcome.folder / "report.md").read_text()
    assert outcome.results["summary"] in page and "its own" in page and "+0.50" in page
    again = await transfer(job, models=models)
    assert again.shown_again
    costs = outcome.results["costs"]
    assert {role: cost["calls_paid"] for role, cost in costs.items()} == {
        f"policy, {name} (held-out)": 24 for name in ("plain", run)
    }
    with pytest.raises(SettingsError, match="plain is no aligned prompt"):
        await transfer(TransferJob(("plain",), (), a_job(tmp_path)), models=models)
    poor = a_job(tmp_path, held_out=12, budget_calls=20, out=str(tmp_path / "poor"))
    with pytest.raises(SettingsError, match="held-out queries alone take 48"):
        await transfer(TransferJob((run,), ("other",), poor), models=models)
    assert not (tmp_path / "poor").exists()


def test_the_commands_plan_run_and_show_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trueup.cli import app

    monkeypatch.chdir(tmp_path)
    with served() as server, served() as another:
        model, other = f"endpoint:{server.url}#fake", f"endpoint:{another.url}#fake"
        prompt = Prompt(f"{IDLE}Help.", (REFUSES,), Retrieval(1, by="fixed"))
        a_run(tmp_path / "run", prompt, model)
        usual = ["--data", data_file(tmp_path), "--judge", "checks", "--held-out", "12"]
        app(["trim", "run", *usual, "--dry-run"], standalone_mode=False)
        app(["transfer", "run", "--to", other, *usual, "--dry-run"], standalone_mode=False)
        assert server.seen == another.seen == []
        priced = ["--price", "policy=1,2", "--budget-usd", "5"]
        app(["trim", "run", *usual, *priced, "--out", "short"], standalone_mode=False)
        app(["transfer", "run", "--to", other, *usual, "--out", "moved"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "tokens saved" in printed and "fewer tokens a request" in printed
    assert "1 of 1 prompts clearly better than plain on a model not their own" in printed
    app(["show", "short"], standalone_mode=False)
    app(["show", "moved"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "fewer tokens a request" in shown and "its own" in shown
    cost = json.loads(Path("short/results.json").read_text())["cost"]
    assert cost["usd_per_thousand"] > 0, "a price that was given counts"
