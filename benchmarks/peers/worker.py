"""Runs tasks for `compare.py` in the peers' environment: a task a line in, a result a line out.

    echo '{"tool": "gepa", "material": "own", "url": "http://127.0.0.1:1234/run", "start": "...",
           "search": [...], "validation": [...], "lines": [...], "demonstrations": [...],
           "budget": 300, "seed": 0}' | benchmarks/peers/.venv/bin/python benchmarks/peers/worker.py

One process runs many tasks, because importing the tools takes seconds. A tool that fails returns
the plain prompt with the reason in its note: that is what its user would be left with.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from door import Door


def done(task: dict[str, Any]) -> dict[str, Any]:
    if task["tool"] == "gepa":
        from gepa_peer import run
    else:
        from dspy_peer import run
    try:
        return run(task, Door(task["url"]))
    except Exception as error:
        note = f"failed: {type(error).__name__}: {str(error)[:200]}"
        return {"instruction": task["start"], "demonstrations": [], "note": note}


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the tools print
    if "--loud" not in sys.argv:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for line in sys.stdin:
        out.write(json.dumps(done(json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
