"""One folder, one process.

    lock = FolderLock(folder / "run.lock")        # StoreError naming the process that has it
    lock.release()

The operating system keeps the lock and lets go of it when the process ends, however it ends: a
killed run leaves nothing to clean up. The file itself stays; removing it would let two processes
lock two files of the same name.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from trueup.errors import StoreError

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a locked byte cannot be read on Windows: not one of those with the number

    def _try_lock(handle: int) -> bool:
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


PATIENCE = 0.3
"""Seconds to try: `is_held` looks by locking for an instant, and may be looking just now."""


class FolderLock:
    """Held from construction to `release` or to the end of the process."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises `StoreError` if another process has it, OSError if none can."""
        self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        until = time.monotonic() + PATIENCE
        while not _try_lock(self._handle):
            if time.monotonic() > until:
                os.close(self._handle)
                raise StoreError(
                    f"{path.parent} is in use by process {_owner(path)}. Wait for it or end it, "
                    "or choose another run folder."
                )
            time.sleep(0.03)
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let go. Safe to call twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def is_held(path: Path) -> bool:
    """Whether a process has the lock at this moment."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            return not _try_lock(handle)
        finally:
            os.close(handle)
    return False


def _owner(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip() or "unknown"
    return "unknown"
