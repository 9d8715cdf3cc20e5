"""Every reply a run has ever got, on disk before anyone uses it.

    with Calls(folder / "calls.sqlite") as calls:
        reply = calls.get(address, role="judge")                      # None, or the stored reply
        reply = await calls.put(address, role="judge", model=model.identity,
                                request=request, reply=reply)         # committed when this returns
        calls.ledger().file["judge"].tokens_in

A reply is found under the hash of what was asked (`Request.address`), so a job that is run again
gets everything it already paid for and asks only for the rest. Nothing is ever changed or deleted:
the first reply under an address stays, and `put` returns it, so that everyone goes on with the
same text that a later replay will find.

It keeps no replies in memory. It does not know models, and makes no calls.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from trueup.errors import StoreError
from trueup.store.database import damaged, explained, open_beside, open_to_read, open_to_write
from trueup.store.encoding import checksum, reply_from_json, reply_to_json, storable
from trueup.store.ledger import Ledger, RoleCost
from trueup.store.salvage import salvage
from trueup.store.writer import GroupWriter
from trueup.types import Reply, Request

_GET = "SELECT reply, checksum FROM calls WHERE address = ?"
_HAS = "SELECT 1 FROM calls WHERE address = ?"
_PUT = """
    INSERT INTO calls (address, role, model, tokens_in, tokens_out, tokens_cached, seconds, usd,
                       created, checksum, reply, request)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (address) DO NOTHING
"""
_PUT_VECTOR = (
    "INSERT INTO vectors (address, checksum, vector) VALUES (?, ?, ?) "
    "ON CONFLICT (address) DO NOTHING"
)
_COSTS = """
    SELECT role, count(*), sum(tokens_in), sum(tokens_out), sum(tokens_cached), sum(seconds),
           sum(usd)
    FROM calls WHERE rowid > ? AND rowid <= ? GROUP BY role
"""

_ABSURD = 2**40
"""More tokens than any call has: a server that claims more must not break the sums."""


class Calls:
    """Request address → reply, with what each cost."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Open the file, or make it. Raises `StoreError` saying what to do.

        `read_only` opens what is there and changes nothing, also in a folder that may not be
        written to.
        """
        self.path = Path(path)
        self._writer: GroupWriter | None = None
        if not read_only:
            self._writer = GroupWriter(open_to_write(self.path), self.path)
        try:
            # A connection of its own for reading: it never waits for a commit under way.
            self._reader = open_to_read(self.path) if read_only else open_beside(self.path)
        except BaseException:
            if self._writer is not None:
                self._writer.close()
            raise
        self._lock = threading.Lock()
        self._paid: dict[str, RoleCost] = {}
        self._remembered: Counter[str] = Counter()
        self._file: dict[str, RoleCost] = {}
        self._summed_to = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # Whoever pressed Ctrl-C waits for the end, not for another program.
        self.close(hurry=isinstance(error, asyncio.CancelledError | KeyboardInterrupt))

    @property
    def commits(self) -> int:
        """How many transactions this process has committed; many puts share one."""
        return self._writer.commits if self._writer is not None else 0

    def close(self, *, hurry: bool = False) -> None:
        """Finish writing and close the file. Safe to call twice.

        In a `hurry` a file that another process has locked is not waited for longer than a second.
        """
        self._reader.close()
        if self._writer is not None:
            self._writer.close(hurry=hurry)

    # ------------------------------------------------------------------ replies

    def __contains__(self, address: str) -> bool:
        """Whether a reply is stored under this address."""
        with self._lock, explained(self.path):
            return self._reader.execute(_HAS, (address,)).fetchone() is not None

    def get(self, address: str, *, role: str | None = None) -> Reply | None:
        """The reply stored under this address, or None. Raises `StoreError` if it is damaged.

        With `role` the ledger counts it as remembered by that role.
        """
        with self._lock, explained(self.path):
            row = self._reader.execute(_GET, (address,)).fetchone()
        if row is None:
            return None
        reply = self._decoded(address, *row)
        if role is not None:
            self._remembered[role] += 1
        return reply

    async def put(
        self,
        address: str,
        *,
        role: str,
        model: str,
        request: Request,
        reply: Reply,
        usd: float | None = None,
    ) -> Reply:
        """Store a reply that was paid for; on disk when this returns. Raises `StoreError`.

        Returns the reply under this address: the given one, or the one that was there first.
        `usd` is what the call cost in US dollars, where that is known.
        """
        usage = reply.usage
        # Counted before it is stored: it was paid for even if the disk is full.
        cost = RoleCost(1, 0, usage.tokens_in, usage.tokens_out, usage.cached, reply.seconds, usd)
        self._paid[role] = self._paid.get(role, RoleCost()) + cost
        text = reply_to_json(reply)
        row = (
            address, role, model,
            *map(_summable, (usage.tokens_in, usage.tokens_out, usage.cached)),
            reply.seconds, usd, time.time(), checksum(address, text.encode()), text,
            storable(request.content()),
        )  # fmt: skip

        def insert(connection: sqlite3.Connection) -> Reply:
            if connection.execute(_PUT, row).rowcount == 1:
                return reply
            return self._decoded(address, *connection.execute(_GET, (address,)).fetchone())

        return await self._to_write().do(insert)

    def _decoded(self, address: str, text: str, expected: int) -> Reply:
        try:
            if checksum(address, text.encode()) == expected:
                return reply_from_json(text)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise damaged(self.path, "a stored reply is not what was written")

    def _to_write(self) -> GroupWriter:
        if self._writer is None:
            raise StoreError(f"{self.path} was opened for reading only. Open it to write.")
        return self._writer

    # ------------------------------------------------------------------ embeddings

    def vectors(self, addresses: Iterable[str]) -> dict[str, bytes]:
        """Those of the vectors that are stored, as they were put. Raises `StoreError`."""
        found = {}
        question = "SELECT vector, checksum FROM vectors WHERE address = ?"
        with self._lock, explained(self.path):
            for address in addresses:
                row = self._reader.execute(question, (address,)).fetchone()
                if row is None:
                    continue
                if checksum(address, row[0]) != row[1]:
                    raise damaged(self.path, "a stored embedding is not what was written")
                found[address] = row[0]
        return found

    async def put_vectors(self, vectors: Mapping[str, bytes]) -> None:
        """Store embeddings by the address of their text; on disk when this returns."""
        rows = [(address, checksum(address, raw), raw) for address, raw in vectors.items()]

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany(_PUT_VECTOR, rows)

        await self._to_write().do(insert)

    # ------------------------------------------------------------------ costs

    def ledger(self) -> Ledger:
        """What was paid and what was remembered, by role. Cheap enough to show once a second."""
        roles = [*self._paid, *(role for role in self._remembered if role not in self._paid)]
        process = {
            role: self._paid.get(role, RoleCost())
            + RoleCost(calls_remembered=self._remembered[role])
            for role in roles
        }
        file = {
            role: cost + RoleCost(calls_remembered=self._remembered[role])
            for role, cost in self._costs_of_file().items()
        }
        return Ledger(process=process, file=file)

    def _costs_of_file(self) -> dict[str, RoleCost]:
        """Sums over all rows. Rows are only ever added, so each is read once."""
        with self._lock, explained(self.path):
            newest = self._reader.execute("SELECT max(rowid) FROM calls").fetchone()[0] or 0
            rows = self._reader.execute(_COSTS, (self._summed_to, newest)).fetchall()
            for role, calls, tokens_in, tokens_out, cached, seconds, usd in rows:
                cost = RoleCost(calls, 0, tokens_in, tokens_out, cached, seconds, usd)
                self._file[role] = self._file.get(role, RoleCost()) + cost
            self._summed_to = newest
        return self._file

    # ------------------------------------------------------------------ repair

    @staticmethod
    def salvage(path: Path | str) -> int:
        """Rebuild a damaged file from the replies in it that are whole; how many those were.

        The damaged file stays beside it, with `.damaged` at the end of its name.
        """
        return salvage(Path(path))


def _summable(tokens: int) -> int:
    return max(-_ABSURD, min(tokens, _ABSURD))
