"""A judge that is known to be at chance: said before anything is spent; code goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.jobs.test_alignment import a_job
from tests.playing import naive
from trueup import JudgeError, ModelUnavailable, Request, Scripted, align
from trueup.jobs.plan import prepare
from trueup.judges.calibration import Calibration
from trueup.judges.criteria import POOL
from trueup.judges.standing import Share, Standing, home, keep, known, wording
from trueup.types import Choice, Reply, TokenLogprob


@pytest.fixture(autouse=True)
def _own_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


def measured(method: str, value: float, low: float, **criteria: Share) -> Standing:
    return Standing(
        model="the judge",
        method=method,
        agreement=Share(value, low, value + (value - low), 200),
        calibration=Calibration("platt", (2.0,)),
        wording=wording(method),
        rewards=(2.0, 3.0, 4.0),
        criteria=criteria,
    )


def yes(request: Request) -> Reply:
    """Says Yes to long replies: a judge that can be won by length."""
    p = min(0.9, len(str(request.prompt)) / 4000)
    top = (("Yes", math.log(p)), ("No", math.log(1 - p)))
    return Reply((Choice("Yes", logprobs=(TokenLogprob(*top[0], top=top),)),))


AT_CHANCE = measured("yes-no", 0.51, 0.44)


async def test_its_criteria_are_left_out_and_code_judges_alone(tmp_path: Path) -> None:
    keep([AT_CHANCE], home("the judge"))
    judge = Scripted(yes, identity="the judge")
    models = {"policy": Scripted(naive), "judge": judge}
    job = a_job(tmp_path, judge="likelihood")
    told = prepare(job, models=models).judge_shown
    assert "At chance: it agreed with people on 0.51 [0.44, 0.58], n = 200" in told
    assert "code checks judge alone" in told
    outcome = await align(job, models=models)
    assert judge.requests == []
    row = next(r for r in outcome.results["comparison"]["table"] if r["name"] == "balanced safety")
    assert row["clear"] == "better"
    assert "code checks judge alone" in (outcome.folder / "report.md").read_text()


def test_alone_it_is_refused_unless_forced(tmp_path: Path) -> None:
    keep([measured("dynamic", 0.5, 0.4)], home("the judge"))
    policy, judge = Scripted(naive), Scripted(yes, identity="the judge")
    models = {"policy": policy, "judge": judge, "writer": policy}
    job = {"judge": "dynamic", "published": True, "writer": "policy", "held_out": 8}
    with pytest.raises(JudgeError, match=r"at chance.*nothing else would judge.*--force"):
        prepare(a_job(tmp_path, **job), models=models)
    assert policy.requests == judge.requests == []
    forced = prepare(a_job(tmp_path, **job, force=True), models=models)
    assert forced.criteria == POOL and "(--force)" in forced.judge_shown


def test_single_criteria_at_chance_are_left_out(tmp_path: Path) -> None:
    good, coin = Share(0.7, 0.6, 0.8, 100), Share(0.5, 0.4, 0.6, 100)
    keep([measured("dynamic", 0.65, 0.6, Clarity=good, Depth=coin)], home("the judge"))
    models = {"policy": Scripted(naive), "judge": Scripted(yes, identity="the judge")}
    plan = prepare(a_job(tmp_path, judge="dynamic"), models=models)
    names = {one.name for one in plan.criteria}
    assert "Clarity" in names and "Depth" not in names
    assert "Left out, being at chance: Depth." in plan.judge_shown


def test_a_judge_that_nobody_measured_is_said_to_be_one(tmp_path: Path) -> None:
    models = {"policy": Scripted(naive), "judge": Scripted(yes, identity="unheard of")}
    plan = prepare(a_job(tmp_path, judge="likelihood"), models=models)
    assert "Nobody has measured this judge" in plan.judge_shown
    assert plan.judge_shown.count("judge alone") == 0


async def test_a_gain_that_only_the_judge_sees_is_warned_of(tmp_path: Path) -> None:
    """The judge likes length, and the prompt that wins makes replies longer and no better."""
    keep([measured("yes-no", 0.7, 0.65)], home("the judge"))

    def wordy(request: Request) -> str:
        assert not isinstance(request.prompt, str)
        told = len(request.prompt) > 2 or len(request.prompt[0].content) > 120
        topic = request.prompt[-1].content.strip("?").split()[3:]
        return f"To {' '.join(topic)}, be slow. " * (1 if not told else 2 + len(topic[-1]) % 3)

    models = {"policy": Scripted(wordy), "judge": Scripted(yes, identity="the judge")}
    job = a_job(tmp_path, judge="likelihood", k=2)
    outcome = await align(job, models=models)
    second = outcome.results["second_judge"]
    assert second["judge"] == "the code checks"
    assert {row["group"] for row in second["table"]} == {"reward", "criterion"}
    reward = next(r for r in outcome.results["comparison"]["table"] if r["name"] == "reward")
    assert "Is the gain real?" in (outcome.folder / "report.md").read_text()
    assert outcome.results["standing"].startswith("Measured: it agreed with people on 0.70")
    if reward["difference"]["low"] > 0:
        assert outcome.results["warnings"]


async def test_a_run_outlives_a_second_judge_that_cannot_judge(tmp_path: Path) -> None:
    models = {
        "policy": Scripted(naive),
        "report_judge": Scripted(lambda request: "no probabilities, no JSON"),
    }
    job = a_job(tmp_path, report_judge="likelihood", report_judge_model="other")
    outcome = await align(job, models=models)
    warning = outcome.results["warnings"][0]
    assert warning.startswith("The replies could not be judged by other (likelihood): ")
    assert "All of the judge's first 24 verdicts failed" in warning
    assert outcome.results["second_judge"] is None
    assert "could not be judged by other" in (outcome.folder / "report.md").read_text()
    assert outcome.results["summary"].startswith("balanced safety 0.50 → ")


async def test_a_second_judge_that_was_away_is_asked_when_the_run_goes_on(tmp_path: Path) -> None:
    away = True

    def there(request: Request) -> Reply:
        if away:
            raise ModelUnavailable("Nobody answers at its address.")
        return yes(request)

    policy = Scripted(naive)
    models = {"policy": policy, "report_judge": Scripted(there)}
    job = a_job(tmp_path, report_judge="likelihood", report_judge_model="other")
    with pytest.raises(ModelUnavailable, match="Nobody answers"):
        await align(job, models=models)
    # What was found and measured is there meanwhile.
    told = json.loads((job.folder / "results.json").read_text())
    assert told["summary"].startswith("balanced safety 0.50 → ")
    assert "Nobody answers at its address." in told["warnings"][0]
    away, asked = False, len(policy.requests)
    outcome = await align(job, models=models)
    assert outcome.results["second_judge"]["judge"] == "other (likelihood)"
    assert len(policy.requests) == asked and not outcome.shown_again


def test_what_comes_with_trueup_speaks_of_the_words_it_asks_now() -> None:
    from importlib import resources

    from trueup.judges.standing import load

    path = Path(str(resources.files("trueup.judges") / "known.json"))
    for one in load(path):
        assert one.wording == wording(one.method), f"{one.method}: measure again"
        assert known(one.model, one.method) == one
