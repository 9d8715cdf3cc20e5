"""Slots and prefixes at a simulated llama.cpp, in virtual time: what is read, and by whom."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.errors import ModelUnavailable
from trueup.models.prefixes import Prefixes, common, letters
from trueup.models.slots import GATHERING, Counts, Slots
from trueup.types import Message, Request

from .virtual import run

PAGE = "The house has many rules, and each has its reason. " * 20
OTHER = "Elsewhere there are few rules, and nobody knows why. " * 20


def chat(system: str, user: str) -> Request:
    return Request((Message("system", system), Message("user", user)))


class Llama:
    """Slots that each know what they read last; reading takes a millisecond a letter."""

    def __init__(self, slots: int, folder: Path, broken: frozenset[str] = frozenset()) -> None:
        self.holds = [""] * slots
        self.folder = folder
        self.broken = broken
        self.letters_read = 0
        self.busiest = self._busy = 0
        self._in_use: set[int] = set()

    async def rendered(self, request: Request) -> str:
        await self._maybe("rendered")
        return letters(request)

    async def read(self, slot: int, text: str) -> None:
        await self._maybe("read")
        new = len(text) - common(self.holds[slot], text)
        self.letters_read += new
        await asyncio.sleep(new / 1000)
        self.holds[slot] = text

    async def save(self, slot: int, file: str) -> None:
        await self._maybe("save")
        (self.folder / file).write_text(self.holds[slot])

    async def load(self, slot: int, file: str) -> None:
        await self._maybe("load")
        try:
            self.holds[slot] = (self.folder / file).read_text()
        except OSError as error:
            raise ModelUnavailable("no such file") from error

    async def ask(self, request: Request, slot: int) -> str:
        assert slot not in self._in_use, "a slot answers one at a time"
        self._in_use.add(slot)
        self.busiest = max(self.busiest, len(self._in_use))
        try:
            text = letters(request)
            new = len(text) - common(self.holds[slot], text)
            self.letters_read += new
            self.holds[slot] = text
            await asyncio.sleep(new / 1000 + 0.05)
        finally:
            self._in_use.discard(slot)
        return text

    async def _maybe(self, step: str) -> None:
        await asyncio.sleep(0.002)
        if step in self.broken:
            raise ModelUnavailable(f"{step} is broken")


async def ask_all(llama: Llama, slots: Slots, requests: list[Request]) -> list[str]:
    def give(request: Request) -> asyncio.Task[str]:
        ask = lambda slot: llama.ask(request, slot)  # noqa: E731
        return asyncio.ensure_future(slots.give(request, ask))

    return list(await asyncio.gather(*[give(one) for one in requests]))


def test_a_page_in_front_of_all_is_read_once(tmp_path: Path) -> None:
    async def main() -> tuple[Llama, Slots]:
        llama = Llama(8, tmp_path)
        slots = Slots(8, llama, tmp_path)
        requests = [chat(PAGE, f"{n}?") for n in range(24)]
        assert await ask_all(llama, slots, requests) == [letters(one) for one in requests]
        return llama, slots

    llama, slots = run(main())
    assert slots.counts == Counts(read=1, saved=1, loaded=7)
    assert llama.letters_read < len(PAGE) + 24 * 20
    assert llama.busiest == 8


def test_the_next_run_finds_it_on_disk(tmp_path: Path) -> None:
    async def main() -> Llama:
        llama = Llama(8, tmp_path)
        await ask_all(llama, Slots(8, llama, tmp_path), [chat(PAGE, f"{n}?") for n in range(9)])
        return llama

    run(main())
    llama = run(main())
    assert llama.letters_read < 9 * 20 + 60
    assert len(list(tmp_path.glob("*"))) == 1


def test_two_pages_are_read_at_once_by_two_slots(tmp_path: Path) -> None:
    async def main() -> tuple[float, Counts]:
        llama = Llama(4, tmp_path)
        slots = Slots(4, llama, tmp_path)
        pages = [chat(page, f"{n}?") for n in range(8) for page in (PAGE, OTHER)]
        await ask_all(llama, slots, pages)
        return asyncio.get_running_loop().time(), slots.counts

    took, counts = run(main())
    assert took < len(PAGE) / 1000 + 1
    assert counts.read == 2


def test_one_after_the_other_stay_on_one_slot(tmp_path: Path) -> None:
    async def main() -> tuple[int, Counts]:
        llama = Llama(4, tmp_path)
        slots = Slots(4, llama, tmp_path)
        for n in range(6):
            await ask_all(llama, slots, [chat(PAGE, f"{n}?")])
        return llama.letters_read, slots.counts

    letters_read, counts = run(main())
    assert letters_read < 2 * len(PAGE)
    assert counts.read <= 1


def test_short_prompts_are_left_alone(tmp_path: Path) -> None:
    async def main() -> tuple[int, Counts]:
        llama = Llama(4, tmp_path)
        slots = Slots(4, llama, tmp_path)
        await ask_all(llama, slots, [chat("Be kind.", f"{n}?") for n in range(20)])
        return llama.busiest, slots.counts

    assert run(main()) == (4, Counts())


@pytest.mark.parametrize("step", ["rendered", "read", "save", "load"])
def test_a_server_that_cannot_is_asked_all_the_same(tmp_path: Path, step: str) -> None:
    async def main() -> int:
        llama = Llama(4, tmp_path, frozenset({step}))
        slots = Slots(4, llama, tmp_path)
        requests = [chat(PAGE, f"{n}?") for n in range(12)]
        assert await ask_all(llama, slots, requests) == [letters(one) for one in requests]
        return llama.busiest

    assert run(main()) == 4


def test_the_oldest_states_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> int:
        llama = Llama(2, tmp_path)
        slots = Slots(2, llama, tmp_path)
        for page in (PAGE, OTHER, PAGE[::-1]):
            await ask_all(llama, slots, [chat(page, f"{n}?") for n in range(3)])
        return len(list(tmp_path.iterdir()))

    monkeypatch.setattr("trueup.models.slots.LARGEST", 2.5 * len(PAGE))
    assert run(main()) == 2


def test_who_leaves_takes_no_slot(tmp_path: Path) -> None:
    async def main() -> list[str]:
        llama = Llama(2, tmp_path)
        slots = Slots(2, llama, tmp_path)

        def give(request: Request) -> asyncio.Task[str]:
            return asyncio.ensure_future(slots.give(request, lambda s: llama.ask(request, s)))

        tasks = [give(chat(PAGE, f"{n}?")) for n in range(10)]
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await ask_all(llama, slots, [chat(PAGE, "a"), chat(PAGE, "b"), chat(PAGE, "c")])

    assert len(run(main())) == 3


def test_who_leaves_as_it_is_given_a_slot_leaves_the_page_to_others(tmp_path: Path) -> None:
    async def main() -> tuple[bool, list[str], Counts]:
        llama = Llama(2, tmp_path)
        slots = Slots(2, llama, tmp_path)
        first, other = chat(PAGE, "0?"), chat(PAGE, "1?")
        leaving = asyncio.ensure_future(slots.give(first, lambda s: llama.ask(first, s)))
        others = asyncio.ensure_future(ask_all(llama, slots, [other]))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(GATHERING, leaving.cancel)
        texts = await others
        return leaving.cancelled(), texts == [letters(other)], slots.counts

    assert run(main()) == (True, True, Counts(read=1, saved=1))


BEGINNINGS = st.sampled_from(["", PAGE, OTHER, PAGE + OTHER, PAGE + PAGE[::-1]])


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(st.tuples(BEGINNINGS, st.integers(0, 30), st.floats(0, 3)), max_size=40),
    count=st.integers(1, 5),
    broken=st.sets(st.sampled_from(["rendered", "read", "save", "load"])),
)
def test_whatever_is_asked_everybody_is_answered(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[str, int, float]],
    count: int,
    broken: set[str],
) -> None:
    folder = tmp_path_factory.mktemp("states")

    async def main() -> None:
        llama = Llama(count, folder, frozenset(broken))
        slots = Slots(count, llama, folder)

        async def later(request: Request, seconds: float) -> str:
            await asyncio.sleep(seconds)
            return await slots.give(request, lambda slot: llama.ask(request, slot))

        requests = [(chat(page, f"{n}"), seconds) for page, n, seconds in asked]
        found = await asyncio.gather(*(later(*one) for one in requests))
        assert found == [letters(one) for one, _ in requests]

    run(main())


@given(st.text(alphabet="ab", max_size=40), st.text(alphabet="ab", max_size=40))
def test_how_much_two_texts_have_in_common(one: str, other: str) -> None:
    length = common(one, other)
    assert one[:length] == other[:length]
    assert one[length : length + 1] != other[length : length + 1] or length in (
        len(one),
        len(other),
    )


def test_a_longer_beginning_needs_more_who_share_it() -> None:
    prefixes = Prefixes()
    found = [prefixes.met(chat(PAGE, f"{n}")) for n in range(2)]
    found += [prefixes.met(chat(PAGE, OTHER + f"{n}")) for n in range(3)]
    lengths = [None if one is None else len(one.text) for one in found]
    first = len(letters(chat(PAGE, "")))
    assert lengths == [None, first, first, first, first + len(OTHER)]
