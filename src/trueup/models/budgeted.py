"""A model that stops at a limit of calls, tokens, money or time, shared with others.

    budget = Budget(calls=300, usd=2.0)
    policy = Budgeted(Remembered(model, calls, "policy"), budget)
    judge = Budgeted(Remembered(model, calls, "judge"), budget)
    await policy.reply(request)          # BudgetSpent, before the call, once a limit is reached
    budget.left().calls

A call is reserved before it is made, so a limit of ten lets exactly ten out, however many ask at
once. What a call costs in tokens and money is known when it ends: those limits can be passed, by
what was under way when they were reached and no more. Where a server does not say what a call used,
the budget counts what its letters suggest, or a limit would never be reached; the ledger of the
store holds only what was said.

A reply out of a store behind the budget counts like a paid one, and no limit refuses it. So a job
that was killed and run again comes as far as it had come and has spent as much there, and of what
is asked at once it lets out the same calls, whatever of them is stored. That makes it stop where it
would have stopped, with one exception: where a limit of tokens or money is reached among calls that
wait for replies (a judge's), which of them are refused depends on which replies come first, in any
run. Whoever ends a search there writes it down, and closes the budget there when it is run again.

Several replies to one prompt are one call to a server that draws them together, and one each to a
server that does not.
The same request asked again in one process counts once. A call that failed is not counted; one
whose caller gave up waiting is, for it may well be answered.

Time is that of this process, and embeddings count as nothing, since nothing says what they used;
those that are not stored are refused once a limit is reached.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from trueup.errors import BudgetSpent, SettingsError
from trueup.models.model import Embeddings, Model
from trueup.models.several import InParts, whole
from trueup.types import Reply, Request, Usage

LETTERS_PER_TOKEN = 5
"""Measured, for English: what a token is taken to be where nothing says."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost, in US dollars per million. A model of your own costs 0 and 0."""

    usd_per_million_in: float
    usd_per_million_out: float
    usd_per_million_cached: float | None = None
    """For input tokens out of the server's cache; None where they cost as much as the others."""

    def __post_init__(self) -> None:
        """Raises `SettingsError` for what no limit could be kept with."""
        cached = self.usd_per_million_cached or 0.0
        for usd in (self.usd_per_million_in, self.usd_per_million_out, cached):
            if not 0 <= usd < math.inf:  # NaN is not, either
                raise SettingsError(
                    f"A price of {usd} makes no sense. Give USD per million tokens from 0 up, as "
                    "in --price policy=0.15,0.60."
                )

    def usd(self, usage: Usage) -> float:
        """What one call cost."""
        cached = min(usage.cached, usage.tokens_in)
        per_cached = self.usd_per_million_cached
        if per_cached is None:
            per_cached = self.usd_per_million_in
        fresh = (usage.tokens_in - cached) * self.usd_per_million_in
        return (fresh + cached * per_cached + usage.tokens_out * self.usd_per_million_out) / 1e6


def price_of(model: object) -> Price | None:
    """The model's `price`, if it has one: an optional part of being a `Model`."""
    price = getattr(model, "price", None)
    return price if isinstance(price, Price) else None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used of a budget."""

    calls: int
    """Calls that were answered or are under way."""
    tokens: int
    """Tokens in and out of the calls that were answered, like `usd`; estimated where not told."""
    usd: float
    minutes: float
    """Since the budget was made."""


@dataclass(frozen=True, slots=True)
class Left:
    """What remains of a budget, never below zero; None where there is no limit."""

    calls: int | None
    tokens: int | None
    usd: float | None
    minutes: float | None


class Budget:
    """Limits, and what was spent of them, for any number of models together."""

    def __init__(
        self,
        calls: int | None = None,
        tokens: int | None = None,
        usd: float | None = None,
        minutes: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """None is no limit. `clock` gives seconds. Raises `SettingsError` for limits below 0."""
        limits = {"calls": calls, "tokens": tokens, "usd": usd, "minutes": minutes}
        for name, limit in limits.items():
            if limit is not None and not limit >= 0:  # NaN is not, either
                raise SettingsError(
                    f"A budget of {limit} {name} makes no sense. Give a number from 0 up with "
                    f"--budget-{name}, or leave it out for no limit."
                )
        self.calls, self.tokens, self.usd, self.minutes = calls, tokens, usd, minutes
        self._clock = clock
        self._began = clock()
        self._closed: str | None = None
        self._calls = 0
        self._tokens = 0
        self._usd = 0.0
        # An address is kept as its first 64 bits: small, for there may be a great many.
        self._waiting: Counter[int] = Counter()
        self._counted: set[int] = set()
        self._abandoned: set[int] = set()

    @property
    def spent(self) -> Spent:
        """What was used so far."""
        return Spent(self._calls, self._tokens, self._usd, (self._clock() - self._began) / 60)

    @property
    def under_way(self) -> int:
        """Of the calls spent, those that are not answered yet."""
        return sum(key not in self._counted for key in self._waiting)

    def left(self) -> Left:
        """What remains."""
        spent = self.spent
        return Left(
            None if self.calls is None else max(0, self.calls - spent.calls),
            None if self.tokens is None else max(0, self.tokens - spent.tokens),
            None if self.usd is None else max(0.0, self.usd - spent.usd),
            None if self.minutes is None else max(0.0, self.minutes - spent.minutes),
        )

    def check(self) -> None:
        """Raise `BudgetSpent` if another call would be too many."""
        if self._closed is not None:
            raise BudgetSpent(self._closed)
        spent = self.spent
        for name, limit, used in (
            ("calls", self.calls, spent.calls),
            ("tokens", self.tokens, spent.tokens),
            ("usd", self.usd, spent.usd),
            ("minutes", self.minutes, spent.minutes),
        ):
            if limit is not None and used >= limit:
                waiting = self.under_way
                calls = f"{spent.calls:,} calls" + (f" ({waiting:,} under way)" if waiting else "")
                raise BudgetSpent(
                    f"The budget of {limit:,} {name} is spent, after {calls}, {spent.tokens:,} "
                    f"tokens, {spent.usd:.4f} usd and {spent.minutes:.1f} minutes. Raise it with "
                    f"--budget-{name} and run again: what was answered is not paid twice."
                )

    def reserve(self, address: str, stored: Callable[[str], bool]) -> None:
        """Count a call that is about to be made, unless it is counted.

        Raises `BudgetSpent`, but not for one whose reply is `stored`: that was paid before. It is
        asked only where a limit is reached, for a store takes longer to look than a budget.
        """
        key = _key(address)
        if key not in self._counted and key not in self._waiting:
            try:
                self.check()
            except BudgetSpent:
                if not stored(address):
                    raise
            self._calls += 1
        self._waiting[key] += 1

    def settle(self, address: str, usage: Usage, usd: float) -> None:
        """A reserved call was answered: count what it used, once."""
        key = self._leave(address)
        if key not in self._counted or key in self._abandoned:
            self._counted.add(key)
            self._abandoned.discard(key)
            self._tokens += usage.tokens_in + usage.tokens_out
            self._usd += usd

    def abandon(self, address: str) -> None:
        """A reserved call's caller gave up: it stays counted, for it may yet be answered."""
        key = self._leave(address)
        if key not in self._counted:
            self._counted.add(key)
            self._abandoned.add(key)

    def give_back(self, address: str) -> None:
        """A reserved call failed: it is not counted, unless somebody else waits for the same."""
        key = self._leave(address)
        if key not in self._counted and key not in self._waiting:
            self._calls -= 1

    def close(self, said: str) -> None:
        """Let no further call out, for this reason; those whose replies are stored count on."""
        self._closed = said

    def _leave(self, address: str) -> int:
        key = _key(address)
        self._waiting[key] -= 1
        if not self._waiting[key]:
            del self._waiting[key]
        return key


def _assumed(request: Request, reply: Reply) -> Usage:
    """What a call used: as it was told, else by the texts alone, so that it is so in any run."""
    told, prompt = reply.usage, request.prompt
    asked = [prompt] if isinstance(prompt, str) else [turn.content for turn in prompt]
    return replace(
        told,
        tokens_in=told.tokens_in or _tokens(asked),
        tokens_out=told.tokens_out or _tokens([choice.text for choice in reply.choices]),
    )


def _tokens(texts: Sequence[str]) -> int:
    return math.ceil(sum(map(len, texts)) / LETTERS_PER_TOKEN)


def _key(address: str) -> int:
    return int(address[:16], 16)


def _nothing(asked: object) -> bool:
    return False


class Budgeted:
    """A model whose calls come out of a budget."""

    def __init__(self, model: Model, budget: Budget) -> None:
        """Raises `SettingsError` for a limit on money and a model without a known price."""
        self._model = model
        self._budget = budget
        self._has: Callable[[str], bool] = getattr(model, "has", _nothing)
        self._has_part: Callable[[Request], bool] = getattr(model, "has_part", _nothing)
        self._has_vectors: Callable[[Sequence[str]], bool] = getattr(model, "has_vectors", _nothing)
        self.price = price_of(model)
        """The wrapped model's."""
        if budget.usd is not None and self.price is None:
            raise SettingsError(
                f"There is a budget of {budget.usd} usd, but the price of {model.identity} is not "
                "known. Give its price per million tokens, or limit calls or tokens instead "
                "(--budget-calls, --budget-tokens)."
            )

    @property
    def identity(self) -> str:
        return self._model.identity

    async def reply(self, request: Request) -> Reply:
        return await whole(request, self._reply, self.reply)

    async def _reply(self, request: Request) -> Reply:
        if self.has_part(request):
            raise InParts
        address = request.address(self.identity)
        self._budget.reserve(address, self._has)
        try:
            if self._budget.tokens is not None or self._budget.usd is not None:
                # A stored reply takes a turn, as one that is paid does: what is asked at once is
                # let out before the first is counted, whatever part of it is stored.
                await asyncio.sleep(0)
            reply = await self._model.reply(request)
        except asyncio.CancelledError:
            self._budget.abandon(address)
            raise
        except BaseException:
            self._budget.give_back(address)
            raise
        usage = _assumed(request, reply)
        self._budget.settle(address, usage, self.price.usd(usage) if self.price else 0.0)
        return reply

    def has(self, address: str) -> bool:
        """Whether the wrapped model has the reply in a store."""
        return self._has(address)

    def has_part(self, request: Request) -> bool:
        """Whether the wrapped model has one of several replies in a store by itself."""
        return self._has_part(request)

    def has_vectors(self, texts: Sequence[str]) -> bool:
        """Whether the wrapped model has the vectors of all these texts in a store."""
        return self._has_vectors(texts)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        try:
            self._budget.check()
        except BudgetSpent:
            if not self.has_vectors(texts):
                raise
        return await self._model.embed(texts)

    async def close(self) -> None:
        await self._model.close()
