"""Opening a run's SQLite file, and saying plainly what is wrong with it.

    connection = open_to_write(path)
    with explained(path):
        connection.execute(...)

Every error of SQLite that a person can do something about becomes a `StoreError` with that
something in it. Nothing here knows what the tables mean.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trueup.errors import StoreError
from trueup.store.exchange import finish
from trueup.store.migrations import migrate, refuse_strangers

LOCK_PATIENCE = 10.0
"""Seconds to wait for another process that is writing."""

CHECKED_WHOLE = 32 * 2**20
"""Bytes up to which a file is checked page by page when opened: that takes about 50 ms."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an SQLite error about `path` into a `StoreError` that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_explanation(path, error)) from error


def damaged(path: Path, detail: str) -> StoreError:
    """The error for a file that is not what was written."""
    return StoreError(
        f"{path} is damaged ({detail}). Keep what is readable with `trueup salvage {path.parent}`, "
        "then run again."
    )


def _explanation(path: Path, error: sqlite3.Error) -> str:
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return f"{path} is closed. Open it again to use it."
    if str(error).startswith("Could not decode to UTF-8"):
        # Python's own, with no code of SQLite's, and with all of the text in it.
        return str(damaged(path, "a stored text is not UTF-8"))
    # The low byte is the kind of error; the bytes above it are details of that kind.
    kind = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return (
            f"{path} is locked by another process (waited {LOCK_PATIENCE:.0f} s). Close the "
            "program that has it open and run again."
        )
    if kind == sqlite3.SQLITE_FULL:
        return (
            f"The disk holding {path} is full. Free some space and run again: everything "
            "answered so far is kept."
        )
    if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return f"{path} cannot be written ({error}). Choose a run folder that you may write to."
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return str(damaged(path, str(error)))
    if kind == sqlite3.SQLITE_IOERR:
        return (
            f"The disk could not read or write {path} ({error}). See whether it is full or "
            "failing, and run again: everything answered so far is kept."
        )
    return f"{path} cannot be used as a run's database ({error}). Choose another run folder."


def open_to_write(path: Path) -> sqlite3.Connection:
    """A connection to the file, made or brought up to date as needed. Raises `StoreError`."""
    try:
        finish(path)
    except OSError as error:
        raise StoreError(
            f"{path} was being salvaged, which cannot be finished ({error}). Free the folder for "
            "writing and run again."
        ) from error
    with explained(path):
        connection = _connect(path.absolute().as_uri() + "?mode=rwc")
        try:
            refuse_strangers(connection, path)
            _check(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: a commit is on the platter, not only with the operating system. NORMAL would
            # survive a killed process just as well, and lose the last seconds only to a power
            # cut; but a reply costs seconds or money, a sync costs about a millisecond, and one
            # sync is shared by every reply that was waiting for it.
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_beside(path: Path) -> sqlite3.Connection:
    """One more connection to a file that `open_to_write` has opened, to read from."""
    with explained(path):
        connection = _connect(path.absolute().as_uri() + "?mode=rw")
        connection.execute("PRAGMA query_only = ON")
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. Raises `StoreError`.

    Works in a folder that may not be written to, also where the run was killed there.
    """
    if not path.is_file():
        raise StoreError(f"There is no {path}. See `trueup runs` for the runs that there are.")
    with explained(path):
        log = path.with_name(path.name + "-wal")
        if _is_writable(path.parent):
            connection = _connect(path.absolute().as_uri() + "?mode=ro")
        elif log.exists() and log.stat().st_size > 0:
            connection = _in_memory_copy(path, log)
        else:
            # SQLite would make two files beside this one, unless told that nobody writes to it.
            connection = _connect(path.absolute().as_uri() + "?immutable=1")
        try:
            refuse_strangers(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _connect(uri: str) -> sqlite3.Connection:
    # Used from the event loop's thread and from one writer thread, with a lock around each.
    return sqlite3.connect(
        uri, uri=True, timeout=LOCK_PATIENCE, isolation_level=None, check_same_thread=False
    )


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _in_memory_copy(path: Path, log: Path) -> sqlite3.Connection:
    """The file with its write-ahead log applied, where neither may be touched."""
    with tempfile.TemporaryDirectory(prefix="trueup-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        source = _connect(copy.as_uri())
        try:
            memory = _connect("file::memory:")
            source.backup(memory)
        finally:
            source.close()
    return memory


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Find damage to the file's structure, in a time that does not grow with the file."""
    if path.stat().st_size <= CHECKED_WHOLE:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise damaged(path, found.replace("*** in database main ***\n", ""))
        return
    # A large file: its table of tables, its length against its header (SQLite looks at both by
    # itself), and the newest rows, where a machine that died would have been writing. Damage
    # further back is found by the checksum of the row that has it.
    connection.execute("SELECT * FROM calls ORDER BY rowid DESC LIMIT 100").fetchall()
