from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may reach (pytest's own are closed to others)."""
    path = Path(tempfile.mkdtemp(prefix="trueup-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def read_only() -> Callable[[Path], AbstractContextManager[None]]:
    """`with read_only(folder):` nothing in the folder may be written, even when root is testing."""
    if os.name != "posix":
        pytest.skip("needs file permissions as POSIX has them")

    @contextmanager
    def context(folder: Path) -> Iterator[None]:
        inside = [folder, *folder.rglob("*")]
        modes = [(path, path.stat().st_mode) for path in inside]
        root = os.geteuid() == 0
        for path in inside:
            path.chmod(0o555 if path.is_dir() else 0o444)
        if root:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
            for path, mode in modes:
                path.chmod(mode)

    return context
