from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.errors import StoreError
from trueup.store import database
from trueup.store.calls import Calls
from trueup.store.runs import RunFolder
from trueup.types import Choice, Reply, Request

from .samples import address, reply, request

PAGE = 4096
# Words in a reply: from rows that fit their page to rows that spill over several.
SIZES = (5, 300, 900, 3000)


def size(number: int) -> int:
    return SIZES[number % len(SIZES)]


async def fill(calls: Calls, count: int) -> None:
    for number in range(count):
        await calls.put(
            address(number),
            role="judge",
            model="model",
            request=request(number),
            reply=reply(number, size(number)),
            usd=0.5,
        )


def kept(path: Path, count: int) -> int:
    """How many replies are there; each that is there is as it was."""
    with Calls(path) as calls:
        found = [calls.get(address(number)) for number in range(count)]
        assert calls.ledger().file["judge"].calls_paid == sum(one is not None for one in found)
    for number, one in enumerate(found):
        assert one is None or one == reply(number, size(number))
    return sum(one is not None for one in found)


@pytest.fixture(scope="module")
def sound() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.sqlite"
        with Calls(path) as calls:
            asyncio.run(fill(calls, 40))
        return path.read_bytes()


def test_a_sound_file_is_kept_whole(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(sound)
    assert Calls.salvage(path) == 40
    assert kept(path, 40) == 40
    assert (tmp_path / "calls.sqlite.damaged").read_bytes() == sound


def test_a_destroyed_beginning_loses_no_reply(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"\0" * PAGE + sound[PAGE:])
    with pytest.raises(StoreError, match=r"is damaged .*trueup salvage"):
        Calls(path)
    assert Calls.salvage(path) == 40
    assert kept(path, 40) == 40


def test_a_cut_off_file_is_found_and_its_beginning_kept(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(sound[: len(sound) // 2 + 100])
    with pytest.raises(StoreError, match="is damaged"):
        Calls(path)
    assert 5 < Calls.salvage(path) == kept(path, 40) < 40


def test_a_page_overwritten_is_found_on_opening(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    leaf = sound.index(b"answer 0") // PAGE * PAGE
    path.write_bytes(sound[:leaf] + b"?" * PAGE + sound[leaf + PAGE :])
    with pytest.raises(StoreError, match=r"is damaged .*trueup salvage"):
        Calls(path)
    assert 30 < Calls.salvage(path) == kept(path, 40) < 40


def test_rows_of_every_length_are_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    replies = [Reply((Choice("x" * length),)) for length in range(3000, 9000, 5)]

    async def put_all(calls: Calls) -> None:
        ask = Request("q")
        await asyncio.gather(
            *(
                calls.put(address(number), role="r", model="m", request=ask, reply=one)
                for number, one in enumerate(replies)
            )
        )

    with Calls(path) as calls:
        asyncio.run(put_all(calls))
    assert Calls.salvage(path) == len(replies)
    with Calls(path) as calls:
        assert all(calls.get(address(number)) == one for number, one in enumerate(replies))


def test_a_file_too_large_to_check_whole_is_checked_in_part(
    sound: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKED_WHOLE", 0)
    path = tmp_path / "calls.sqlite"
    path.write_bytes(sound)
    assert kept(path, 40) == 40
    path.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(StoreError, match="is damaged"):
        Calls(path)


@given(seed=st.integers(0, 2**32), holes=st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_whatever_is_overwritten_only_whole_replies_are_kept(
    sound: bytes, seed: int, holes: int
) -> None:
    chance = random.Random(seed)
    raw = bytearray(sound)
    for _ in range(holes):
        at = chance.randrange(len(raw))
        length = chance.choice([1, 50, PAGE])
        raw[at : at + length] = chance.randbytes(len(raw[at : at + length]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.sqlite"
        path.write_bytes(raw)
        # A hole spoils at most the rows that touch two pages: three on each, and their tails.
        assert Calls.salvage(path) == kept(path, 40) >= 40 - 12 * holes


def test_what_is_only_in_the_log_is_kept(tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    with Calls(tmp_path / "calls.sqlite") as calls:
        asyncio.run(fill(calls, 10))
        log = (tmp_path / "calls.sqlite-wal").read_bytes()
    copy.write_bytes(b"broken " * 50)
    copy.with_name("copy.sqlite-wal").write_bytes(log)
    assert Calls.salvage(copy) == 10
    assert kept(copy, 10) == 10
    assert copy.with_name("copy.sqlite.damaged-wal").read_bytes() == log


@pytest.mark.parametrize("again", ["a run", "salvage"])
@pytest.mark.parametrize("step", range(4))
def test_killed_at_any_step_the_next_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, again: str
) -> None:
    path = tmp_path / "calls.sqlite"
    with Calls(path) as calls:
        asyncio.run(fill(calls, 10))
        raw, log = (path.with_name(path.name + end).read_bytes() for end in ("", "-wal"))
    path.write_bytes(raw)
    path.with_name("calls.sqlite-wal").write_bytes(log)
    steps = iter(range(4))

    def dies(one: Path, target: Path, replace: Callable[..., Path] = Path.replace) -> Path:
        if next(steps) == step:
            raise KeyboardInterrupt
        return replace(one, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", dies)
        Calls.salvage(path)
    if again == "salvage":
        assert Calls.salvage(path) == 10
    assert kept(path, 10) == 10
    if step or again == "salvage":
        assert path.with_name("calls.sqlite.damaged").read_bytes() == raw
        assert path.with_name("calls.sqlite.damaged-wal").read_bytes() == log


def test_salvaging_twice_keeps_both_damaged_files(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    for text in (b"first", b"second"):
        path.write_bytes(text)
        assert Calls.salvage(path) == 0
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ["calls.sqlite", "calls.sqlite.damaged", "calls.sqlite.damaged2", "run.lock"]
    assert (tmp_path / "calls.sqlite.damaged2").read_bytes() == b"second"


def test_a_run_that_is_going_on_keeps_its_file(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run, Calls(run.calls) as calls:
        asyncio.run(fill(calls, 5))
        with pytest.raises(StoreError, match=f"is in use by process {os.getpid()}"):
            Calls.salvage(run.calls)
        asyncio.run(fill(calls, 10))
    assert kept(tmp_path / "calls.sqlite", 10) == 10
    assert Calls.salvage(tmp_path / "calls.sqlite") == 10


def test_nothing_to_salvage(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no"):
        Calls.salvage(tmp_path / "calls.sqlite")
    empty = tmp_path / "empty.sqlite"
    empty.touch()
    assert Calls.salvage(empty) == 0
