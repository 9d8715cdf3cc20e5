"""The shape of a run's database, as numbered steps: appended, never edited.

    migrate(connection, path)      # brings an empty file, or one of any older version, up to date

The number of steps a file has taken is in SQLite's own `user_version`, and `application_id` tells
our files from other people's. A file with more steps than this list was written by a newer
trueup, and is refused rather than guessed at.

Columns are ordered for reading: the small figures first, then the reply, the request last. A row
too long for its page spills its tail onto other pages, so a sum over costs or a reply looked up
again never has to fetch the long prompt behind it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from trueup.errors import StoreError

APPLICATION_ID = 0x74727570
"""The four letters "trup", in the header of every file of ours."""

Step = Callable[[sqlite3.Connection], object]


def _first(connection: sqlite3.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE calls (
            address       TEXT PRIMARY KEY NOT NULL,
            role          TEXT NOT NULL,
            model         TEXT NOT NULL,
            tokens_in     INTEGER NOT NULL,
            tokens_out    INTEGER NOT NULL,
            tokens_cached INTEGER NOT NULL,
            seconds       REAL NOT NULL,
            usd           REAL,
            created       REAL NOT NULL,
            checksum      INTEGER NOT NULL,
            reply         TEXT NOT NULL,
            request       TEXT NOT NULL
        )
        """
    )
    connection.execute(
        """
        CREATE TABLE vectors (
            address  TEXT PRIMARY KEY NOT NULL,
            checksum INTEGER NOT NULL,
            vector   BLOB NOT NULL
        )
        """
    )
    connection.execute("CREATE TABLE rounds (number INTEGER PRIMARY KEY, json TEXT NOT NULL)")


STEPS: tuple[Step, ...] = (_first,)


def version_of(connection: sqlite3.Connection) -> int:
    """How many steps the file has taken."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_strangers(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `StoreError` for a file of a newer trueup, or of another program."""
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if application != APPLICATION_ID and tables:
        raise StoreError(
            f"{path} is a database of another program. Choose another folder for the run."
        )
    version = version_of(connection)
    if version > len(STEPS):
        raise StoreError(
            f"{path} was written by a newer trueup (its version is {version}, this one knows up to "
            f"{len(STEPS)}). Upgrade with `pip install -U trueup`, or choose another run folder."
        )


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Take the steps that are missing, all of them or none. Raises `StoreError`."""
    if version_of(connection) == len(STEPS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again inside the transaction: another process may have been faster.
        for step in STEPS[version_of(connection) :]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
