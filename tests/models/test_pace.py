"""Pace at simulated servers, in virtual time: how much is in flight, and how much gets done."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.errors import SettingsError
from trueup.models.level import Level
from trueup.models.pace import Pace

from .virtual import run


class Server:
    """Works on `at_once` requests at a time; each takes `seconds`, the others queue."""

    def __init__(self, at_once: int, seconds: float, refuses_above: int | None = None) -> None:
        self.at_once = asyncio.Semaphore(at_once)
        self.seconds = seconds
        self.refuses_above = refuses_above
        self.inside = self.busiest = self.answered = self.refused = 0

    async def ask(self) -> int:
        self.inside += 1
        self.busiest = max(self.busiest, self.inside)
        try:
            if self.refuses_above is not None and self.inside > self.refuses_above:
                await asyncio.sleep(0.01)
                self.refused += 1
                return 429
            async with self.at_once:
                await asyncio.sleep(self.seconds)
            self.answered += 1
            return 200
        finally:
            self.inside -= 1


async def flood(pace: Pace, ask: Callable[[], object], seconds: float, callers: int = 400) -> None:
    """Callers who ask again and again, for that long."""

    async def caller() -> None:
        while True:
            async with pace.turn("kind") as turn:
                status = await ask()  # type: ignore[misc]
                if status == 200:
                    turn.answered()
                if status == 429:
                    turn.refused()

    tasks = [asyncio.create_task(caller()) for _ in range(callers)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_it_doubles_until_the_limit_where_that_pays() -> None:
    async def main() -> tuple[list[int], int]:
        server, pace = Server(10_000, 1.0), Pace(200)
        levels = []
        flooding = asyncio.create_task(flood(pace, server.ask, 12))
        for _ in range(12):
            levels.append(pace.allowed)
            await asyncio.sleep(1)
        await flooding
        return levels, server.busiest

    levels, busiest = run(main())
    assert levels[:1] == [16] and levels == sorted(levels)
    assert (levels[-1], busiest) == (200, 200)


@pytest.mark.parametrize("able", [4, 16, 30, 100])
def test_it_stops_where_more_would_only_queue(able: int) -> None:
    async def main() -> tuple[int, float]:
        server, pace = Server(able, 0.5), Pace(512)
        await flood(pace, server.ask, 60, callers=600)
        before = server.answered
        await flood(pace, server.ask, 180, callers=600)
        return pace.allowed, (server.answered - before) / 180

    allowed, rate = run(main())
    assert able * 0.9 <= allowed <= max(18, 2.25 * able)
    assert rate >= 0.9 * able / 0.5


def test_a_429_halves_and_most_requests_are_taken() -> None:
    async def main() -> tuple[Server, int]:
        server, pace = Server(1000, 0.5, refuses_above=20), Pace(256)
        await flood(pace, server.ask, 120)
        return server, pace.allowed

    server, allowed = run(main())
    assert allowed <= 24
    assert server.refused < 0.1 * server.answered
    assert server.answered > 0.6 * 20 / 0.5 * 120


def test_what_was_sent_together_is_cut_for_once() -> None:
    level = Level(64)
    for _ in range(16):
        level.refused(0)
    assert (level.allowed, level.epoch) == (8, 1)


@pytest.mark.parametrize(
    "spells",
    [
        pytest.param(((0.5, 60), (3.0, 12), (0.5, 60)), id="late, and later well again"),
        pytest.param(((0.5, 60), (3.0, 9), (3.0, 30)), id="late, and a cut makes nothing faster"),
    ],
)
def test_a_server_that_answers_late_is_given_less_and_then_as_much_again(
    spells: tuple[tuple[float, int], ...],
) -> None:
    async def main() -> list[int]:
        server, pace, levels = Server(64, 0.5), Pace(64), []
        for seconds, long in spells:
            server.seconds = seconds
            await flood(pace, server.ask, long)
            levels.append(pace.allowed)
        return levels

    assert run(main()) == [64, 48, 64]


async def through(seconds: Callable[[], float], requests: int, pace: Pace) -> tuple[float, int]:
    """How long that many requests take a server with room for all, and the fewest allowed."""
    fewest = pace.allowed

    async def one() -> None:
        nonlocal fewest
        async with pace.turn("kind") as turn:
            await asyncio.sleep(seconds())
            turn.answered()
            fewest = min(fewest, pace.allowed)

    await asyncio.gather(*(one() for _ in range(requests)))
    return asyncio.get_running_loop().time(), fewest


@pytest.mark.parametrize("refusals", [0.4, 0.5, 0.6])
@pytest.mark.parametrize("seed", range(3))
def test_short_answers_among_long_ones_are_not_taken_for_load(refusals: float, seed: int) -> None:
    chance = random.Random(seed)

    def seconds() -> float:
        short = chance.random() < refusals
        return chance.gauss(0.3, 0.05) if short else max(0.5, chance.gauss(2.5, 0.6))

    took, fewest = run(through(seconds, 3000, Pace(64)))
    chance.seed(seed)
    ideal, _ = run(through(seconds, 3000, Pace(64, steady=True)))
    assert took < 1.35 * ideal and fewest == 16


@pytest.mark.parametrize("period", [0.5, 1, 2, 5, 20])
def test_what_comes_and_goes_with_somebody_elses_work_does_not_add_up(period: float) -> None:
    def seconds() -> float:
        return 0.3 if asyncio.get_running_loop().time() // period % 2 else 0.1

    took, fewest = run(through(seconds, 20_000, Pace(64)))
    ideal, _ = run(through(seconds, 20_000, Pace(64, steady=True)))
    assert took < 2.5 * ideal and fewest >= 16


def test_one_kind_of_answers_does_not_drown_what_another_says() -> None:
    async def main() -> int:
        server, pace = Server(16, 0.5), Pace(512)

        async def caller(number: int) -> None:
            while True:
                async with pace.turn(number % 2) as turn:
                    await server.ask()
                    turn.answered()

        callers = [asyncio.create_task(caller(number)) for number in range(600)]
        await asyncio.sleep(240)
        for one in callers:
            one.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        return pace.allowed

    assert 14 <= run(main()) <= 36


def test_errors_that_say_nothing_of_load_shrink_nothing() -> None:
    async def main() -> int:
        pace = Pace(64)

        async def broken() -> int:
            await asyncio.sleep(0.1)
            return 503

        await flood(pace, broken, 30)
        return pace.allowed

    assert run(main()) == 16


def test_a_level_that_nobody_fills_is_not_raised() -> None:
    async def main() -> int:
        server, pace = Server(1000, 0.1), Pace(64)
        await flood(pace, server.ask, 30, callers=16)
        return pace.allowed

    assert run(main()) == 16


def test_a_steady_pace_learns_nothing() -> None:
    async def main() -> tuple[int, int]:
        server, pace = Server(2, 0.5, refuses_above=4), Pace(8, steady=True)
        await flood(pace, server.ask, 30)
        return pace.allowed, server.busiest

    assert run(main()) == (8, 8)


def test_a_pause_is_kept_by_all_and_a_longer_one_stays() -> None:
    async def main() -> list[float]:
        pace = Pace(4)
        pace.told_to_wait(3)
        pace.told_to_wait(1)
        began = []

        async def one() -> None:
            async with pace.turn():
                began.append(asyncio.get_running_loop().time())

        await asyncio.gather(*(one() for _ in range(6)))
        return began

    assert run(main()) == [3.0] * 6


def test_who_came_first_goes_first_and_who_leaves_the_queue_takes_no_place() -> None:
    async def main() -> tuple[list[int], int, int]:
        pace, order = Pace(1), []

        async def one(number: int) -> None:
            async with pace.turn():
                order.append(number)
                await asyncio.sleep(1)

        tasks = [asyncio.create_task(one(number)) for number in range(6)]
        await asyncio.sleep(0.5)
        tasks[2].cancel()
        tasks[0].cancel()
        await asyncio.sleep(0)
        tasks[1].cancel()  # it has just been given the place
        await asyncio.gather(*tasks, return_exceptions=True)
        return order, pace.under_way, pace.waiting

    assert run(main()) == ([0, 3, 4, 5], 0, 0)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="give 1 or more"):
        Pace(0)


@settings(max_examples=200)
@given(
    st.integers(1, 300),
    st.lists(
        st.tuples(
            st.sampled_from(["answered", "slow", "refused", "stale"]),
            st.sampled_from("ab"),
            st.floats(0, 100),
        ),
        max_size=400,
    ),
)
def test_a_level_is_always_from_one_to_the_limit(limit: int, events: list[tuple]) -> None:
    level = Level(limit)
    for what, kind, seconds in events:
        before = level.allowed
        if what == "refused":
            level.refused(level.epoch)
            assert level.allowed <= before
        elif what == "stale":
            level.refused(level.epoch - 1)
            level.answered(kind, level.epoch - 1, seconds, crowded=True)
            assert level.allowed == before
        else:
            level.answered(kind, level.epoch, seconds, crowded=what == "answered")
        assert 1 <= level.allowed <= limit
