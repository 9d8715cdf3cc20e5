from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trueup.errors import StoreError
from trueup.store import runs
from trueup.store.calls import Calls
from trueup.store.runs import RunFolder, RunRecord, list_runs, read_rounds, read_run

ReadOnly = Callable[[Path], AbstractContextManager[None]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------- a run's life


def test_a_run_from_first_to_last(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "monday"
    with RunFolder(path, method="drpo") as run:
        Calls(run.calls).close()
        assert read_run(path) == RunRecord(
            path, read_run(path).created, "drpo", finished=None, running=True, summary=""
        )
        assert run.write_text("report.md", "before → after\n").read_bytes() == (
            b"before \xe2\x86\x92 after\n"
        )
        run.finish("0.49 → 0.87")
    found = read_run(path)
    assert found.name == "monday"
    assert (found.method, found.running, found.summary) == ("drpo", False, "0.49 → 0.87")
    assert found.created is not None
    assert found.finished is not None
    assert found.created <= found.finished <= datetime.now(UTC)
    assert datetime.now(UTC) - found.created < timedelta(minutes=5)
    assert names(path) == ["calls.sqlite", "finished.json", "report.md", "run.json", "run.lock"]


def test_a_run_again_is_unfinished_from_its_first_change_to_its_last(tmp_path: Path) -> None:
    with RunFolder(tmp_path, method="drpo") as run:
        run.finish("first")
    created = read_run(tmp_path).created
    with RunFolder(tmp_path, method="abo") as run:
        assert read_run(tmp_path).summary == "first"
        run.write_text("report.md", "half of")
        assert read_run(tmp_path).finished is None
        run.finish("second")
    assert read_run(tmp_path) == RunRecord(
        tmp_path, created, "drpo", read_run(tmp_path).finished, running=False, summary="second"
    )


def test_rounds_are_recorded_once_however_often_they_are_replayed(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        for number in range(4):
            run.append_round({"number": number, "best": 3.0 + number, "text": "half a \ud83d"})
    expected = tuple(
        {"number": number, "best": 3.0 + number, "text": "half a \ud83d"} for number in range(4)
    )
    assert read_rounds(tmp_path) == expected
    with RunFolder(tmp_path) as run:
        run.append_round({"number": 1, "best": 9.0})
        run.append_round({"number": 0, "best": 8.0})
        # Until it is finished, what the run before had found is there to be seen.
        assert [one["best"] for one in read_rounds(tmp_path)] == [8.0, 9.0, 5.0, 6.0]
        run.finish()
    assert read_rounds(tmp_path) == ({"number": 0, "best": 8.0}, {"number": 1, "best": 9.0})


def test_rounds_and_calls_share_a_file(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run, Calls(run.calls) as calls:
        run.append_round({"number": 0})
        assert calls.get("0" * 64) is None
        assert read_rounds(tmp_path) == ({"number": 0},)


def test_a_file_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunFolder(tmp_path) as run:
        run.write_text("aligned.toml", "old")

        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"disk holding .* is full"):
            run.write_text("aligned.toml", "new")
        assert (tmp_path / "aligned.toml").read_text() == "old"
        monkeypatch.undo()
        with (tmp_path / "aligned.toml").open() as reading:
            run.write_text("aligned.toml", "new")
            # Who was reading the old file goes on reading the old file.
            assert reading.read() == "old"
        assert (tmp_path / "aligned.toml").read_text() == "new"
        assert names(tmp_path) == ["aligned.toml", "run.json", "run.lock"]


def test_what_a_killed_run_was_writing_is_cleared_away(tmp_path: Path) -> None:
    RunFolder(tmp_path).close()
    (tmp_path / ".report.md.writing").write_text("half a rep")
    with RunFolder(tmp_path):
        assert names(tmp_path) == ["run.json", "run.lock"]


@pytest.mark.parametrize(
    "name", ["../out.md", "/etc/passwd", "a/b", "", ".", "..", "a\\b", "calls.sqlite"]
)
def test_a_run_writes_only_its_own_files(tmp_path: Path, name: str) -> None:
    with RunFolder(tmp_path) as run, pytest.raises(StoreError, match="cannot be the name"):
        run.write_text(name, "text")


# ---------------------------------------------------------------------- one at a time


HOLDS_IT = """
import sys, time
from trueup.store.runs import RunFolder
run = RunFolder(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_a_folder_in_use_is_refused_and_its_user_named(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS_IT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"in use by process {other.pid}"):
            RunFolder(tmp_path)
        assert read_run(tmp_path).running
    finally:
        other.kill()
        other.communicate()
    assert not read_run(tmp_path).running
    with RunFolder(tmp_path), pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
        RunFolder(tmp_path)
    RunFolder(tmp_path).close()


# ---------------------------------------------------------------------- nowhere to write


def test_a_folder_that_may_not_be_written_to(open_folder: Path, read_only: ReadOnly) -> None:
    RunFolder(open_folder / "run").close()
    with read_only(open_folder):
        for path in (open_folder / "run", open_folder / "new"):
            with pytest.raises(StoreError, match="may not be written to"):
                RunFolder(path)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(StoreError, match="is not a folder"):
            RunFolder(path)


def test_too_little_room_is_said_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 2**40, 10 * 2**20))
    with pytest.raises(StoreError, match="has 10 MB free, and a run wants at least 50 MB"):
        RunFolder(tmp_path)


# ---------------------------------------------------------------------- looking at runs


@pytest.mark.parametrize("spoilt", ["number}", b"\xff"])
def test_a_round_that_is_not_what_was_written_is_damage(
    tmp_path: Path, spoilt: str | bytes
) -> None:
    with RunFolder(tmp_path) as run:
        run.append_round({"number": 0})
    with sqlite3.connect(run.calls) as connection:
        connection.execute("UPDATE rounds SET json = CAST(? AS TEXT)", (spoilt,))
    connection.close()
    with pytest.raises(StoreError, match=r"calls.sqlite is damaged .*trueup salvage"):
        read_rounds(tmp_path)


def test_runs_are_listed_oldest_first_also_where_nothing_may_be_written(
    open_folder: Path, read_only: ReadOnly
) -> None:
    for name, method in (("b", "drpo"), ("a", "abo"), ("c", "drpo")):
        with RunFolder(open_folder / name, method=method) as run:
            run.append_round({"number": 0, "name": name})
            if name != "c":
                run.finish(f"{name} is done")
    (open_folder / "notes").mkdir()
    (open_folder / "notes.txt").touch()
    about = open_folder / "c" / runs.ABOUT
    about.write_text(about.read_text().replace('"created":"20', '"created":"19'))

    def look() -> list[tuple[str, str, bool, bool, str]]:
        found = list_runs(open_folder)
        return [(r.name, r.method, r.finished is not None, r.running, r.summary) for r in found]

    expected = [
        ("c", "drpo", False, False, ""),
        ("a", "abo", True, False, "a is done"),
        ("b", "drpo", True, False, "b is done"),
    ]
    assert look() == expected
    with read_only(open_folder):
        assert look() == expected
        assert read_rounds(open_folder / "a") == ({"number": 0, "name": "a"},)


def test_looking_where_there_are_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path) == list_runs(tmp_path / "nowhere") == ()
    assert read_rounds(tmp_path) == ()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be read"):
        list_runs(tmp_path / "file")
    with pytest.raises(StoreError, match="not a run's folder"):
        read_run(tmp_path)


def test_a_record_spoilt_by_hand_does_not_hide_the_run(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", method="drpo") as run:
        run.finish("done")
    (tmp_path / "run" / runs.ABOUT).write_text('{"created": "last Tuesday"')
    (tmp_path / "run" / runs.FINISHED).write_text("[]")
    assert list_runs(tmp_path) == (
        RunRecord(tmp_path / "run", None, "", finished=None, running=False, summary=""),
    )
