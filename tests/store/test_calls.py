from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.errors import StoreError
from trueup.store import database
from trueup.store.calls import Calls
from trueup.store.ledger import Ledger, RoleCost, total
from trueup.types import Choice, Reply, Request, Usage

from .samples import address, anything, replies, reply, request, requests

ReadOnly = Callable[[Path], AbstractContextManager[None]]


async def put(calls: Calls, number: int, role: str = "judge", usd: float | None = None) -> Reply:
    return await calls.put(
        address(number),
        role=role,
        model="model",
        request=request(number),
        reply=reply(number),
        usd=usd,
    )


# ---------------------------------------------------------------------- what goes in comes out


@given(reply=replies, request=requests, identity=anything.filter(str.isprintable))
@settings(max_examples=60, deadline=None)
def test_any_reply_comes_back_as_it_was(reply: Reply, request: Request, identity: str) -> None:
    where = request.address(identity)
    with tempfile.TemporaryDirectory() as folder:
        with Calls(Path(folder) / "calls.sqlite") as calls:
            assert calls.get(where) is None
            kept = asyncio.run(
                calls.put(where, role="judge", model=identity, request=request, reply=reply)
            )
            assert kept == reply
            assert calls.get(where) == reply
        with Calls(Path(folder) / "calls.sqlite") as again:
            assert again.get(where) == reply


async def test_the_first_reply_stays_and_everyone_gets_it(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls, Calls(tmp_path / "calls.sqlite") as other:
        first = await put(calls, 1)
        second = await other.put(
            address(1), role="b", model="m", request=request(1), reply=Reply((Choice("later"),))
        )
        assert (first, second) == (reply(1), reply(1))
        assert calls.get(address(1)) == other.get(address(1)) == reply(1)


@given(vectors=st.dictionaries(st.text("0123456789abcdef", min_size=64, max_size=64), st.binary()))
@settings(max_examples=30, deadline=None)
def test_vectors_come_back_as_they_were(vectors: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder, Calls(Path(folder) / "calls.sqlite") as calls:
        asyncio.run(calls.put_vectors(vectors))
        assert calls.vectors([*vectors, "f" * 63]) == vectors


async def test_puts_that_arrive_together_share_commits(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        await asyncio.gather(*(put(calls, number) for number in range(500)))
        assert 1 <= calls.commits < 100
        assert all(calls.get(address(number)) == reply(number) for number in range(500))


async def test_a_put_whose_caller_is_gone_is_stored(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        task = asyncio.create_task(put(calls, 1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with Calls(tmp_path / "calls.sqlite") as calls:
        assert calls.get(address(1)) == reply(1)


def test_a_loop_that_ended_does_not_stop_the_next(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:

        async def leave_one_behind() -> None:
            task = asyncio.create_task(put(calls, 1))
            await asyncio.sleep(0)
            task.cancel()

        for _ in range(5):
            asyncio.run(leave_one_behind())
        assert asyncio.run(put(calls, 2)) == reply(2)
        assert calls.get(address(1)) == reply(1)


async def test_many_gets_keep_memory_flat(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        await asyncio.gather(*(put(calls, number) for number in range(1000)))
        where = [address(number) for number in range(1000)]
        for one in where:
            calls.get(one, role="judge")
        tracemalloc.start()
        try:
            for _ in range(50):
                for one in where:
                    calls.get(one, role="judge")
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert grown < 300_000


# ---------------------------------------------------------------------- the ledger


async def test_the_ledger_tells_paid_from_remembered_and_now_from_before(tmp_path: Path) -> None:
    one = RoleCost(1, 0, 100, 10, 60, 0.5)
    with Calls(tmp_path / "calls.sqlite") as calls:
        await put(calls, 1, "judge", usd=0.25)
        await put(calls, 2, "judge")
        await put(calls, 3, "policy")
        calls.get(address(1), role="judge")
        calls.get(address(1))
        calls.get("0" * 64, role="judge")
        costs = {"judge": RoleCost(2, 1, 200, 20, 120, 1.0, 0.25), "policy": one}
        assert calls.ledger() == Ledger(process=costs, file=costs)
    with Calls(tmp_path / "calls.sqlite") as calls:
        before = {"judge": replace(costs["judge"], calls_remembered=0), "policy": one}
        assert calls.ledger() == Ledger(process={}, file=before)
        calls.get(address(1), role="policy")
        await put(calls, 4, "policy", usd=1.0)
        assert calls.ledger() == Ledger(
            process={"policy": RoleCost(1, 1, 100, 10, 60, 0.5, 1.0)},
            file={"judge": before["judge"], "policy": RoleCost(2, 1, 200, 20, 120, 1.0, 1.0)},
        )


costs = st.builds(
    RoleCost,
    *(st.integers(0, 2**40) for _ in range(5)),
    st.just(1.5),
    st.none() | st.integers(0, 2**20).map(float),
)


@given(st.dictionaries(st.text(max_size=3), costs))
def test_the_total_is_the_sum_and_unknown_money_is_not_zero(parts: dict[str, RoleCost]) -> None:
    known = [part.usd for part in parts.values() if part.usd is not None]
    whole = total(parts)
    assert whole.tokens_in == sum(part.tokens_in for part in parts.values())
    assert whole.calls_paid == sum(part.calls_paid for part in parts.values())
    assert whole.seconds == 1.5 * len(parts)
    assert whole.usd == (sum(known) if known else None)


# ---------------------------------------------------------------------- what can be wrong


async def test_another_process_that_writes_is_waited_for_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_PATIENCE", 0.05)
    path = tmp_path / "calls.sqlite"
    with Calls(path) as calls:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(
            *(put(calls, number) for number in range(5)), return_exceptions=True
        )
        assert [type(one) for one in results] == [StoreError] * 5
        assert "locked by another process" in str(results[0])
        other.execute("ROLLBACK")
        other.close()
        assert await put(calls, 1) == reply(1)


@pytest.mark.parametrize("freed", [True, False])
async def test_an_interrupted_run_ends_while_another_process_writes(
    tmp_path: Path, freed: bool
) -> None:
    path = tmp_path / "calls.sqlite"
    Calls(path).close()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(asyncio.CancelledError), Calls(path) as calls:  # as Ctrl-C ends a run
            waiting = [asyncio.ensure_future(put(calls, 1))]
            await asyncio.sleep(0.2)  # the first is being committed, the others are a second group
            waiting += [asyncio.ensure_future(put(calls, number)) for number in range(2, 5)]
            await asyncio.sleep(0)
            if freed:
                threading.Timer(0.3, other.execute, ["ROLLBACK"]).start()
            interrupted = time.monotonic()
            raise asyncio.CancelledError
        assert time.monotonic() - interrupted < 1.9
        results = await asyncio.gather(*waiting, return_exceptions=True)
        if not freed:
            assert ["locked by another" in str(one) for one in results] == [True] * 4
            return
        assert results == [reply(number) for number in range(1, 5)]
    with Calls(path) as calls:
        assert [calls.get(address(number)) for number in range(1, 5)] == results


async def test_a_put_into_a_closed_file_fails(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "calls.sqlite")
    calls.close()
    calls.close()
    with pytest.raises(StoreError, match="is closed"):
        await put(calls, 1)
    with pytest.raises(StoreError, match="is closed"):
        calls.get(address(1))


async def test_what_breaks_in_the_writer_reaches_who_waits(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        with pytest.raises(StoreError, match="calls"):
            # Not a text: SQLite refuses it in the thread, inside the transaction.
            await put(calls, 1, role=object())  # type: ignore[arg-type]
        assert await asyncio.wait_for(put(calls, 2), 5) == reply(2)


async def test_a_damaged_reply_fails_only_whoever_puts_onto_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with Calls(path) as calls:
        await put(calls, 0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE calls SET checksum = 1")
        results = await asyncio.gather(
            *(put(calls, number) for number in range(20)), return_exceptions=True
        )
        assert calls.commits < 10
        with pytest.raises(StoreError, match="is damaged"):
            raise results[0]  # type: ignore[misc]
        assert results[1:] == [calls.get(address(number)) for number in range(1, 20)]
        assert results[1:] == [reply(number) for number in range(1, 20)]


async def test_what_a_job_did_before_it_failed_is_undone(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        broken = {"a": b"whole", object(): b"no text"}
        results = await asyncio.gather(
            calls.put_vectors(broken),  # type: ignore[arg-type]
            calls.put_vectors({"b": b"whole"}),
            return_exceptions=True,
        )
        assert [type(one) for one in results] == [AttributeError, type(None)]
        assert calls.vectors(["a", "b"]) == {"b": b"whole"}


FULL_DISK = """
import asyncio, resource, signal, sys
from trueup.errors import StoreError
from trueup.store.calls import Calls
from trueup.types import *

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

async def main(path):
    with Calls(path) as calls:
        async def put(number):
            reply = Reply((Choice("x" * 20000),))
            await calls.put(f"{number:064x}", role="r", model="m", request=Request(""), reply=reply)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        stored = 0
        try:
            while True:
                await asyncio.wait_for(put(stored), 10)
                stored += 1
        except StoreError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await put(stored)
        assert all(calls.get(f"{n:064x}") is not None for n in range(stored + 1))
    print(stored > 3)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits a file's size as POSIX can")
def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "calls.sqlite")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    said, enough = done.stdout.splitlines()
    assert "full" in said
    assert "everything answered so far is kept" in said
    assert enough == "True"


def test_a_folder_that_may_not_be_written_to(open_folder: Path, read_only: ReadOnly) -> None:
    with read_only(open_folder), pytest.raises(StoreError, match="Choose a run folder that you"):
        Calls(open_folder / "calls.sqlite")


async def test_a_read_only_file_can_be_read(open_folder: Path, read_only: ReadOnly) -> None:
    path = open_folder / "calls.sqlite"
    with Calls(path) as calls:
        await put(calls, 1)
    with read_only(open_folder):
        with pytest.raises(StoreError):
            Calls(path)
        with Calls(path, read_only=True) as calls:
            assert calls.get(address(1)) == reply(1)
            assert calls.ledger().file == {"judge": RoleCost(1, 0, 100, 10, 60, 0.5)}
            with pytest.raises(StoreError, match="for reading only"):
                await put(calls, 2)


@pytest.mark.parametrize("writable", [True, False])
async def test_a_file_left_by_a_killed_run_can_be_read(
    open_folder: Path, read_only: ReadOnly, writable: bool
) -> None:
    killed = open_folder / "killed"
    killed.mkdir()
    with Calls(open_folder / "calls.sqlite") as calls:
        await put(calls, 1)
        for ending in ("", "-wal"):  # what a process that is killed now leaves behind
            name = f"calls.sqlite{ending}"
            (killed / name).write_bytes((open_folder / name).read_bytes())
    assert (killed / "calls.sqlite-wal").stat().st_size > 0

    def read() -> Reply | None:
        with Calls(killed / "calls.sqlite", read_only=True) as calls:
            return calls.get(address(1))

    if writable:
        assert read() == reply(1)
    else:
        with read_only(killed):
            assert read() == reply(1)


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"There is no .*calls\.sqlite"):
        Calls(tmp_path / "calls.sqlite", read_only=True)


def test_something_that_is_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_text("Dear diary, " * 100)
    with pytest.raises(StoreError, match=r"is damaged .*not a database.*salvage"):
        Calls(path)
    assert path.read_text() == "Dear diary, " * 100


def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url)")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        Calls(path)


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    Calls(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    for read in (False, True):
        with pytest.raises(StoreError, match=r"newer trueup .*Upgrade"):
            Calls(path, read_only=read)


async def test_a_reply_whose_bits_flipped_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with Calls(path) as calls:
        await put(calls, 1)
        await put(calls, 2)
        await calls.put_vectors({"a": b"vectors-as-they-were"})
    raw = path.read_bytes()
    assert raw.count(b"answer 1") == raw.count(b"vectors-as-they-were") == 1
    raw = raw.replace(b"answer 1", b"answer 7").replace(b"as-they-were", b"as-they-went")
    path.write_bytes(raw)
    with Calls(path) as calls:
        assert calls.get(address(2)) == reply(2)
        with pytest.raises(StoreError, match="salvage"):
            calls.get(address(1))
        with pytest.raises(StoreError, match="damaged"):
            calls.vectors(["a"])


async def test_a_reply_that_is_no_text_any_more_is_damaged_not_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with Calls(path) as calls:
        await put(calls, 1)
        await put(calls, 2)
    path.write_bytes(path.read_bytes().replace(b"answer 1", b"\xe1nswer 1"))
    with Calls(path) as calls:
        with pytest.raises(StoreError, match=r"is damaged .*trueup salvage") as caught:
            calls.get(address(1))
        assert "and so on" not in str(caught.value)
        with pytest.raises(StoreError, match=r"is damaged .*trueup salvage"):
            await put(calls, 1)
    assert Calls.salvage(path) == 1
    with Calls(path) as calls:
        assert (calls.get(address(1)), calls.get(address(2))) == (None, reply(2))


async def test_absurd_usage_does_not_break_the_sums(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        boast = Reply((Choice("!"),), Usage(2**70, 2**63, 2**62), 0.0)
        for number in range(3):
            await calls.put(
                address(number), role="r", model="m", request=request(number), reply=boast
            )
        assert calls.get(address(0)) == boast
        assert calls.ledger().file["r"].calls_paid == 3


async def test_usage_of_nothing_is_stored_as_nothing(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        silent = Reply((Choice(""),), Usage(), 0.0)
        await calls.put("0" * 64, role="r", model="m", request=Request(""), reply=silent)
        assert calls.get("0" * 64) == silent
