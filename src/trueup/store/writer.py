"""One thread writes, and commits together whatever is waiting.

    writer = GroupWriter(connection, path)
    await writer.do(lambda connection: connection.execute("INSERT ..."))      # is on disk now

A commit waits for the disk. While one is under way others queue, and the next commit takes all of
them: the more arrive at once the fewer waits each one pays for. A job that fails is undone and
fails alone; what goes wrong with the commit itself reaches everyone who waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from trueup.errors import StoreError
from trueup.store import database
from trueup.store.database import explained

T = TypeVar("T")

GROUP = 1000
"""The most jobs in one commit, so that the first of them does not wait for ever."""

HURRIED = 1.0
"""Seconds to wait for another process that is writing once the run was interrupted."""

LOOK_AGAIN = 50
"""Milliseconds in which it is found out that there is a hurry."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class GroupWriter:
    """Does jobs on one connection in one thread, many to a commit."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.commits = 0
        """How many transactions were committed."""
        self._connection = connection
        self._path = path
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._until = math.inf
        self._lock = threading.Lock()
        # SQLite cannot be called back from a long wait: it is given short ones, again and again.
        connection.execute(f"PRAGMA busy_timeout = {LOOK_AGAIN}")

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction; return its result once that is on disk.

        The result is a value: a cursor would keep the file open after it is closed.
        Queued before the first suspension: cancelling the caller does not undo it.
        Raises `StoreError`.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._closed:
                raise StoreError(f"{self._path} is closed. Open it again to write to it.")
            if self._thread is None:
                name = f"trueup writes {self._path.name}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            self._queue.put(_Job(work, future))
        return await future

    def close(self, *, hurry: bool = False) -> None:
        """Finish what is queued, then the thread and the connection. Safe to call twice.

        In a `hurry` another process that has the file locked is waited for `HURRIED` seconds more
        in all, and what could not be written by then is given up.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if hurry:
                self._until = time.monotonic() + HURRIED
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        last = False
        while not last:
            group, last = self._next_group()
            if not group:
                continue
            error: BaseException | None = None
            try:
                self._commit(group)
            except BaseException as caught:
                # Whatever it is, those who wait must hear of it: a thread that died silently
                # would leave them waiting for ever.
                error = caught
            _tell(group, error)

    def _next_group(self) -> tuple[list[_Job], bool]:
        """At least one job, all that wait up to `GROUP`, and whether they are the last."""
        group: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            group.append(job)
            if len(group) == GROUP:
                return group, False
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Job]) -> None:
        connection = self._connection
        with explained(self._path):
            self._begin()
            try:
                for job in group:
                    self._attempt(job)
                connection.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself after some errors (a full disk is one).
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        self.commits += 1

    def _begin(self) -> None:
        """Begin to write as soon as no other process does."""
        since = time.monotonic()
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                now = time.monotonic()
                out_of_time = now > min(since + database.LOCK_PATIENCE, self._until)
                if out_of_time or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise

    def _attempt(self, job: _Job) -> None:
        """Do a job; if it fails, what it did is undone and the others of its group go on."""
        connection = self._connection
        connection.execute("SAVEPOINT job")
        try:
            with explained(self._path):
                job.result = job.work(connection)
        except Exception as error:
            if not connection.in_transaction:
                raise  # SQLite has undone the whole group (a full disk is one reason)
            connection.execute("ROLLBACK TO job")
            job.error = error
        connection.execute("RELEASE job")


def _tell(group: list[_Job], error: BaseException | None) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in group:
        by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, jobs in by_loop.items():
        # A loop that was closed meanwhile has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, jobs, error)


def _resolve(jobs: list[_Job], error: BaseException | None) -> None:
    for job in jobs:
        if job.future.done():
            continue
        failed = error or job.error
        if failed is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(failed)
