"""What benchmarks say alike: the machine they ran on, where public data lies, a goal and its value.

    machine()                              # what times depend on, the load included
    machine("cores", "python", "numpy")    # {"cores": 2, "python": "3.11.7", "numpy": "2.4.6"}
    shared_data() / "xstest"               # or an exit that says how to name the folder
    target("calls", ">= 5", 7, True)       # a row of docs/targets.md

A file of results keeps the names it began with, so that two facts have two names each.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def _processor_named() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


KNOWN = {
    "cpu": _processor_named,
    "cores": os.cpu_count,
    "processors": os.cpu_count,
    "architecture": platform.machine,
    "processor": platform.machine,
    "system": platform.system,
    "python": platform.python_version,
    "load_1_min": lambda: round(os.getloadavg()[0], 2),
}
TIMED = ("cpu", "cores", "system", "python", "aiohttp", "load_1_min")


def machine(*names: str) -> dict[str, Any]:
    """The facts of these names, versions of libraries among them; without names, `TIMED`."""
    return {name: KNOWN[name]() if name in KNOWN else version(name) for name in names or TIMED}


def shared_data() -> Path:
    """The folder of public data, in TRUEUP_SHARED or else in ../shared."""
    folder = Path(os.environ.get("TRUEUP_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        sys.exit(f"No data at {folder}: set TRUEUP_SHARED to the folder that holds data/.")
    return folder


def target(name: str, goal: str, value: Any, met: bool) -> dict[str, Any]:
    """A goal, and whether it was met."""
    return {"name": name, "goal": goal, "value": value, "met": bool(met)}
