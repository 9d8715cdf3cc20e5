"""What can still be read in a damaged file is kept.

    kept = salvage(path)         # path is a sound file again; path.damaged is the old one

SQLite refuses a file whose index or header is broken although the rows are all there. So the file
is read as what it is, a series of pages (https://sqlite.org/fileformat2.html): each page that
looks like a leaf of a table is taken apart, each row on it that looks like a call is checked
against its own checksum, and only what is exactly as it was written is copied. Pages in the
write-ahead log are read too. Rounds and embeddings are not: the job writes them again.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from trueup.errors import StoreError
from trueup.store.database import explained, open_to_write
from trueup.store.encoding import checksum, reply_from_json
from trueup.store.exchange import finish, is_ready, ready
from trueup.store.lock import FolderLock
from trueup.store.runs import LOCK

Value = int | float | str | bytes | None

_MAGIC = b"SQLite format 3\x00"
_TABLE_LEAF = 0x0D
_ADDRESS = re.compile(r"[0-9a-f]{64}")
_COLUMNS = 12
_UNREADABLE = (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error)


def salvage(path: Path) -> int:
    """Replace the file by one with every whole reply in it; how many.

    Raises `StoreError`, also while a run has the folder: it would go on writing to the old file.
    """
    if not path.is_file() and not is_ready(path):
        raise StoreError(f"There is no {path} to salvage. Check the path.")
    try:
        lock = FolderLock(path.parent / LOCK)
        try:
            finish(path)
            return _rebuild(path)
        finally:
            lock.release()
    except OSError as error:
        raise StoreError(
            f"{path} could not be salvaged ({error}). Copy it to a folder that you may write to "
            "and that has room for twice its size, and salvage it there."
        ) from error


def _rebuild(path: Path) -> int:
    fresh = path.with_name(path.name + ".salvaged")
    _remove(fresh)
    connection = open_to_write(fresh)
    try:
        with explained(fresh):
            connection.execute("BEGIN")
            for row in _whole_calls(path):
                connection.execute(
                    f"INSERT OR IGNORE INTO calls VALUES ({','.join('?' * _COLUMNS)})", row
                )
            kept = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
            connection.execute("COMMIT")
    finally:
        connection.close()
    ready(fresh, path)
    finish(path)
    return int(kept)


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _whole_calls(path: Path) -> Iterator[tuple[Value, ...]]:
    for pages in _versions(path):
        for number in pages.numbers():
            for row in pages.rows(number):
                if _is_whole(row):
                    yield row


def _is_whole(row: tuple[Value, ...]) -> bool:
    if len(row) != _COLUMNS:
        return False
    address, role, model, *_, expected, reply, request = row
    if not (isinstance(address, str) and _ADDRESS.fullmatch(address)):
        return False
    if not all(isinstance(one, str) for one in (role, model, request)):
        return False
    try:
        return (
            isinstance(reply, str)
            and checksum(address, reply.encode()) == expected
            and bool(reply_from_json(reply).choices)
        )
    except _UNREADABLE:
        return False


class _Pages:
    """The pages of a file, some of them replaced by newer ones from its log. Counted from 1."""

    def __init__(self, main: bytes | mmap.mmap, size: int, newer: dict[int, bytes]) -> None:
        self._main = main
        self._size = size
        self._newer = newer
        # Some builds keep a few bytes at the end of each page to themselves; the header says.
        reserved = main[20] if main[:16] == _MAGIC else 0
        self._usable = size - reserved

    def numbers(self) -> Iterator[int]:
        count = -(-len(self._main) // self._size)
        yield from sorted({*range(1, count + 1), *self._newer})

    def page(self, number: int) -> bytes:
        if number in self._newer:
            return self._newer[number]
        if number < 1:
            raise ValueError("no such page")
        return self._main[(number - 1) * self._size : number * self._size]

    def rows(self, number: int) -> Iterator[tuple[Value, ...]]:
        page = self.page(number)
        start = 100 if number == 1 else 0
        if len(page) < start + 8 or page[start] != _TABLE_LEAF:
            return
        (count,) = struct.unpack_from(">H", page, start + 3)
        for index in range(count):
            try:
                (at,) = struct.unpack_from(">H", page, start + 8 + 2 * index)
                yield _values(self._payload(page, at))
            except _UNREADABLE:
                continue

    def _payload(self, page: bytes, at: int) -> bytes:
        """A row's bytes: those on its page, then those on the overflow pages chained to it."""
        length, at = _varint(page, at)
        _, at = _varint(page, at)
        if length > len(self._main) + self._size * len(self._newer):
            raise ValueError("longer than the file")
        local = self._local(length)
        payload = bytearray(page[at : at + local])
        if local < length:
            (following,) = struct.unpack_from(">I", page, at + local)
            while len(payload) < length:
                overflow = self.page(following)
                (following,) = struct.unpack_from(">I", overflow, 0)
                payload += overflow[4 : self._usable]
        return bytes(payload[:length])

    def _local(self, length: int) -> int:
        """How many of a row's bytes are on its own page: file format, section 1.6."""
        most = self._usable - 35
        if length <= most:
            return length
        least = (self._usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (self._usable - 4)
        return local if local <= most else least


def _versions(path: Path) -> Iterator[_Pages]:
    """The file with its log applied, then as it was without."""
    log = path.with_name(path.name + "-wal")
    written = log.read_bytes() if log.exists() else b""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            size = _page_size(b"", written)
            yield _Pages(b"", size, _logged(written, size))
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as main:
            size = _page_size(main[:100], written)
            newer = _logged(written, size)
            if newer:
                yield _Pages(main, size, newer)
            yield _Pages(main, size, {})


def _page_size(header: bytes, log: bytes) -> int:
    candidates = []
    if header[:16] == _MAGIC and len(header) >= 18:
        (short,) = struct.unpack_from(">H", header, 16)
        candidates.append(65536 if short == 1 else short)
    if len(log) >= 32:
        candidates.append(struct.unpack_from(">I", log, 8)[0])
    for size in candidates:
        if 512 <= size <= 65536 and size & (size - 1) == 0:
            return int(size)
    return 4096


def _logged(log: bytes, size: int) -> dict[int, bytes]:
    """The newest version of each page in a write-ahead log: file format, section 4.1."""
    pages: dict[int, bytes] = {}
    salt = log[16:24]
    for at in range(32, len(log) - 24 - size + 1, 24 + size):
        # Frames left over from before the log was last restarted carry another salt.
        if log[at + 8 : at + 16] != salt:
            break
        (number,) = struct.unpack_from(">I", log, at)
        pages[number] = log[at + 24 : at + 24 + size]
    return pages


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | data[at], at + 1


def _values(payload: bytes) -> tuple[Value, ...]:
    """A row's columns: file format, section 2.1."""
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    at = end
    for kind in kinds:
        width = _WIDTHS[kind] if kind < 12 else (kind - 12) // 2
        raw = payload[at : at + width]
        if len(raw) != width:
            raise ValueError("the row is cut short")
        values.append(_value(kind, raw))
        at += width
    return tuple(values)


_WIDTHS = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)


def _value(kind: int, raw: bytes) -> Value:
    if kind == 0:
        return None
    if kind <= 6:
        return int.from_bytes(raw, "big", signed=True)
    if kind == 7:
        return float(struct.unpack(">d", raw)[0])
    if kind in (8, 9):
        return kind - 8
    if kind < 12:
        raise ValueError("not a kind of value")
    return raw if kind % 2 == 0 else raw.decode("utf-8")
