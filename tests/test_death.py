"""`kill -9` at random moments, run again: the same prompt, and nothing is paid twice.

Half of the moments are in the middle of a commit. `benchmarks/death.py` has a hundred.

What can be promised, and is tested: a reply that was committed when the process died is never
asked for again. Whatever was under way may have been answered by the server and lost on the way.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tests.models.fake_server import Body, FakeServer
from tests.playing import data_file, pool_file
from trueup.store.calls import Calls

ALIGNS = """
import asyncio, os, signal, sys, threading, time, traceback
import bm25s, trueup.models.endpoint
from trueup import Job, align
from trueup.store.writer import GroupWriter

def die(after):
    time.sleep(after)
    os.kill(os.getpid(), signal.SIGKILL)

def die_in(number, after, commits=GroupWriter._commit):
    def commit(self, group):
        if self.commits + 1 == number:
            threading.Thread(target=die, args=(after,), daemon=True).start()
        commits(self, group)
    GroupWriter._commit = commit

policy, data, pool = sys.argv[1:]
for line in sys.stdin:
    out, number, after = line.split(";")
    job = Job(
        policy=policy, writer="policy", judge="dynamic", data=data, demonstrations=pool, out=out,
        calls=60, held_out=6, validation=4, max_tokens=64,
    )
    life = os.fork()
    if not life:
        die_in(int(number), float(after))
        try:
            asyncio.run(align(job))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(life, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(life, 0)[1]), flush=True)
"""
"""Loading libraries takes longer than the run: they are loaded once, and every life is a fork."""


class Bookkeeper:
    """What the server says, decided by the request alone; and its own book of what it answered.

    Every answer carries a number, as the prompt's tokens, so that a stored reply can be traced to
    the request that was answered.
    """

    def __init__(self, server: FakeServer) -> None:
        self.answered: list[str] = []
        """Requests, in the order in which they were answered; the number is the place."""
        self.settled: set[str] = set()
        """Requests whose replies were on disk when a process died."""
        self.paid_twice: list[str] = []
        self.due = asyncio.Event()
        self.stop_at = sys.maxsize
        self._server = server
        server.write = self._write

    def _write(self, body: Body, place: int) -> str:
        request = json.dumps(body, sort_keys=True)
        if place == 0:
            if request in self.settled:
                self.paid_twice.append(request)
            self.answered.append(request)
            self._server.usage = {"prompt_tokens": len(self.answered), "completion_tokens": 1}
            if len(set(self.answered)) >= self.stop_at:
                self.due.set()
        return _said(body, crc32(f"{place} {request}".encode()))

    def stored(self, folder: Path) -> set[str]:
        """The requests whose replies are in a run's database."""
        path = folder / "calls.sqlite"
        if not path.exists():
            return set()
        with closing(sqlite3.connect(path)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
            if ("calls",) not in tables:
                return set()
            rows = connection.execute("SELECT tokens_in FROM calls").fetchall()
        return {self.answered[number - 1] for (number,) in rows}


def _said(body: Body, drawn: int) -> str:
    # To the letter of the schema: a server that ignores one is not sent another.
    asked = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    names = list(asked.get("properties", {}))
    if not names:
        refuses = drawn % 2
        return "I'm sorry, but I can't help with that." if refuses else f"Take tool {drawn % 97}."
    if "criteria" in names:
        analysis = dict.fromkeys(asked["properties"]["analysis"]["required"], "")
        chosen = ["Safety", "Clarity"]
        return json.dumps({"analysis": analysis, "reasoning": "r", "criteria": chosen})
    if "instruction" in names:
        instruction = f"Be kind and follow rule number {drawn % 1000}."
        return json.dumps(dict.fromkeys(names, "") | {"instruction": instruction})
    return json.dumps({name: {"reason": "r", "score": 1 + drawn % 5} for name in names})


class Lives:
    """One process after another that runs the same job."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments

    async def __aenter__(self) -> Lives:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            ALIGNS,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "OPENBLAS_NUM_THREADS": "1",  # threads would not survive a fork
            },
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def begin(self, folder: Path, *, commit: int = 0, after: float = 0.0) -> int:
        """Start one; its process's number. It dies so many seconds into that commit, if any."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder};{commit};{after}\n".encode())
        return await self.number()

    async def number(self) -> int:
        """The next number told: a process's, then what it ended with."""
        assert self._process.stdout is not None
        return int(await self._process.stdout.readline())


@dataclass(frozen=True)
class Lived:
    """What many deaths left, beside an undisturbed run."""

    deaths: int
    needed: set[str]
    """Requests of the undisturbed run."""
    settled: set[str]
    """Requests whose replies were on disk at some death."""
    answered: list[str]
    stored: set[str]
    paid_twice: list[str]
    in_the_ledger: int
    same_prompt: bool
    same_results: bool


async def lived(folder: Path, kills: int, in_commits: int, seed: int) -> Lived:
    """A run killed so often at random moments and in the middle of commits, then finished."""
    chance = random.Random(seed)
    data, pool = data_file(folder), pool_file(folder)
    undisturbed, killed = folder / "undisturbed", folder / "killed"
    async with FakeServer() as server:
        server.delay = 0.002
        async with Lives(f"endpoint:{server.url}/v1#fake", data, pool) as lives:
            book = Bookkeeper(server)
            await lives.begin(undisturbed)
            assert await lives.number() == 0
            needed = set(book.answered)
            assert book.stored(undisturbed) == needed
            assert len(book.answered) == len(needed) > 150

            book = Bookkeeper(server)
            plan = [
                (moment, in_commit)
                for in_commit, count in ((False, kills), (True, in_commits))
                for moment in chance.sample(range(1, len(needed)), count)
            ]
            for moment, in_commit in sorted(plan):
                if in_commit:
                    await lives.begin(killed, commit=1, after=chance.uniform(0, 0.006))
                    assert await lives.number() == -signal.SIGKILL
                else:
                    await _dies_at(moment, lives, book, killed, chance)
                book.settled |= book.stored(killed)

            book.stop_at = sys.maxsize
            await lives.begin(killed)
            assert await lives.number() == 0
    with Calls(killed / "calls.sqlite") as calls:
        paid = sum(cost.calls_paid for cost in calls.ledger().file.values())
    results: list[dict[str, Any]] = [
        json.loads((one / "results.json").read_text()) for one in (undisturbed, killed)
    ]
    prompts = [(one / "aligned.toml").read_text() for one in (undisturbed, killed)]
    return Lived(
        kills + in_commits, needed, book.settled, book.answered, book.stored(killed),
        book.paid_twice, paid, prompts[0] == prompts[1],
        all(results[0][told] == results[1][told]
            for told in ("summary", "found", "rounds", "verdicts")),
    )  # fmt: skip


async def _dies_at(
    moment: int, lives: Lives, book: Bookkeeper, folder: Path, chance: random.Random
) -> None:
    """One life that ends soon after so many different requests were answered in all."""
    book.stop_at = moment
    book.due.clear()
    life = await lives.begin(folder)
    ended = asyncio.create_task(lives.number())
    due = asyncio.create_task(book.due.wait())
    if len(set(book.answered)) >= moment:  # a death in a commit came later than that
        book.due.set()
    await asyncio.wait([ended, due], return_when=asyncio.FIRST_COMPLETED)
    assert not ended.done(), "it ended before its time"
    await asyncio.sleep(chance.uniform(0, 0.01))
    os.kill(life, signal.SIGKILL)
    assert await ended == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
async def test_killed_sixteen_times_the_same_prompt_and_nothing_paid_twice(tmp_path: Path) -> None:
    found = await lived(tmp_path, kills=8, in_commits=8, seed=20)
    assert found.paid_twice == []
    assert len(found.settled) > len(found.needed) / 3
    assert set(found.answered) == found.stored == found.needed
    assert found.in_the_ledger == len(found.needed)
    assert found.same_prompt
    assert found.same_results
