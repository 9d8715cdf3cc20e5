"""`trueup evaluate` from end to end, with models that follow a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.playing import demonstrations, naive, queries
from trueup.aligned import Aligned
from trueup.commands.evaluate import show
from trueup.errors import DataError, ModelRefused, SettingsError
from trueup.jobs.evaluate_job import EvaluateJob, prepare
from trueup.jobs.evaluating import evaluate
from trueup.judges.calibration import Calibration
from trueup.judges.standing import Share, Standing, home, keep, wording
from trueup.models.scripted import Scripted
from trueup.prompt.prompt import Prompt
from trueup.prompt.retrieval import Retrieval
from trueup.types import Request, Sampling


def xstest(folder: Path, count: int = 40) -> str:
    """Half safe and half unsafe, in the set's own form."""
    rows = [
        {
            "prompt": query.text,
            "type": "contrast" if query.should_answer is False else "homonyms",
            "label": "safe" if query.should_answer else "unsafe",
        }
        for query in queries(count)
    ]
    (folder / "xstest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"xstest@{folder}"


def aligned(folder: Path, model: str = "policy") -> str:
    """A run's file whose prompt shows how to refuse."""
    shown = tuple(demonstrations(8))
    prompt = Prompt("Be safe.", shown, Retrieval(k=8))
    found = Aligned(model, prompt, Sampling(max_tokens=32, frequency_penalty=0.25))
    return str(found.save(folder / "aligned.toml"))


def job(folder: Path, **changes: Any) -> EvaluateJob:
    settings: dict[str, Any] = {
        "model": aligned(folder),
        "benchmarks": changes.get("benchmarks") or (xstest(folder),),
        "against": "plain",
        "out": str(folder / "run"),
    }
    return EvaluateJob(**(settings | changes))


def policy(delay: float = 0.0) -> dict[str, Scripted]:
    return {"policy": Scripted(naive, "policy", delay=delay)}


async def test_before_and_after_on_the_same_queries(tmp_path: Path) -> None:
    models = policy()
    found = (await evaluate(job(tmp_path), models=models)).results
    one = found["benchmarks"]["xstest"]
    head = one["headline"]
    assert (head["before"]["value"], head["after"]["value"]) == (0.5, 1.0)
    assert head["difference"]["low"] > 0.3 and head["clear"] == "better"
    assert (head["wins"], head["ties"], head["losses"]) == (20, 20, 0)
    assert head["needed"] is None, "where nothing varies there is nothing to reckon with"
    assert (head["n"], head["failed"], one["of"]) == (40, 0, 40)
    rows = {(row["group"], row["name"]): row for row in one["table"]}
    assert rows["figure", "attack success"]["before"]["value"] == 1.0
    assert rows["figure", "attack success"]["after"]["value"] == 0.0
    assert rows["figure", "over-refusal"]["difference"]["value"] == 0.0
    assert rows["category", "contrast"]["after"]["value"] == 1.0
    assert rows["behaviour", "refused"]["after"]["value"] == 0.5
    # Eight demonstrations in front: most of each prompt, and what the difference says.
    tokens = rows["cost", "tokens in"]["difference"]["value"]
    added = one["tokens_added"]
    plain = len("You are a helpful assistant.") / 4
    assert added["tokens"] == pytest.approx(tokens + plain, abs=1.0) and added["share"] > 0.9
    assert found["summary"] == "xstest 0.50 → 1.00"
    assert {one.sampling for one in models["policy"].requests} == {
        Sampling(max_tokens=128, frequency_penalty=0.25)
    }

    lines = (tmp_path / "run" / "xstest.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert len(lines) == 40 and first["number"] == 0
    assert first["answers"].keys() == {"against", "model"}
    assert first["answers"]["model"]["marks"]["balanced safety"] == 1.0
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == found
    assert (tmp_path / "run" / "finished.json").exists()

    page = (tmp_path / "run" / "report.md").read_text()
    assert "| xstest | balanced safety ↑ | 0.50 " in page and "Follows XSTest" in page
    assert "(figures.svg)" in page and "(safety.svg)" in page
    drawn = ElementTree.parse(tmp_path / "run" / "safety.svg").getroot()
    said = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"against", "model"} <= set(said)
    assert any(one.startswith("attack success 1.00") for one in said)
    drawn = ElementTree.parse(tmp_path / "run" / "figures.svg").getroot()
    said = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"xstest: balanced safety", "0.50 → 1.00"} <= set(said)


async def test_again_pays_nothing_and_more_queries_pay_for_themselves(tmp_path: Path) -> None:
    few, same, more = policy(), policy(), policy()
    first = await evaluate(job(tmp_path, n=10), models=few)
    again = await evaluate(job(tmp_path, n=10), models=same)
    assert len(few["policy"].requests) == 20 and same["policy"].requests == []
    assert again.results["benchmarks"] == first.results["benchmarks"]
    found = await evaluate(job(tmp_path, n=16), models=more)
    assert len(more["policy"].requests) == 12
    assert found.results["benchmarks"]["xstest"]["n"] == 16


async def test_until_stops_when_it_is_decided_and_not_before(tmp_path: Path) -> None:
    data, models = xstest(tmp_path, 240), policy()
    asked = job(tmp_path, until=True, n=240, benchmarks=(data,))
    found = (await evaluate(asked, models=models)).results
    one = found["benchmarks"]["xstest"]
    assert one["decided"] is True and one["sequential"]["low"] > 0
    assert one["n"] < 120 and len(models["policy"].requests) <= 2 * (one["n"] + 8)

    alike = job(tmp_path, against="policy", model="policy", until=True, benchmarks=(data,), n=100,
                out=str(tmp_path / "alike"))  # fmt: skip
    one = (await evaluate(alike, models=policy())).results["benchmarks"]["xstest"]
    assert one["decided"] is False and one["n"] == 100
    assert one["headline"]["difference"]["value"] == 0.0 and one["headline"]["needed"] is None


async def test_what_is_shown_of_a_comparison_until_it_is_decided_may_be_looked_at_often(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = job(tmp_path, until=True, n=40)
    found = (await evaluate(asked, models=policy())).results
    one = found["benchmarks"]["xstest"]
    often, once = (
        f"{gap['value']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]"
        for gap in (one["sequential"], one["headline"]["difference"])
    )
    assert often != once
    show(found)
    said = capsys.readouterr().out
    assert said.count(often) == 2 and once not in said and f"{often} decided" in said


async def test_where_nothing_could_be_read_that_is_under_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.jsonl").write_text('{"query": "Name a river."}\n' * 3)
    models = {**policy(), "mute": Scripted(lambda request: "", "mute")}
    for against in (None, "plain"):
        asked = job(tmp_path, against=against, judge="written", judge_model="mute",
                    benchmarks=(f"queries@{tmp_path / 'mine.jsonl'}",),
                    out=str(tmp_path / f"run {against}"))  # fmt: skip
        show((await evaluate(asked, models=models)).results, details=False)
        lines = capsys.readouterr().out.splitlines()
        (row,) = (line for line in lines if "nothing measured" in line)
        head = next(line for line in lines if "tokens added" in line)
        cells = {name: row[head.index(name) :].split()[0] for name in ("n  ", "failed", "seconds")}
        assert cells == {"n  ": "0", "failed": "3", "seconds": "–"}


async def test_a_spent_budget_keeps_what_was_measured_and_goes_on_later(tmp_path: Path) -> None:
    first = (await evaluate(job(tmp_path, budget_calls=30), models=policy())).results
    one = first["benchmarks"]["xstest"]
    assert one["n"] < 16 and "30 calls" in one["stopped"] and first["stopped"] == one["stopped"]
    models = policy()
    found = (await evaluate(job(tmp_path), models=models)).results
    assert found["benchmarks"]["xstest"]["n"] == 40 and found["stopped"] is None
    assert len(models["policy"].requests) == 80 - 30


async def test_what_a_model_cannot_do_is_said_soon_and_the_rest_is_measured(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "correct_answers": ["a"], "incorrect_answers": ["b"]}
            for n in range(90)]  # fmt: skip
    path = tmp_path / "truthfulqa_v1.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = policy()
    both = (f"truthfulqa_mc@{path}", xstest(tmp_path))
    found = (await evaluate(job(tmp_path, benchmarks=both, n=90), models=models)).results
    told = found["benchmarks"]["truthfulqa_mc"]["stopped"]
    assert "not one query could be answered: the model gave no log-probabilities" in told
    assert found["summary"] == "truthfulqa_mc: nothing measured; xstest 0.50 → 1.00"
    assert sum(request.forced is not None for request in models["policy"].requests) < 2 * 90
    alone = job(tmp_path, benchmarks=both[:1], out=str(tmp_path / "alone"))
    with pytest.raises(ModelRefused, match="gave no log-probabilities"):
        await evaluate(alone, models=policy())


async def test_one_model_alone_judged_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    share = Share(0.7, 0.6, 0.8, 90)
    standing = Standing("expert", "written", share, Calibration("platt", (1.0,)),
                        wording=wording("written"))  # fmt: skip
    keep([standing], home("expert"))
    (tmp_path / "mine.jsonl").write_text(
        "".join(json.dumps({"query": f"Name river {n}.", "category": "ab"[n % 2]}) + "\n"
                for n in range(20))
    )  # fmt: skip

    def judge(request: Request) -> str:
        assert request.schema is not None and not isinstance(request.prompt, str)
        score = 4 if "river 1" in request.prompt[-1].content else 2
        return json.dumps(
            {n: {"reason": "so", "score": score} for n in request.schema["properties"]}
        )

    models = {**policy(), "expert": Scripted(judge, "expert")}
    asked = job(tmp_path, model="policy", against=None, judge_model="expert",
                benchmarks=(f"queries@{tmp_path / 'mine.jsonl'}",), seed=3)  # fmt: skip
    found = (await evaluate(asked, models=models)).results
    head = found["benchmarks"]["queries"]["headline"]
    assert head["before"]["value"] == pytest.approx((11 * 4 + 9 * 2) / 20)
    assert head["after"] is None and head["wins"] is None
    assert found["judge"] == (
        "expert writes its reasons. Measured: it agreed with people on 0.70 [0.60, 0.80], n = 90 "
        "comparisons."
    )
    names = [row["name"] for row in found["benchmarks"]["queries"]["table"]]
    assert names[:7] == ["reward", "Clarity", "Factuality", "Helpfulness", "Safety", "a", "b"]
    assert found["costs"]["in_all"].keys() == {"model", "judge"}


async def test_a_judge_that_is_named_judges_the_embedded_model_too(tmp_path: Path) -> None:
    def judge(request: Request) -> str:
        assert request.schema is not None
        return json.dumps({n: {"reason": "so", "score": 3} for n in request.schema["properties"]})

    (tmp_path / "mine.jsonl").write_text('{"query": "Name a river."}\n')
    models = {"embedded": Scripted(naive, "embedded"), "expert": Scripted(judge, "expert")}
    asked = job(tmp_path, model="embedded", against=None, judge_model="expert",
                benchmarks=(f"queries@{tmp_path / 'mine.jsonl'}",))  # fmt: skip
    found = (await evaluate(asked, models=models)).results
    assert found["judge"].startswith("expert writes its reasons.")
    assert found["benchmarks"]["queries"]["headline"]["before"]["value"] == 3.0
    assert len(models["expert"].requests) == 1


async def test_a_win_rate_needs_someone_to_win_against(tmp_path: Path) -> None:
    rows = [{"instruction": f"Name river {n}."} for n in range(4)]
    path = tmp_path / "alpaca_eval.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = policy()
    alone = {"model": "policy", "judge": "checks", "benchmarks": (f"alpaca_eval@{path}",)}
    with pytest.raises(SettingsError, match=r"has no reference replies .* --against"):
        await evaluate(job(tmp_path, against=None, **alone), models=models)
    assert models["policy"].requests == []
    found = (await evaluate(job(tmp_path, against="policy", **alone), models=models)).results
    assert found["benchmarks"]["alpaca_eval"]["headline"]["n"] == 4
    path.write_text("".join(json.dumps(row | {"output": "The Nile."}) + "\n" for row in rows))
    asked = job(tmp_path, against=None, out=str(tmp_path / "alone"), **alone)
    found = (await evaluate(asked, models=models)).results
    assert found["benchmarks"]["alpaca_eval"]["headline"]["n"] == 4


async def test_judged_replies_as_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    await evaluate(job(tmp_path, parquet=True, n=12), models=policy())
    rows = parquet.read_table(tmp_path / "run" / "xstest.parquet").to_pylist()
    assert len(rows) == 12
    text = (tmp_path / "run" / "xstest.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [row["query"] for row in rows] == [line["query"] for line in lines]
    assert [row["answers"]["model"]["marks"]["refused"] for row in rows] == [
        line["answers"]["model"]["marks"]["refused"] for line in lines
    ]


async def test_a_reply_that_parquet_cannot_hold_ends_no_evaluation(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    asked = job(tmp_path, model="policy", against=None, parquet=True, n=12)
    cut_off = Scripted(lambda request: "cut off in an emoji \ud83d", "policy")
    await evaluate(asked, models={"policy": cut_off})
    rows = parquet.read_table(tmp_path / "run" / "xstest.parquet").to_pylist()
    replies = [reply for row in rows for reply in row["answers"]["model"]["replies"]]
    assert replies == ["cut off in an emoji ?"] * 12
    assert "an emoji \\ud83d" in (tmp_path / "run" / "xstest.jsonl").read_text()


async def test_what_makes_no_sense_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    models = policy()
    for changes, error, told in [
        ({"benchmarks": ()}, SettingsError, "name a benchmark with --benchmark NAME@PATH"),
        ({"benchmarks": ("mmlu@x",)}, SettingsError, "'mmlu' is no benchmark"),
        ({"benchmarks": (f"gsm8k@{tmp_path}",)}, DataError, "holds no file of gsm8k"),
        ({"benchmarks": (xstest(tmp_path),) * 2}, SettingsError, "xstest is named twice"),
        ({"model": "policy"}, SettingsError, "'plain' is an aligned run's model without"),
        ({"model": "nowhere/run"}, DataError, "There is no nowhere/run"),
        ({"against": None, "until": True}, SettingsError, "--until needs something to decide"),
        ({"judge": "guess"}, SettingsError, "'guess' is no way to judge"),
        ({"judge": "checks", "judge_model": "x"}, SettingsError, "checks asks no model"),
        ({"prices": {"policy": (1, 2)}}, SettingsError, "'policy' is no role in an evaluation"),
        ({"budget_calls": -1}, SettingsError, "A budget of -1 calls makes no sense"),
    ]:
        with pytest.raises(error, match=told):
            await evaluate(job(tmp_path, **changes), models=models)
    await evaluate(job(tmp_path, n=2), models=policy())
    with pytest.raises(SettingsError, match="holds a run with other settings"):
        await evaluate(job(tmp_path, seed=9), models=models)
    assert models["policy"].requests == []


async def test_the_folder_of_another_run_is_left_as_it_is(tmp_path: Path) -> None:
    folder, models = tmp_path / "run", policy()
    folder.mkdir()
    for name in ("run.json", "job.toml", "results.json", "finished.json"):
        (folder / name).write_text(f"{name} of `trueup align`")
    with pytest.raises(SettingsError, match="holds other files: choose another folder with --out"):
        await evaluate(job(tmp_path), models=models)
    assert models["policy"].requests == []
    assert {one.name: one.read_text() for one in folder.iterdir()} == {
        name: f"{name} of `trueup align`"
        for name in ("run.json", "job.toml", "results.json", "finished.json")
    }


async def test_a_run_killed_while_its_settings_were_written_begins_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("run.json", "run.lock", ".evaluate.json.writing"):
        (tmp_path / "run" / name).write_text("")
    assert (await evaluate(job(tmp_path, n=2), models=policy())).results["stopped"] is None
    assert not (tmp_path / "run" / ".evaluate.json.writing").exists()


def test_an_estimate_is_an_upper_bound_of_the_calls(tmp_path: Path) -> None:
    prepared = prepare(job(tmp_path, n=30), policy())
    (row,) = prepared.expected()
    assert (row.n, row.calls, row.judge_calls) == (30, 60, 0)
    assert row.tokens > 60 * 128
    data = f"queries@{tmp_path / 'xstest.jsonl'}"
    judged = job(tmp_path, n=30, benchmarks=(data,), judge="likelihood", judge_model="policy")
    (row,) = prepare(judged, policy()).expected()
    assert (row.calls, row.judge_calls) == (60, 60 * 4 * 3)


SCRIPT = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests.playing import naive
from tests.jobs.test_evaluating import job
from trueup.jobs.evaluating import evaluate
from trueup.models.scripted import Scripted
from pathlib import Path

def counted(request):
    with open({log!r}, "a") as file:
        file.write(request.address("policy") + "\\n")
    return naive(request)

model = Scripted(counted, "policy", delay=0.02)
asyncio.run(evaluate(job(Path({folder!r}), at_once=4), models={{"policy": model}}))
"""


def test_a_killed_run_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    log = tmp_path / "paid.log"
    root = str(Path(__file__).parents[2])
    script = SCRIPT.format(root=root, log=str(log), folder=str(tmp_path))
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(Path(root) / "src")}
    process = subprocess.Popen(command, env=environment)
    while not log.exists() or len(log.read_text().splitlines()) < 30:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = log.read_text().splitlines()
    assert not (tmp_path / "run" / "finished.json").exists()
    subprocess.run(command, env=environment, check=True)
    paid = log.read_text().splitlines()
    # What was under way when it was killed was not yet stored; all else is paid once.
    assert len(paid) - len(set(paid)) <= 4 * 2
    assert len(before) < len(set(paid)) == 80
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["benchmarks"]["xstest"]["headline"]["n"] == 40


def test_the_command_says_what_it_will_do_does_it_and_shows_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.playing import served
    from trueup.cli import app

    monkeypatch.chdir(tmp_path)
    with served() as server:
        run = aligned(tmp_path, f"endpoint:{server.url}#fake")
        command = ["evaluate", run, "--benchmark", xstest(tmp_path), "--against", "plain",
                   "--n", "20", "--out", "out"]  # fmt: skip
        app([*command, "--dry-run"], standalone_mode=False)
        said = capsys.readouterr().out
        assert "About 40 calls and" in said and server.bodies() == []
        app(command, standalone_mode=False)
        said = capsys.readouterr()
    assert "xstest: 20 of 20" in said.err
    assert "balanced safety ↑" in said.out and "trueup show out" in said.out
    app(["show", "out"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "over-refusal ↓" in shown and "Follows XSTest" in shown and "better" in shown
    app(["runs", "."], standalone_mode=False)
    assert "xstest 0." in capsys.readouterr().out


def test_other_peoples_machines_are_not_called_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trueup.cli import app

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"may cost money \(endpoint:.*nobody is there"):
        app(
            ["evaluate", "endpoint:https://example.org#m", "--benchmark", xstest(tmp_path)],
            standalone_mode=False,
        )
