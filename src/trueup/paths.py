"""Paths as people type them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(place: str | os.PathLike[str]) -> Path:
    """The path without `~`. What is no path at all, nobody's home or a whole text, stays as it is.

    `os.path` says of such a path that nothing is there, where `Path` raises.
    """
    return Path(os.path.expanduser(place))
