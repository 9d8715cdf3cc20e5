"""How many processors a model in this process may use.

A thread more than there are processors makes every token wait for it. The machine's own number is
too many under `taskset`, in a cpuset, and in a container that was given a share of the machine.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SHARES = Path("/sys/fs/cgroup")
"""Where Linux tells a container its share."""


def processors(shares: Path = SHARES) -> int:
    """How many there are for this process, one at least."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    share = _share(shares)
    return allowed if share is None else max(1, min(allowed, int(share)))


def _share(folder: Path) -> float | None:
    """Processors' worth of time that the container may use; None where there is no limit."""
    # One file with quota and period ("max" for no quota) under cgroup 2, two (-1) under 1.
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with suppress(OSError, ValueError):
            texts = [(folder / name).read_text("ascii") for name in names]
            quota, period = map(int, " ".join(texts).split())
            return quota / period if quota > 0 and period > 0 else None
    return None
