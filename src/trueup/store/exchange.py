"""A rebuilt database takes the place of a damaged one, whenever the process is killed.

    ready(fresh, path)       # this one is complete: from here on it is to be the file at `path`
    finish(path)             # it is; does nothing where nothing was ready

A file and its log cannot be replaced at one instant. So the rebuilt one is given a name that says
it is complete, and whoever opens the file to write, or salvages it, first finishes what a process
that was killed had begun. The damaged one stays beside it, with `.damaged` at the end of its name.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def ready(fresh: Path, path: Path) -> None:
    """Say that `fresh`, which is closed, is complete."""
    fresh.replace(_complete(path))


def is_ready(path: Path) -> bool:
    """Whether a complete file waits to be put in its place."""
    return _complete(path).exists()


def finish(path: Path) -> None:
    """Put the complete file in its place, if there is one. Raises OSError."""
    if not is_ready(path):
        return
    aside = path.with_name(path.name + ".damaged")
    count = 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.damaged{count}")
    # The log first: while the file itself is not aside, the same name is found again for it.
    # A log left beside the new file would be taken for its own.
    with suppress(FileNotFoundError):
        path.with_name(path.name + "-wal").replace(aside.with_name(aside.name + "-wal"))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        path.replace(aside)
    _complete(path).replace(path)


def _complete(path: Path) -> Path:
    return path.with_name(path.name + ".rebuilt")
