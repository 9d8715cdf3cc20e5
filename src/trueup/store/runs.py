"""A run is a folder, and a folder has one run at a time.

    with RunFolder("runs/monday", method="drpo") as run:
        calls = Calls(run.calls)
        run.append_round({"number": 1, "best": 3.4})
        run.write_text("aligned.toml", text)
        run.finish("balanced safety 0.49 → 0.87")        # the completion mark, written last

    for found in list_runs("runs"):
        print(found.name, found.created, found.finished, found.summary)

Everything that could go wrong for want of a place to write is found out when the folder is opened,
before a call is paid for. A file is there whole or not at all. Reading (`list_runs`, `read_run`,
`read_rounds`) takes no lock and needs no right to write.

It does not know what a method, a prompt or a report is: it keeps text and records.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trueup.errors import StoreError
from trueup.store.database import damaged, explained, open_to_read, open_to_write
from trueup.store.encoding import to_json
from trueup.store.lock import FolderLock, is_held

CALLS = "calls.sqlite"
LOCK = "run.lock"
ABOUT = "run.json"
FINISHED = "finished.json"
UNREADY = ".*.writing"
"""Files that a killed run was writing."""

LEAST_FREE = 50 * 2**20
"""Bytes that must be free to begin: a few thousand calls with their requests."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run's folder says about it."""

    path: Path
    created: datetime | None
    """When the folder was first used, UTC. None if that cannot be read."""
    method: str
    finished: datetime | None
    """When its last result was complete, UTC. None if it never was."""
    running: bool
    """Whether a process has it open now."""
    summary: str
    """One line about the result; empty if there is none."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name


class RunFolder:
    """A run's folder, opened to write and locked against everyone else."""

    def __init__(self, path: Path | str, *, method: str = "") -> None:
        """Make or open the folder. Raises `StoreError` saying what stands in the way."""
        self.path = Path(path)
        self._rounds: sqlite3.Connection | None = None
        self._last_round = -1
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            # Asking for permission is answered wrongly on some file systems: try.
            with tempfile.TemporaryFile(dir=self.path):
                pass
            free = shutil.disk_usage(self.path).free
            if free < LEAST_FREE:
                raise StoreError(
                    f"The disk holding {self.path} has {free // 2**20} MB free, and a run wants at "
                    f"least {LEAST_FREE // 2**20} MB. Free some space, or choose another folder."
                )
            self._lock = FolderLock(self.path / LOCK)
        try:
            for leftover in self.path.glob(UNREADY):
                leftover.unlink(missing_ok=True)
            if not (self.path / ABOUT).exists():
                self._write(ABOUT, to_json({"created": _now(), "method": method}) + "\n")
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def calls(self) -> Path:
        """Where the calls are kept."""
        return self.path / CALLS

    def close(self) -> None:
        """Let the folder go. Safe to call twice."""
        if self._rounds is not None:
            self._rounds.close()
            self._rounds = None
        self._lock.release()

    def write_text(self, name: str, text: str) -> Path:
        """Write or replace one file of the run, wholly or not at all. Raises `StoreError`."""
        self._named(name)
        self._unfinish()
        return self._write(name, text)

    def _named(self, name: str) -> None:
        taken = (CALLS, LOCK, ABOUT, FINISHED)
        if not name or name.startswith(".") or set(name) & set("/\\:") or name in taken:
            raise StoreError(
                f"{name!r} cannot be the name of a run's file. Give a plain name such as "
                "'report.md'."
            )

    @contextmanager
    def lines(self, name: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """A file of one JSON record a line, written record by record and held nowhere.

        It appears under its name when all are written. Raises `StoreError`.
        """
        self._named(name)
        self._unfinish()
        unready = self.path / f".{name}.writing"
        with self._writing():
            file = unready.open("w", encoding="utf-8", newline="\n")

        def write(record: Mapping[str, Any]) -> None:
            with self._writing():
                file.write(to_json(dict(record)) + "\n")

        try:
            yield write
            with self._writing():
                file.flush()
                os.fsync(file.fileno())
                file.close()
                unready.replace(self.path / name)
                _sync_names(self.path)
        finally:
            file.close()
            unready.unlink(missing_ok=True)

    def append_round(self, record: Mapping[str, Any]) -> None:
        """Record a round under its "number" (a whole number from 0); again replaces it.

        The record must be JSON. Raises `StoreError`.
        """
        number = record["number"]
        if self._rounds is None:
            self._unfinish()
            self._rounds = open_to_write(self.calls)
        with explained(self.calls):
            self._rounds.execute(
                "INSERT OR REPLACE INTO rounds VALUES (?, ?)", (number, to_json(dict(record)))
            )
        self._last_round = max(self._last_round, number)

    def finish(self, summary: str = "") -> None:
        """Say that the result is complete: the last thing written. Raises `StoreError`."""
        if self._rounds is not None:
            # A longer run may have been here before, with other settings.
            with explained(self.calls):
                self._rounds.execute("DELETE FROM rounds WHERE number > ?", (self._last_round,))
        record = {"finished": _now(), "summary": summary}
        self._write(FINISHED, to_json(record) + "\n")

    def _unfinish(self) -> None:
        # From the first change to the last, the files are of two runs: not a finished result.
        with self._writing():
            (self.path / FINISHED).unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> Path:
        target = self.path / name
        unready = self.path / f".{name}.writing"
        with self._writing():
            try:
                with unready.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                unready.replace(target)
            finally:
                unready.unlink(missing_ok=True)
            _sync_names(self.path)
        return target

    def _writing(self) -> _Writing:
        return _Writing(self.path)


class _Writing:
    """Turns an error of the file system into a `StoreError` with its remedy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if not isinstance(error, OSError):
            return
        if isinstance(error, FileExistsError | NotADirectoryError):
            said = f"{self._path} is not a folder. Choose another run folder."
        elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
            said = f"{self._path} may not be written to. Choose a run folder that you may write to."
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            said = f"The disk holding {self._path} is full. Free some space and run again."
        else:
            said = f"{self._path} cannot be used as a run folder ({error}). Choose another."
        raise StoreError(said) from error


def _sync_names(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets a folder be synced."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_run(path: Path | str) -> RunRecord:
    """What a run's folder says. Raises `StoreError` if it is not one."""
    folder = Path(path)
    if not (folder / ABOUT).is_file():
        raise StoreError(f"{folder} is not a run's folder. See `trueup runs` for those there are.")
    about = _record(folder / ABOUT)
    done = _record(folder / FINISHED)
    return RunRecord(
        path=folder,
        created=_time(about.get("created")),
        method=str(about.get("method", "")),
        finished=_time(done.get("finished")),
        running=is_held(folder / LOCK),
        summary=str(done.get("summary", "")),
    )


def list_runs(folder: Path | str) -> tuple[RunRecord, ...]:
    """The runs directly inside a folder, oldest first. No folder, no runs."""
    try:
        inside = sorted(Path(folder).iterdir())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be read ({error}). Choose a folder that you may read."
        ) from error
    runs = [read_run(path) for path in inside if (path / ABOUT).is_file()]
    never = datetime.min.replace(tzinfo=UTC)
    return tuple(sorted(runs, key=lambda run: run.created or never))


def read_rounds(path: Path | str) -> tuple[Mapping[str, Any], ...]:
    """The rounds recorded in a run's folder, in order; also while it runs. Raises `StoreError`."""
    calls = Path(path) / CALLS
    if not calls.exists():
        return ()
    connection = open_to_read(calls)
    try:
        with explained(calls):
            rows = connection.execute("SELECT json FROM rounds ORDER BY number").fetchall()
    finally:
        connection.close()
    try:
        return tuple(json.loads(text) for (text,) in rows)
    except ValueError as error:
        raise damaged(calls, "a recorded round is not what was written") from error


def _record(path: Path) -> dict[str, Any]:
    """A small file of ours; nothing of it if it is not there or was written by hand, badly."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
