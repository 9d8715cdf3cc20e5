"""A job is a file that can be kept, changed and run again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup import Job, SettingsError
from trueup.jobs.job import EMBEDDED_REPLY, read_prices


def test_an_empty_file_is_a_job(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text("")
    assert Job.load(tmp_path / "job.toml") == Job()


def test_it_survives_its_file_and_is_read_from_its_folder(tmp_path: Path) -> None:
    job = Job(
        policy="endpoint:http://localhost:8000#qwen",
        judge="dynamic",
        held_out=40,
        budget_usd=2.5,
        prices={"policy": (0.15, 0.6)},
        out="here",
    )
    job.save(tmp_path / "job.toml")
    assert Job.load(tmp_path) == job


@given(st.integers(1, 10**6), st.integers(-5, 5), st.sampled_from(["checks", "dynamic"]))
def test_settling_twice_changes_nothing_and_keeps_the_name(
    calls: int, seed: int, judge: str
) -> None:
    job = Job.of({"calls": calls, "seed": seed, "judge": judge})
    assert job.settled().settled() == job.settled()
    assert job.settled().name == job.name


def test_what_decides_the_result_decides_the_name() -> None:
    names = [
        Job().name,
        Job(seed=1).name,
        Job(calls=301).name,
        Job(policy="ollama:llama3.2").name,
        Job(data="other.jsonl").name,
        Job(published=True).name,
        Job(held_out=12).name,
    ]
    assert len(set(names)) == len(names)
    assert Job().name.startswith("align-") and len(Job().name) == len("align-12345678")


def test_what_only_limits_or_places_it_does_not() -> None:
    other = Job(
        budget_calls=5, budget_tokens=5, budget_usd=1.0, budget_minutes=1.0, out="elsewhere",
        prices={"policy": (1.0, 1.0)},
    )  # fmt: skip
    assert other.name == Job().name
    assert other.same_result(Job())
    assert other.folder == Path("elsewhere")
    assert Job().folder == Path("runs") / Job().name


@pytest.mark.parametrize(
    ("job", "decided"),
    [
        (Job(), ("none", "checks", None, 300, 0, EMBEDDED_REPLY)),
        (Job(policy="ollama:x"), ("ollama:x", "dynamic", "ollama:x", 300, 0, 256)),
        (Job(policy="ollama:x", judge="checks"), ("ollama:x", "checks", None, 300, 0, 256)),
        (Job(writer="openai:y"), ("openai:y", "checks", None, 300, 0, EMBEDDED_REPLY)),
        (Job(judge_model="ollama:z"), ("none", "dynamic", "ollama:z", 300, 0, EMBEDDED_REPLY)),
        (Job(judge="likelihood"), ("none", "likelihood", "embedded", 300, 0, EMBEDDED_REPLY)),
        (
            Job(policy="ollama:x", judge_model="openai:y"),
            ("ollama:x", "dynamic", "openai:y", 300, 0, 256),
        ),
        (
            Job(policy="ollama:x", published=True),
            ("ollama:x", "dynamic", "ollama:x", None, 2, 2048),
        ),
    ],
)
def test_what_is_left_out_is_decided(job: Job, decided: tuple[object, ...]) -> None:
    done = job.settled()
    fields = (done.writer, done.judge, done.judge_model, done.calls, done.k, done.max_tokens)
    assert fields == decided


def test_a_second_judge_that_is_named_judges() -> None:
    job = Job(report_judge_model="openai:y").settled()
    assert (job.report_judge, job.report_judge_model) == ("dynamic", "openai:y")
    assert job.settled() == job and job.name != Job().name
    assert Job().settled().report_judge is None


@pytest.mark.parametrize(
    ("kept", "given", "said"),
    [
        ({"judge": "checks"}, ["--judge-model", "ollama:z"], "ollama:z chooses criteria"),
        ({"judge_model": "ollama:z"}, ["--judge", "checks"], "code checks (Safety,"),
        (
            {"judge": "likelihood", "judge_model": "ollama:y"},
            ["--judge-model", "ollama:z"],
            "ollama:z is read by the probability",
        ),
    ],
)
def test_a_judge_named_on_the_command_line_goes_before_the_files(
    kept: dict[str, object],
    given: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from trueup.cli import app

    file = Job.of({"policy": "ollama:x", **kept}).save(tmp_path / "job.toml")
    app(["align", "--job", str(file), *given, "--dry-run"], standalone_mode=False)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"polcy": "embedded"}, "polcy is not a setting: remove it or correct its name."),
        ({"held_out": 0}, "held_out: Input should be greater than or equal to 1."),
        (
            {"judge": "me"},
            "judge: Input should be 'checks', 'dynamic', 'likelihood' or 'perplexity'.",
        ),
        ({"data": " "}, "data: it is empty: name something, or leave it out."),
        ({"data": "a.csv", "held_out_data": "a.csv"}, "held_out_data is the data searched on"),
        ({"judge": "checks", "judge_model": "openai:y"}, "judge is checks, which asks no model"),
        (
            {"report_judge": "checks", "report_judge_model": "openai:y"},
            "leave report_judge_model out, or choose dynamic, likelihood or perplexity",
        ),
        ({"published": True, "writer": "none"}, "the published method needs a writer"),
        ({"prices": {"cook": [1, 2]}}, "prices: 'cook' is neither a role"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Job.of(settings)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "endpoint:https://me:s3cr3t@host/v1#m",
        "endpoint:https://host/v1?api-key=s3cr3t#m",
        "endpoint:https://host/v1?x=1&access_token=s3cr3t#m",
        "endpoint:me:s3cr3t@host:8000#m",
        "endpoint:http://host/v1,me:s3cr3t@other#m",
        "endpoint:https://host/v1?auth=s3cr3t@x#m",
    ],
)
@pytest.mark.parametrize(
    "role", ["policy", "writer", "judge_model", "report_judge_model", "embedder", "held_out_data"]
)
def test_a_key_in_a_name_is_refused_and_not_repeated(role: str, name: str) -> None:
    with pytest.raises(SettingsError, match="TRUEUP_API_KEY") as refused:
        Job.of({role: name})
    assert "s3cr3t" not in str(refused.value)


def test_a_price_is_of_a_role_or_a_model() -> None:
    given = ["policy=1,2", "endpoint:http://host/v1?x=1#m=3,4"]
    prices = {"policy": (1.0, 2.0), "endpoint:http://host/v1?x=1#m": (3.0, 4.0)}
    assert read_prices(given) == prices and Job(prices=prices).prices == prices
    for amounts in ("nan,nan", "-1,1", "0,inf"):
        with pytest.raises(SettingsError, match="makes no sense"):
            read_prices([f"policy={amounts}"])
        with pytest.raises(SettingsError, match="makes no sense"):
            Job(prices={"policy": tuple(map(float, amounts.split(",")))})
    with pytest.raises(SettingsError, match="'cheap' is no price") as refused:
        read_prices(["endpoint:http://me:s3cr3t@host#m=cheap"])
    assert "s3cr3t" not in str(refused.value)


def test_files_that_cannot_be_read_or_written_are_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"There is no .*nowhere\.toml"):
        Job.load(tmp_path / "nowhere.toml")
    (tmp_path / "job.toml").write_text("policy = ")
    with pytest.raises(SettingsError, match=r"job\.toml cannot be read as TOML"):
        Job.load(tmp_path)
    with pytest.raises(SettingsError, match="cannot be written"):
        Job().save(tmp_path / "no" / "job.toml")
