from __future__ import annotations

import asyncio
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.errors import BudgetSpent, ModelError, SettingsError
from trueup.models.budgeted import Budget, Budgeted, Left, Price, Spent
from trueup.models.model import Model
from trueup.models.remembered import Remembered
from trueup.models.scripted import Scripted
from trueup.store.calls import Calls
from trueup.types import Choice, Message, Reply, Request, Sampling, Usage

FREE = Price(0, 0)
REPLY = Reply((Choice("Yes."),), Usage(70, 30, 50), 0.1)


def ask(number: int) -> Request:
    return Request("Is it?", Sampling(seed=number))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def until_spent(model: Model, first: int = 0) -> int:
    """How many calls, one after another, go out."""
    number = first
    try:
        while number < first + 1000:
            await model.reply(ask(number))
            number += 1
    except BudgetSpent:
        pass
    return number - first


# ---------------------------------------------------------------------- calls


@given(limit=st.integers(0, 30), wanted=st.integers(0, 60), shares=st.integers(1, 3))
def test_exactly_the_limit_goes_out_however_many_ask_at_once(
    limit: int, wanted: int, shares: int
) -> None:
    async def run() -> None:
        budget = Budget(calls=limit)
        scripted = Scripted(lambda request: REPLY, delay=1e-5)
        models = [Budgeted(scripted, budget) for _ in range(shares)]
        results = await asyncio.gather(
            *(models[number % shares].reply(ask(number)) for number in range(wanted)),
            return_exceptions=True,
        )
        out = min(limit, wanted)
        assert results[:out] == [REPLY] * out
        assert all(isinstance(one, BudgetSpent) for one in results[out:])
        assert len(scripted.requests) == budget.spent.calls == out
        assert budget.left() == Left(limit - out, None, None, None)

    asyncio.run(run())


async def test_the_same_request_counts_once() -> None:
    budget = Budget(calls=2)
    model = Budgeted(Scripted(lambda request: REPLY), budget)
    await asyncio.gather(*(model.reply(ask(number % 2)) for number in range(10)))
    assert await model.reply(ask(0)) == REPLY
    assert (budget.spent.calls, budget.spent.tokens) == (2, 200)
    with pytest.raises(BudgetSpent):
        await model.reply(ask(2))


async def test_what_is_under_way_is_told_apart_from_what_is_answered() -> None:
    """Time left is judged by the answered: at the end dozens are begun and none is to follow."""
    budget, gate = Budget(calls=3), asyncio.Event()

    class Waiting(Scripted):
        async def reply(self, request: Request) -> Reply:
            await gate.wait()
            return REPLY

    model = Budgeted(Waiting([]), budget)
    asked = [asyncio.create_task(model.reply(ask(number // 2))) for number in range(6)]
    await asyncio.sleep(0)
    assert (budget.spent.calls, budget.under_way) == (3, 3)
    with pytest.raises(BudgetSpent, match=r"after 3 calls \(3 under way\), 0 tokens"):
        budget.check()
    gate.set()
    await asyncio.gather(*asked)
    assert (budget.spent.calls, budget.under_way) == (3, 0)


async def test_a_replayed_call_counts_like_a_paid_one(tmp_path: Path) -> None:
    scripted = Scripted(lambda request: REPLY, price=Price(100, 100))
    for limit in (5, 5, 8):
        with Calls(tmp_path / "calls.sqlite") as calls:
            budget = Budget(calls=limit)
            model = Budgeted(Remembered(scripted, calls, "policy"), budget)
            assert model.price == Price(100, 100)
            assert await until_spent(model) == limit
            assert budget.spent.usd == pytest.approx(limit * 0.01)
    assert len(scripted.requests) == 8


async def test_what_is_stored_is_counted_and_never_refused(tmp_path: Path) -> None:
    """Asked one after another, four replies pass a limit that they did not pass at once."""
    scripted = Scripted(lambda request: REPLY, delay=1e-3)
    with Calls(tmp_path / "calls.sqlite") as calls:
        for _ in range(2):
            budget, whole = Budget(tokens=250), Budget()
            stored = Remembered(scripted, calls, "policy")
            model = Budgeted(Budgeted(stored, whole), budget)
            if not scripted.requests:
                await asyncio.gather(*(model.reply(ask(number)) for number in range(4)))
            assert [await model.reply(ask(number)) for number in range(4)] == [REPLY] * 4
            assert (budget.spent.calls, budget.spent.tokens) == (4, 400)
            assert (whole.spent.calls, whole.spent.tokens) == (4, 400)
            with pytest.raises(BudgetSpent):
                await model.reply(ask(4))
    assert len(scripted.requests) == 4


@given(stored=st.sets(st.integers(0, 7)), limit=st.integers(1, 1000))
@settings(max_examples=20, deadline=None)
def test_what_is_asked_at_once_is_let_out_whatever_of_it_is_stored(
    stored: set[int], limit: int
) -> None:
    async def run() -> None:
        with TemporaryDirectory() as folder, Calls(Path(folder) / "calls.sqlite") as calls:
            scripted = Scripted(lambda request: REPLY)
            remembered = Remembered(scripted, calls, "policy")
            await asyncio.gather(*(remembered.reply(ask(number)) for number in stored))
            model = Budgeted(remembered, Budget(tokens=limit))
            asked = (model.reply(ask(number)) for number in range(8))
            assert await asyncio.gather(*asked) == [REPLY] * 8

    asyncio.run(run())


async def test_vectors_that_are_stored_are_not_refused(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        stored = Remembered(Scripted([]), calls, "embedder")
        await stored.embed(["a", "b"])
        model = Budgeted(Budgeted(stored, Budget(calls=0)), Budget(tokens=0))
        assert (await model.embed(["a", "b"])).shape == (2, 256)
        with pytest.raises(BudgetSpent):
            await model.embed(["a", "c"])


async def test_a_closed_budget_lets_out_only_what_is_stored(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        budget = Budget(calls=9)
        model = Budgeted(Remembered(Scripted(lambda _: REPLY), calls, "policy"), budget)
        await Remembered(Scripted(lambda _: REPLY), calls, "policy").reply(ask(0))
        budget.close("Enough.")
        assert await model.reply(ask(0)) == REPLY
        with pytest.raises(BudgetSpent, match="Enough"):
            await model.reply(ask(1))
        assert (budget.spent.calls, budget.spent.tokens) == (1, 100)


async def test_a_call_that_failed_is_given_back() -> None:
    fails = {0, 1, 2}

    def script(request: Request) -> Reply:
        if request.sampling.seed in fails:
            raise ModelError("overloaded")
        return REPLY

    budget = Budget(calls=1)
    model = Budgeted(Scripted(script), budget)
    for number in sorted(fails):
        with pytest.raises(ModelError):
            await model.reply(ask(number))
    assert (budget.spent.calls, budget.spent.tokens) == (0, 0)
    assert await model.reply(ask(9)) == REPLY
    assert (budget.spent.calls, budget.spent.tokens) == (1, 100)


async def test_of_two_who_wait_for_one_call_both_must_fail_for_it_to_be_given_back() -> None:
    budget = Budget(calls=1)
    answers = iter([ModelError("first fails"), REPLY])

    async def script(request: Request) -> Reply:
        answer = next(answers)
        await asyncio.sleep(0.001 if isinstance(answer, ModelError) else 0.01)
        if isinstance(answer, ModelError):
            raise answer
        return answer

    model = Budgeted(Scripted(script), budget)
    first, second = (asyncio.create_task(model.reply(ask(0))) for _ in range(2))
    with pytest.raises(ModelError):
        await first
    with pytest.raises(BudgetSpent):
        await model.reply(ask(1))
    assert await second == REPLY
    assert (budget.spent.calls, budget.spent.tokens) == (1, 100)


async def test_a_call_whose_caller_gave_up_stays_counted() -> None:
    budget = Budget(calls=1)
    model = Budgeted(Scripted(lambda request: REPLY, delay=0.01), budget)
    task = asyncio.create_task(model.reply(ask(0)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(BudgetSpent):
        await model.reply(ask(1))
    # Its answer is counted when it is seen, once.
    for _ in range(2):
        assert await model.reply(ask(0)) == REPLY
    assert (budget.spent.calls, budget.spent.tokens) == (1, 100)


# ---------------------------------------------------------------------- tokens, money, time


@given(limit=st.integers(0, 3000), at_once=st.integers(1, 8))
def test_tokens_are_passed_by_no_more_than_what_was_in_flight(limit: int, at_once: int) -> None:
    async def run() -> None:
        budget = Budget(tokens=limit)
        model = Budgeted(Scripted(lambda request: REPLY, delay=1e-5), budget)
        workers = (until_spent(model, first=1000 * worker) for worker in range(at_once))
        await asyncio.gather(*workers)
        assert limit <= budget.spent.tokens < limit + at_once * 100 + (limit == 0)
        assert budget.left().tokens == 0

    asyncio.run(run())


async def test_money_is_counted_by_the_price() -> None:
    budget = Budget(usd=0.05)
    price = Price(usd_per_million_in=100, usd_per_million_out=200)
    model = Budgeted(Scripted(lambda request: REPLY, price=price), budget)
    # 70 in at 100 and 30 out at 200 are 0.013 a call.
    assert await until_spent(model) == 4
    assert budget.spent.usd == pytest.approx(0.052)
    assert budget.left().usd == 0


@pytest.mark.parametrize(
    ("told", "tokens", "usd"),
    [(Usage(70, 30), 100, 0.013), (Usage(), 23, 0.0025), (Usage(tokens_in=70), 72, 0.0074)],
)
async def test_what_a_server_does_not_tell_is_counted_by_its_letters(
    tmp_path: Path, told: Usage, tokens: int, usd: float
) -> None:
    request = Request((Message("system", "x" * 50), Message("user", "y" * 53)))
    reply = Reply((Choice("12345678"),), told)
    with Calls(tmp_path / "calls.sqlite") as calls:
        for _ in range(2):  # the second time out of the store
            budget = Budget(tokens=1000)
            scripted = Scripted(lambda request: reply, price=Price(100, 200))
            model = Budgeted(Remembered(scripted, calls, "policy"), budget)
            assert (await model.reply(request)).usage == told
            assert (budget.spent.tokens, budget.spent.usd) == (tokens, pytest.approx(usd))
        assert calls.ledger().file["policy"].tokens_in == told.tokens_in


async def test_a_limit_is_reached_though_usage_is_never_told() -> None:
    silent = Reply((Choice("z" * 500),))
    assert await until_spent(Budgeted(Scripted(lambda request: silent), Budget(tokens=1000))) == 10


def test_money_needs_a_price() -> None:
    with pytest.raises(SettingsError, match=r"budget of 2\.0 usd, but the price of gpt is not"):
        Budgeted(Scripted([], identity="gpt"), Budget(usd=2.0))
    assert Budgeted(Scripted([], price=FREE), Budget(usd=2.0)).price is FREE
    assert Budgeted(Scripted([]), Budget(calls=2)).price is None


async def test_time_runs_from_the_budget_and_stops_embeddings_too() -> None:
    clock = Clock()
    budget = Budget(minutes=2, clock=clock)
    model = Budgeted(Scripted(lambda request: REPLY), budget)
    clock.now += 90
    assert await model.reply(ask(0)) == REPLY
    assert (await model.embed(["a", "b"])).shape == (2, 256)
    assert budget.left().minutes == pytest.approx(0.5)
    clock.now += 31
    with pytest.raises(BudgetSpent, match="budget of 2 minutes"):
        await model.reply(ask(1))
    with pytest.raises(BudgetSpent):
        await model.embed(["a"])
    assert budget.left().minutes == 0
    # What was counted may be had again.
    assert await model.reply(ask(0)) == REPLY


async def test_the_message_says_which_limit_what_was_spent_and_what_to_do() -> None:
    clock = Clock()
    budget = Budget(calls=1234, tokens=100, clock=clock)
    model = Budgeted(Scripted(lambda request: REPLY, price=Price(100, 100)), budget)
    await model.reply(ask(0))
    clock.now += 90
    with pytest.raises(BudgetSpent) as caught:
        budget.check()
    assert str(caught.value) == (
        "The budget of 100 tokens is spent, after 1 calls, 100 tokens, 0.0100 usd and 1.5 minutes. "
        "Raise it with --budget-tokens and run again: what was answered is not paid twice."
    )
    assert budget.spent == Spent(1, 100, 0.01, 1.5)
    assert budget.left() == Left(1233, 0, None, None)


@pytest.mark.parametrize("name", ["calls", "tokens", "usd", "minutes"])
@pytest.mark.parametrize("limit", [-1, -0.5, math.nan])
def test_limits_that_make_no_sense(name: str, limit: float) -> None:
    with pytest.raises(SettingsError, match=f"--budget-{name}"):
        Budget(**{name: limit})  # type: ignore[arg-type]


# ---------------------------------------------------------------------- prices


@pytest.mark.parametrize("price", [(math.nan, 0), (0, -1), (math.inf, 0), (1, 1, math.nan)])
def test_prices_that_make_no_sense(price: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match=r"makes no sense.*--price"):
        Price(*price)


@given(
    usage=st.builds(Usage, *(st.integers(0, 10**9) for _ in range(3))),
    dear=st.integers(0, 1000),
    out=st.integers(0, 1000),
    cheap=st.none() | st.integers(0, 1000),
)
def test_what_a_call_costs(usage: Usage, dear: int, out: int, cheap: int | None) -> None:
    cost = Price(dear, out, cheap).usd(usage)
    cached = min(usage.cached, usage.tokens_in)
    least = min(dear, dear if cheap is None else cheap) * usage.tokens_in
    most = max(dear, dear if cheap is None else cheap) * usage.tokens_in
    assert least <= cost * 1e6 - out * usage.tokens_out + 1e-3
    assert cost * 1e6 - out * usage.tokens_out <= most + 1e-3 + most * 1e-9
    if cheap is None or not cached:
        assert cost * 1e6 == pytest.approx(dear * usage.tokens_in + out * usage.tokens_out)
