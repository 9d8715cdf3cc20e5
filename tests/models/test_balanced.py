"""Several servers as one model, in virtual time: who is asked, who is left out, who comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trueup.errors import ModelRefused, ModelUnavailable, SettingsError
from trueup.models.balanced import LONGEST_REST, LOOK, SLOWEST, Balanced, balanced
from trueup.models.pace import Pace
from trueup.models.patience import Patience
from trueup.types import Choice, Message, Reply, Request, Sampling

from .fake_server import FakeServer
from .virtual import run

LONG = 7
"""The seed of a reply that takes a minute and a half, among others that take a second."""


class Server:
    """Takes `seconds` for a reply, `at_once` at a time; fails while it is `down`."""

    quirks = ()

    def __init__(self, name: str, seconds: float = 1.0, at_once: int = 8) -> None:
        self.identity = name
        self.seconds = seconds
        self.places = asyncio.Semaphore(at_once)
        self.pace = Pace(at_once, steady=True)
        self.down = self.hangs = False
        self.asked = self.answered = self.checks = 0

    async def reply(self, request: Request) -> Reply:
        async with self.pace.turn():
            self.asked += 1
            if self.hangs:
                await asyncio.sleep(10**6)
            if self.down:
                await asyncio.sleep(0.1)
                raise ModelUnavailable(f"{self.identity} is down")
            await asyncio.sleep(90 if request.sampling.seed == LONG else self.seconds)
            self.answered += 1
            return Reply((Choice(str(request.prompt)),))

    async def embed(self, texts: Sequence[str]) -> Any:
        return np.ones((len(texts), 1), dtype=np.float32)

    async def check(self) -> None:
        self.checks += 1
        if self.hangs and not self.down:
            await asyncio.sleep(10**6)
        if self.down:
            raise ModelUnavailable(f"{self.identity} is down")

    async def close(self) -> None:
        pass


def of(*servers: Server, **settings: Any) -> Balanced:
    return Balanced([(one, one.pace) for one in servers], **settings)


async def replies(model: Balanced, count: int) -> list[str]:
    found = await asyncio.gather(*(model.reply(Request(f"{i}")) for i in range(count)))
    return [one.text for one in found]


def test_every_server_is_given_what_it_can_do() -> None:
    async def main() -> tuple[bool, float, list[int]]:
        fast, slow, wide = Server("fast", 0.5), Server("slow", 2.0), Server("wide", 0.5, 32)
        model = of(fast, slow, wide)
        texts = await replies(model, 1000)
        took = asyncio.get_running_loop().time()
        right = texts == [str(i) for i in range(1000)]
        return right, took, [one.answered for one in (fast, slow, wide)]

    right, took, shares = run(main())
    assert right and sum(shares) == 1000
    assert took < 1.2 * 1000 / (16 + 4 + 64)
    assert shares[2] > 3 * shares[0] > 9 * shares[1]


def test_a_dead_server_is_left_out_and_comes_back() -> None:
    async def main() -> list[Any]:
        one, other = Server("one"), Server("other")
        model = of(one, other)
        other.down = True
        seen: list[Any] = [await replies(model, 40) == [str(i) for i in range(40)]]
        seen.append((model.left_out, other.answered))
        wasted = other.asked
        await replies(model, 40)
        seen.append(other.asked == wasted)
        other.down = False
        await asyncio.sleep(LONGEST_REST)
        seen.append(model.left_out)
        await replies(model, 80)
        seen.append(other.answered > 20)
        await model.close()
        return seen

    assert run(main()) == [True, (("other",), 0), True, (), True]


def test_one_failure_leaves_nobody_out() -> None:
    async def main() -> tuple[str, tuple[str, ...]]:
        one, other = Server("one"), Server("other")
        model = of(one, other)
        one.down = True
        asking = asyncio.create_task(model.reply(Request("hi")))
        await asyncio.sleep(0.15)
        one.down = False
        return (await asking).text, model.left_out

    assert run(main()) == ("hi", ())


def test_a_hanging_server_loses_its_requests_to_the_others() -> None:
    async def main() -> tuple[list[str], tuple[str, ...], bool]:
        one, other = Server("one"), Server("other")
        model = of(one, other)
        await replies(model, 32)
        other.hangs = True
        texts = await replies(model, 32)
        took = asyncio.get_running_loop().time()
        left = model.left_out
        await model.close()
        return texts, left, took < 1 + SLOWEST + LOOK + 5

    assert run(main()) == ([str(i) for i in range(32)], ("other",), True)


def test_a_long_reply_is_paid_once_and_leaves_nobody_out() -> None:
    async def main() -> tuple[int, float, tuple[str, ...]]:
        one, other = Server("one"), Server("other")
        model = of(one, other)
        await replies(model, 16)
        began = asyncio.get_running_loop().time()
        long = Request("0", Sampling(seed=LONG))
        await asyncio.gather(*(model.reply(long) for _ in range(9)))
        took = asyncio.get_running_loop().time() - began
        return one.asked + other.asked, took, model.left_out

    assert run(main()) == (16 + 9, 90, ())


def test_how_long_is_too_long_depends_on_what_is_asked() -> None:
    async def main() -> float:
        one, other = Server("one", at_once=1), Server("other", at_once=1)
        model = of(one, other)
        long = Request("0", Sampling(seed=LONG, max_tokens=2048))
        await asyncio.gather(model.reply(long), model.reply(long))
        await replies(model, 4)
        one.hangs = True
        began = asyncio.get_running_loop().time()
        await replies(model, 2)
        took = asyncio.get_running_loop().time() - began
        await model.close()
        return took

    assert run(main()) < SLOWEST + LOOK + 4


def test_when_all_are_gone_they_are_waited_for() -> None:
    async def main() -> tuple[list[str], tuple[str, ...]]:
        one, other = Server("one"), Server("other")
        model = of(one, other)
        one.down = other.down = True
        asking = [asyncio.create_task(replies(model, 1)) for _ in range(6)]
        late = asyncio.create_task(replies(model, 3))
        await asyncio.sleep(20)
        one.down = other.down = False
        found = await asyncio.gather(*asking, late)
        await asyncio.sleep(LONGEST_REST)
        return [text for texts in found for text in texts], model.left_out

    assert run(main()) == (["0"] * 6 + ["0", "1", "2"], ())


def test_when_all_stay_gone_it_is_said() -> None:
    async def main() -> str:
        one, other = Server("one"), Server("other")
        model = of(one, other, patience=Patience(seconds=100))
        one.down = other.down = True
        found = await asyncio.gather(
            *(model.reply(Request(f"{i}")) for i in range(8)), return_exceptions=True
        )
        assert all(isinstance(error, ModelUnavailable) for error in found)
        await model.close()
        return str(found[-1])

    assert "None of the 2 servers of one|other has answered for 100 seconds" in run(main())


def test_a_refusal_is_no_failure_of_the_server() -> None:
    async def main() -> tuple[str, ...]:
        one, other = Server("one"), Server("other")

        async def refuse(request: Request) -> Reply:
            raise ModelRefused("too long")

        one.reply = other.reply = refuse  # type: ignore[method-assign]
        model = of(one, other)
        for _ in range(4):
            with pytest.raises(ModelRefused, match="too long"):
                await model.reply(Request("hi"))
        return model.left_out

    assert run(main()) == ()


def test_who_stops_waiting_keeps_no_place() -> None:
    async def main() -> int:
        server = Server("one", at_once=1)
        model = of(server)
        asking = [asyncio.create_task(model.reply(Request("x"))) for _ in range(9)]
        await asyncio.sleep(0.5)
        for task in asking[1:]:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await replies(model, 3)
        return server.answered

    assert run(main()) == 4


def test_one_that_is_there_is_enough_to_begin() -> None:
    async def main() -> tuple[str, ...]:
        one, other = Server("one"), Server("other")
        model = of(one, other)
        other.down = True
        await model.check()
        left = model.left_out
        one.down = True
        with pytest.raises(ModelUnavailable, match="one is down"):
            await model.check()
        await model.close()
        return left

    assert run(main()) == ("other",)


async def test_over_http_each_with_its_key_and_one_identity() -> None:
    async with FakeServer() as one, FakeServer() as other:
        urls = [one.url, other.url]
        model = balanced(urls, "fake", api_keys=["a", "b"], concurrency=4)
        again = balanced(urls[::-1], "fake")
        one.delay = other.delay = 0.01
        asked = [Request((Message("user", f"{i}"),)) for i in range(20)]
        found = await asyncio.gather(*(model.reply(request) for request in asked))
        await model.close()
        assert [reply.text for reply in found] == [f"{i}!" for i in range(20)]
        assert model.identity == again.identity and one.url in model.identity
        keys = [{seen.headers["Authorization"] for seen in server.seen} for server in (one, other)]
        assert keys == [{"Bearer a"}, {"Bearer b"}]


@pytest.mark.parametrize("ending", ["content_filter", "length"])
async def test_a_reply_that_a_server_cuts_every_time_leaves_nobody_out(ending: str) -> None:
    """Filters are deterministic: one such query took down servers that were all well."""
    async with FakeServer() as one, FakeServer() as other:
        one.finish = other.finish = ending
        model = balanced([one.url, other.url], "fake")
        asked = [Request((Message("user", f"{i}"),)) for i in range(4)]
        found = await asyncio.gather(*(model.reply(request) for request in asked))
        assert [reply.text for reply in found] == [f"{i}!" for i in range(4)]
        assert (len(one.seen) + len(other.seen), model.left_out) == (4 * 3, ())
        await model.close()


def test_no_server_is_refused() -> None:
    with pytest.raises(SettingsError, match="No server was given"):
        Balanced([])
