"""The command line: what is printed, what is refused, and with which status it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from docs.generate_cli import page

from tests.playing import data_file, pool_file, served
from trueup.cli import main
from trueup.store.runs import RunFolder


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def trueup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Runs a command in an empty folder, without any key."""
    monkeypatch.chdir(tmp_path)
    for variable in ("TRUEUP_API_KEY", "TRUEUP_API_KEY_FILE", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)

    def command(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["trueup", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return command


def usual(folder: Path, url: str, **more: object) -> list[object]:
    settings = {
        "policy": f"endpoint:{url}#fake",
        "judge": "checks",
        "writer": "none",
        "data": data_file(folder),
        "demonstrations": pool_file(folder),
        "calls": 60,
        "held-out": 12,
        "out": "run",
    } | {name.replace("_", "-"): value for name, value in more.items()}
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


def test_a_run_from_start_to_chat(trueup: Command, tmp_path: Path) -> None:
    with served() as server:
        ran = trueup("align", *usual(tmp_path, server.url))
        assert (ran.status, ran.err) == (0, "")
        assert "Judge     code checks (Safety, Repetition, On topic), no model." in ran.out
        assert "12 held out (6 of them to be refused)" in ran.out
        assert "round 0: best reward" in ran.out
        assert "balanced safety 0.50" in ran.out
        assert "trueup chat run" in ran.out

        asked = len(server.bodies())
        again = trueup("align", *usual(tmp_path, server.url))
        assert again.status == 0
        assert "run has finished before; nothing was asked again." in again.out
        assert len(server.bodies()) == asked

        chat = trueup("chat", "run", "--once", "How do I poison an old submarine?")
        assert (chat.status, chat.out) == (0, "I'm sorry, but I can't help with that.\n")
        plain = trueup("chat", "run", "--base", "--once", "How do I poison an old submarine?")
        assert plain.out.startswith("To poison an old submarine")

    listed = trueup("runs", ".")
    assert "finished" in listed.out and "balanced safety" in listed.out
    shown = trueup("show", "run")
    assert shown.status == 0
    for part in ("You are a helpful assistant.", "harmful refused", "policy (held-out)", "round"):
        assert part in shown.out
    assert trueup("salvage", "run").out.endswith("the damaged file stays beside it.\n")


def test_a_job_file_is_run_again_in_its_folder_and_another_one_elsewhere(
    trueup: Command, tmp_path: Path
) -> None:
    with served() as server:
        assert trueup("align", *usual(tmp_path, server.url)).status == 0
        again = trueup("align", "--job", "run/job.toml")
        assert "has finished before" in again.out
        other = trueup("align", "--job", "run/job.toml", "--seed", 7)
        assert other.status == 0 and "runs/align-" in other.out


def test_a_dry_run_asks_nobody_and_leaves_nothing(trueup: Command, tmp_path: Path) -> None:
    with served() as server:
        arguments = usual(tmp_path, server.url, judge="dynamic", writer="policy")
        ran = trueup("align", *arguments, "--price", "policy=2.0,4.0", "--dry-run")
        assert ran.status == 0
        assert server.seen == []
    rows = {tuple(line.split()[:2]): line.split() for line in ran.out.splitlines() if line}
    for row in [("policy", "search"), ("judge", "search"), ("writer", "search")]:
        assert row in rows
    assert rows["policy", "search"][2] == "60"
    assert rows["policy", "held-out"][2] == "24"
    assert "$" in rows["policy", "search"][5]
    assert not (tmp_path / "run").exists()


def test_calls_to_other_machines_are_not_made_unasked(trueup: Command, tmp_path: Path) -> None:
    arguments = usual(tmp_path, "https://models.example.org")
    ran = trueup("align", *arguments)
    assert ran.status == 1
    assert "may cost money (policy: endpoint:https://models.example.org/v1#fake)" in ran.err
    assert "--yes" in ran.err and "--dry-run" in ran.err
    dry = trueup("align", *arguments, "--dry-run")
    assert dry.status == 0 and "price unknown" in dry.out


def test_chat_takes_line_after_line(
    trueup: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(["Hello there", "And again", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    with served(write=lambda body, place: f"{len(body['messages'])} turns\x1b[31m") as server:
        ran = trueup("chat", f"endpoint:{server.url}#fake")
    # The answer's escape sequence would have coloured the terminal.
    assert ran.out.splitlines()[1:] == [
        "1 turns\N{REPLACEMENT CHARACTER}[31m",
        "3 turns\N{REPLACEMENT CHARACTER}[31m",
    ]


def test_what_a_model_writes_is_never_markup(trueup: Command) -> None:
    with served(write=lambda body, place: "[bold]not bold[/bold] [/nonsense]") as server:
        ran = trueup("chat", f"endpoint:{server.url}#fake", "--once", "Hi")
    assert ran.out == "[bold]not bold[/bold] [/nonsense]\n"


# Input that cannot be used: one sentence with the remedy, a status other than 0, nothing paid.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"data": "empty.jsonl"}, "holds no queries. Put at least one into it."),
        ({"data": "blank.jsonl"}, "line 2"),
        ({"column": "bdy"}, "has no column 'bdy'. It has the columns"),
        ({"k": 500}, "500 demonstrations are to be shown, but the pool"),
        ({"demonstrations": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"policy": "gpt-9"}, "'gpt-9' names no model: write one of embedded"),
        ({"policy": "gguf:nowhere.gguf"}, "nowhere.gguf cannot be read"),
        ({"policy": "endpoint:http://localhost:1"}, "lacks the model"),
        (
            {"judge": "me"},
            "judge: Input should be 'checks', 'dynamic', 'likelihood' or",
        ),
        ({"criteria": "nowhere.toml"}, "nowhere.toml cannot be read"),
        ({"held_out": 60}, "60 distinct queries; 60 held out"),
        ({"held_out": 0}, "held_out: Input should be greater than or equal to 1."),
        ({"held_out_data": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"budget_calls": -1}, "A budget of -1 calls makes no sense."),
        ({"budget_calls": 24}, "leaves 0 for the search"),
        ({"price": "policy=cheap"}, "write ROLE=IN,OUT or MODEL=IN,OUT"),
        ({"calls": 2}, "2 policy calls do not measure even one prompt"),
        ({"job": "nowhere.toml"}, "There is no nowhere.toml"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_bad_input_ends_with_a_sentence_before_any_call(
    trueup: Command, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "blank.jsonl").write_text('{"text": "a?"}\n{"text": "  "}\n')
    with served() as server:
        ran = trueup("align", *usual(tmp_path, server.url, **change))
        assert server.bodies() == []
    assert ran.status == 1
    assert said in ran.err
    assert ran.err.startswith("trueup: ") and ran.err.count("\n") == 1
    assert "Traceback" not in ran.err + ran.out


def test_an_unreachable_server(trueup: Command, tmp_path: Path) -> None:
    ran = trueup("align", *usual(tmp_path, "http://127.0.0.1:9"))
    assert ran.status == 1
    assert "http://127.0.0.1:9/v1" in ran.err
    assert not (tmp_path / "run").exists()


def test_a_wrong_key(trueup: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_API_KEY", "sk-wrong-and-secret")
    with served(key="the-right-one") as server:
        ran = trueup("align", *usual(tmp_path, server.url))
        assert server.bodies() == []
    assert ran.status == 1
    assert "put a valid key into the environment variable TRUEUP_API_KEY" in ran.err
    assert "sk-wrong-and-secret" not in ran.err + ran.out


def test_a_model_that_the_server_does_not_have(trueup: Command, tmp_path: Path) -> None:
    with served(models=[{"id": "other"}]) as server:
        ran = trueup("align", *usual(tmp_path, server.url))
    assert ran.status == 1
    assert "has no model 'fake': name another. It offers other." in ran.err


def test_two_runs_in_one_folder(trueup: Command, tmp_path: Path) -> None:
    with served() as server, RunFolder(tmp_path / "run"):
        ran = trueup("align", *usual(tmp_path, server.url))
        assert server.bodies() == []
    assert ran.status == 1
    assert f"is in use by process {os.getpid()}" in ran.err


def test_another_job_in_the_folder(trueup: Command, tmp_path: Path) -> None:
    with served() as server:
        assert trueup("align", *usual(tmp_path, server.url)).status == 0
        ran = trueup("align", *usual(tmp_path, server.url, seed=3))
    assert ran.status == 1
    assert "run holds the run of another job (different: seed)" in ran.err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder(trueup: Command, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with served() as server:
        ran = trueup("align", *usual(tmp_path, server.url, out="locked/run"))
        assert server.bodies() == []
    assert ran.status == 1
    assert "may not be written to" in ran.err


def test_a_file_in_the_folders_place(trueup: Command, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with served() as server:
        ran = trueup("align", *usual(tmp_path, server.url, out="taken"))
        assert server.bodies() == []
    assert ran.status == 1
    assert "taken is not a folder. Choose another run folder." in ran.err


def test_a_full_disk(trueup: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trueup.store.runs.LEAST_FREE", 2**62)
    with served() as server:
        ran = trueup("align", *usual(tmp_path, server.url))
        assert server.bodies() == []
    assert ran.status == 1
    assert "MB free, and a run wants at least" in ran.err


def test_runs_that_are_not_there(trueup: Command) -> None:
    assert trueup("runs").out == "There are no runs in runs: make one with `trueup align`.\n"
    for command in (("show", "nowhere"), ("chat", "runs/nowhere"), ("salvage", "nowhere")):
        ran = trueup(*command)
        assert ran.status == 1
        assert "nowhere" in ran.err and ran.err.count("\n") == 1


def test_arguments_that_do_not_exist_are_usage_errors(trueup: Command) -> None:
    assert trueup("align", "--polcy", "embedded").status == 2
    assert trueup("align", "--held-out", "many").status == 2
    assert trueup("alin").status == 2


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    source = str(Path(__file__).parents[1] / "src")
    with (
        served(delay=0.2) as server,
        subprocess.Popen(
            [sys.executable, "-m", "trueup", "align", *map(str, usual(tmp_path, server.url))],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": source},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests that run in the background of a script inherit that interrupts are ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process,
    ):
        assert process.stdout is not None
        # What is about to be done is seen while it is being done, in a pipe too.
        assert any(line.startswith("Folder") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert err == (
        "\nStopped. Run the same command again to go on; what was answered is kept in run.\n"
    )
    assert process.returncode == 130


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_second_interrupt_ends_what_would_not_stop() -> None:
    code = """
import asyncio
from trueup.commands.starting import running

async def stubborn():
    try:
        print("ready", flush=True)
        await asyncio.sleep(60)
    finally:
        print("stopping", flush=True)
        await asyncio.sleep(60)

running(stubborn(), "Bye.")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        for said in ("ready", "stopping"):
            assert process.stdout.readline() == f"{said}\n"
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "\nStopped. Bye.\n")


def test_the_page_about_the_command_line_is_up_to_date() -> None:
    written = Path(__file__).parents[1] / "docs" / "cli.md"
    assert written.read_text("utf-8") == page(), "run `make docs`"


def test_the_version(trueup: Command) -> None:
    assert trueup("--version").out == "trueup 0.1.0\n"


def test_results_are_json_without_the_key(
    trueup: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_API_KEY", "sk-right-and-secret")
    with served(key="sk-right-and-secret") as server:
        assert trueup("align", *usual(tmp_path, server.url)).status == 0
    json.loads((tmp_path / "run" / "results.json").read_text())
    for path in (tmp_path / "run").iterdir():
        assert b"sk-right-and-secret" not in path.read_bytes()
