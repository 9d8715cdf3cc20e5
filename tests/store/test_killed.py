"""A process that is killed at any moment has lost nothing that it was told is stored."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trueup.store.calls import Calls
from trueup.store.runs import RunFolder
from trueup.types import Choice, Reply

WRITES_FOR_EVER = """
import asyncio, itertools, sys
from trueup.store.calls import Calls
from trueup.store.runs import RunFolder
from trueup.types import *

numbers = itertools.count(int(sys.argv[2]))

async def worker(calls):
    for number in numbers:
        text = f"answer {number} " + "x" * (number * 37 % 9000)
        await calls.put(f"{number:064x}", role="judge", model="m", request=Request("q"),
                        reply=Reply((Choice(text),)))
        print(number, flush=True)

async def main():
    with RunFolder(sys.argv[1]) as run, Calls(run.calls) as calls:
        print("ready", flush=True)
        await asyncio.gather(*(worker(calls) for _ in range(8)))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_killed_ten_times_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    chance = random.Random(11)
    acknowledged: set[int] = set()
    for life in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES_FOR_EVER, str(tmp_path), str(life * 1_000_000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 0.15))
        process.kill()
        printed, _ = process.communicate()
        # The last line may have been cut off in the middle of its number.
        whole = printed[: printed.rfind("\n") + 1]
        acknowledged |= {int(line) for line in whole.split()}
    assert len(acknowledged) > 50
    with RunFolder(tmp_path) as run, Calls(run.calls) as calls:
        for number in acknowledged:
            text = f"answer {number} " + "x" * (number * 37 % 9000)
            assert calls.get(f"{number:064x}") == Reply((Choice(text),))
        # What was stored and not yet said may be there too: eight at a time.
        assert calls.ledger().file["judge"].calls_paid <= len(acknowledged) + 10 * 8
