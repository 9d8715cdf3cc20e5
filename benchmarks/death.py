"""Kills, starves and interrupts whole runs, and counts what was lost; writes `results/death.json`.

    python benchmarks/death.py            # some minutes
    python benchmarks/death.py --quick    # about three, fewer deaths, writes nothing

A server whose every answer is decided by the request alone keeps its own book. Five runs are killed
twenty times each, at random moments and in the middle of commits. Others are interrupted, left
without disk, without their database, without their server for a minute, stopped for half a minute
like a machine asleep, started in a folder that is in use, and their file is damaged; each time the
same command goes on. What is promised: the prompt of an undisturbed run, and no reply that was on
disk asked for again.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from facts import machine  # noqa: E402
from tests.models.fake_server import FakeServer  # noqa: E402
from tests.playing import data_file, pool_file  # noqa: E402
from tests.test_death import Bookkeeper, lived  # noqa: E402

RESULTS = HERE / "results" / "death.json"
STOPS_WITHIN = 2.0
RUNS = 5
Process = asyncio.subprocess.Process


@dataclass
class Scene:
    """A server with its book, and runs of one job in a folder."""

    server: FakeServer
    folder: Path
    book: Bookkeeper = field(init=False)
    out: Path = field(init=False)

    def __post_init__(self) -> None:
        self.book = Bookkeeper(self.server)
        self.out = self.folder / "run"
        self.data, self.pool = data_file(self.folder), pool_file(self.folder)

    async def begin(self, *, file_size: int | None = None) -> Process:
        """The command, as a user starts it."""

        def at_first() -> None:
            # A shell's background jobs ignore Ctrl-C, and so would their children.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if file_size is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

        given = {
            "policy": f"endpoint:{self.server.url}/v1#fake", "writer": "policy",
            "judge": "dynamic", "data": self.data, "demonstrations": self.pool, "out": self.out,
            "calls": 60, "held-out": 6, "max-tokens": 64,
        }  # fmt: skip
        options = [str(part) for name, value in given.items() for part in (f"--{name}", value)]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trueup", "align", *options, "--yes",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, preexec_fn=at_first, cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(HERE.parent / "src")},
        )  # fmt: skip

    async def answered(self, count: int) -> None:
        """Until so many requests were answered."""
        self.book.stop_at = count
        self.book.due.clear()
        await asyncio.wait_for(self.book.due.wait(), 120)

    def settle(self) -> None:
        """What is on disk now must not be asked for again."""
        self.book.settled |= self.book.stored(self.out)

    def prompt(self) -> str:
        text = (self.out / "aligned.toml").read_text("utf-8")
        named = ("127.0.0.1", 'run = "')  # both hold the server's port
        return "\n".join(line for line in text.splitlines() if not any(n in line for n in named))


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    with tempfile.TemporaryDirectory() as folder:
        async with FakeServer() as server:
            server.delay = 0.02
            yield Scene(server, Path(folder))


async def ended(process: Process) -> tuple[int, str]:
    """Its exit status and what it said."""
    _, said = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode is not None
    return process.returncode, said.decode().strip()


Befalls = Callable[[Scene, bool], Awaitable[dict[str, Any]]]


async def interrupted(at: Scene, quick: bool) -> dict[str, Any]:
    """Ctrl-C at several moments, once while the server hangs."""
    seconds, statuses = [], []
    for moment in (1, 60) if quick else (1, 40, 80, 120, 160):
        run = await at.begin()
        await at.answered(moment)
        at.server.delay = 30.0 if moment == 60 or moment == 160 else 0.02
        await asyncio.sleep(0.1)
        began = time.perf_counter()
        run.send_signal(signal.SIGINT)
        status, said = await ended(run)
        seconds.append(round(time.perf_counter() - began, 2))
        statuses.append(status == 130 and "Run the same command again" in said)
        at.server.delay = 0.02
        at.settle()
    return {"seconds": seconds, "said_so": all(statuses), "stopped_within_2_s": max(seconds) <= 2}


async def out_of_disk(at: Scene, quick: bool) -> dict[str, Any]:
    """No file may grow beyond 200 kB."""
    status, said = await ended(await at.begin(file_size=200_000))
    at.settle()
    return {"said_so": status == 1 and "everything answered so far is kept" in said, "said": said}


async def locked(at: Scene, quick: bool) -> dict[str, Any]:
    """Another process writes to the database for longer than anybody waits, in mid-run."""
    run = await at.begin()
    await at.answered(60)
    other = sqlite3.connect(at.out / "calls.sqlite", isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    status, said = await ended(run)
    other.execute("ROLLBACK")
    other.close()
    at.settle()
    return {"said_so": status == 1 and "locked by another process" in said, "said": said}


async def in_use(at: Scene, quick: bool) -> dict[str, Any]:
    """A second run in the folder of one that is under way."""
    first = await at.begin()
    await at.answered(60)
    at.server.delay = 1.0
    status, said = await ended(await at.begin())
    at.server.delay = 0.02
    went_on, _ = await ended(first)
    return {"said_so": status == 1 and "is in use by process" in said and went_on == 0,
            "said": said}  # fmt: skip


async def read_only(at: Scene, quick: bool) -> dict[str, Any]:
    """A folder that nobody can write to, root neither: there is a file where it should be."""
    at.out, usual = at.folder / "file" / "run", at.out
    usual.parent.joinpath("file").write_text("")
    status, said = await ended(await at.begin())
    at.out = usual
    return {"said_so": status == 1 and said.startswith("trueup: "), "said": said}


async def server_gone(at: Scene, quick: bool) -> dict[str, Any]:
    """The server is gone for a minute, then back under its address."""
    run = await at.begin()
    await at.answered(60)
    await at.server.__aexit__()
    await asyncio.sleep(5 if quick else 60)
    await at.server.__aenter__()
    status, said = await ended(run)
    return {"said_so": status == 0, "said": said}


async def asleep(at: Scene, quick: bool) -> dict[str, Any]:
    """The process is stopped, with everything in flight, and goes on half a minute later."""
    run = await at.begin()
    await at.answered(60)
    run.send_signal(signal.SIGSTOP)
    await asyncio.sleep(3 if quick else 30)
    run.send_signal(signal.SIGCONT)
    status, said = await ended(run)
    return {"said_so": status == 0, "said": said}


async def damaged(at: Scene, quick: bool) -> dict[str, Any]:
    """Killed, and four pages of its file overwritten; `trueup salvage`, then the command again."""
    run = await at.begin()
    await at.answered(150)
    run.kill()
    await run.wait()
    path = at.out / "calls.sqlite"
    before = at.book.stored(at.out)  # reading it also writes the log into the file
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for share in (0.3, 0.5, 0.7, 0.9):
            file.seek(int(size * share))
            file.write(b"\xaa" * 4096)
    status, said = await ended(await at.begin())
    salvage = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trueup", "salvage", str(at.out), stdout=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(HERE.parent / "src")},
    )  # fmt: skip
    assert await salvage.wait() == 0
    at.settle()
    return {
        "said_so": status == 1 and "damaged" in said, "said": said,
        "replies_before": len(before), "replies_kept": len(at.book.settled),
    }  # fmt: skip


BEFALLS: dict[str, Befalls] = {
    "interrupted": interrupted, "out of disk": out_of_disk, "database locked": locked,
    "two runs in one folder": in_use, "a folder that cannot be": read_only,
    "server gone for a minute": server_gone, "machine asleep": asleep, "file damaged": damaged,
}  # fmt: skip


async def befallen(name: str, prompt: str, quick: bool) -> dict[str, Any]:
    """What happened to a run, and how it ended when the same command was given again."""
    async with scene() as at:
        row = {"case": name} | await BEFALLS[name](at, quick)
        status, said = await ended(await at.begin())
        row["finished"] = status == 0
        if status:
            row["said_at_last"] = said
        row["same_prompt"] = status == 0 and at.prompt() == prompt
        row["paid_twice"] = len(at.book.paid_twice)
    if "said" in row:
        row["said"] = str(row["said"]).replace(str(at.folder), "FOLDER")
        # A traceback is no sentence that tells people what to do.
        row["said_so"] = row["said_so"] and "Traceback" not in row["said"]
    print(json.dumps(row), flush=True)
    return row


async def died(seed: int) -> dict[str, Any]:
    """One run that was killed twenty times."""
    with tempfile.TemporaryDirectory() as folder:
        found = await lived(Path(folder), kills=10, in_commits=10, seed=seed)
    row = {
        "deaths": found.deaths, "requests": len(found.needed), "answered": len(found.answered),
        "on_disk_at_a_death": len(found.settled), "paid_twice": len(found.paid_twice),
        "same_prompt": found.same_prompt, "same_results": found.same_results,
        "in_the_ledger": found.in_the_ledger,
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row


async def whole(quick: bool) -> dict[str, Any]:
    deaths = [await died(seed) for seed in range(1 if quick else RUNS)]
    async with scene() as at:
        status, said = await ended(await at.begin())
        assert status == 0, said
        prompt = at.prompt()
    return {"deaths": deaths, "rows": [await befallen(name, prompt, quick) for name in BEFALLS]}


def targets(found: dict[str, Any]) -> list[dict[str, Any]]:
    deaths, rows = found["deaths"], found["rows"]
    slowest = max(max(row.get("seconds", [0])) for row in rows)
    good = sum(row["said_so"] and row["finished"] and row["same_prompt"] for row in rows)
    died_in_all = sum(row["deaths"] for row in deaths)
    same = all(row["same_prompt"] and row["same_results"] for row in deaths)
    twice = sum(row["paid_twice"] for row in [*deaths, *rows])
    return [
        {"name": "deaths by kill -9, half of them in a commit", "goal": ">= 100",
         "value": died_in_all, "met": died_in_all >= 100},
        {"name": "prompt and results after them as undisturbed", "goal": "the same",
         "value": same, "met": same},
        {"name": "replies on disk that were asked for again", "goal": "0", "value": twice,
         "met": twice == 0},
        {"name": "seconds from Ctrl-C to the end", "goal": f"<= {STOPS_WITHIN:g}",
         "value": slowest, "met": slowest <= STOPS_WITHIN},
        {"name": "other misfortunes said, survived, and ended with the same prompt",
         "goal": f"all {len(rows)}", "value": good, "met": good == len(rows)},
    ]  # fmt: skip


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    began, facts = time.perf_counter(), machine()
    found = asyncio.run(whole(quick))
    results = {
        "command": "python benchmarks/death.py",
        "machine": facts,
        **found,
        "targets": targets(found),
        "seconds": round(time.perf_counter() - began, 1),
    }
    if not quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for one in results["targets"]:  # type: ignore[attr-defined]
        print("met " if one["met"] else "MISS", one["name"], one["goal"], one["value"])
    print(f"{results['seconds']} s")


if __name__ == "__main__":
    main()
