"""A proxy that breaks what it passes on, in every way a server or the way to it may break.

    async with FaultProxy(server.url, rate=0.3, seed=1) as proxy:
        model = Endpoint(proxy.url, "m")
        ...
    proxy.whole["..."], proxy.faults, proxy.calls

What happens to a request is drawn from the seed, its body and how often it was asked before: the
order of arrival changes nothing. Every fault can be survived by asking again; some answers are
whole and only look strange (a wrong content type, no usage, sent slowly), and those count as given.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

import aiohttp
from aiohttp import web

Data = dict[str, Any]
Break = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


def _status(code: int, headers: dict[str, str] | None = None) -> Break:
    async def fault(request: web.Request, answer: bytes) -> web.StreamResponse:
        return web.json_response({"error": {"message": "try later"}}, status=code, headers=headers)

    return fault


def _body(change: Callable[[bytes], bytes], content_type: str = "application/json") -> Break:
    async def fault(request: web.Request, answer: bytes) -> web.StreamResponse:
        return web.Response(body=change(answer), content_type=content_type)

    return fault


def _json(change: Callable[[Data], None]) -> Break:
    def changed(answer: bytes) -> bytes:
        data = json.loads(answer)
        change(data)
        return json.dumps(data).encode()  # NaN is written as it is

    return _body(changed)


async def _hang(request: web.Request, answer: bytes) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def _reset(request: web.Request, answer: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(answer))})
    await response.prepare(request)
    await response.write(answer[: len(answer) // 2])
    assert request.transport is not None
    request.transport.abort()
    return response


async def _trickle(request: web.Request, answer: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(answer))})
    await response.prepare(request)
    with suppress(ConnectionResetError):  # the client may have lost patience
        for start in range(0, len(answer), 64):
            await response.write(answer[start : start + 64])
            await asyncio.sleep(0.001)
        await response.write_eof()
    return response


def _cut(finish: str) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for choice in data["choices"]:
            choice["finish_reason"] = finish
            text = choice.get("message", choice).get("content", choice.get("text", ""))
            half = text[: len(text) // 3]
            if "message" in choice:
                choice["message"]["content"] = half
            else:
                choice["text"] = half

    return change


def _nan(data: Data) -> None:
    for choice in data["choices"]:
        for token in (choice.get("logprobs") or {}).get("content", ()):
            token["logprob"] = float("nan")
            for other in token["top_logprobs"]:
                other["logprob"] = float("nan")


_LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"

FAULTS: dict[str, Break] = {
    "429": _status(429),
    "429 by a wrong clock": _status(429, {"Retry-After": _LONG_AGO, "Date": _LONG_AGO}),
    "429 with Retry-After": _status(429, {"Retry-After": "0.01"}),
    "500": _status(500),
    "502": _status(502),
    "503": _status(503, {"Retry-After": "0"}),
    "hang": _hang,
    "reset in the middle": _reset,
    "truncated": _body(lambda answer: answer[: len(answer) // 2]),
    "twice": _body(lambda answer: answer + answer),
    "empty choices": _json(lambda data: data.update(choices=[])),
    "ended for its length": _json(_cut("length")),
    "ended by a filter": _json(_cut("content_filter")),
    "NaN": _json(_nan),
}
"""What has to be asked again."""

STRANGE: dict[str, Break] = {
    "trickle": _trickle,
    "wrong content type": _body(lambda answer: answer, "text/html"),
    "no usage": _json(lambda data: data.pop("usage", None)),
}
"""Whole answers that look strange."""


@contextmanager
def jumping_clock(seed: int) -> Iterator[None]:
    """This machine's time of day is up to a day wrong, otherwise at every look."""
    chance, now = random.Random(seed), time.time
    with patch("time.time", lambda: now() + chance.uniform(-86_400, 86_400)):
        yield


class FaultProxy:
    """Passes requests on to `upstream` and breaks a share of the answers."""

    def __init__(self, upstream: str, *, rate: float, seed: int = 0) -> None:
        self.rate = rate
        self.calls = 0
        """Requests that came."""
        self.faults: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        """Whole answers by the request's body."""
        self._upstream = upstream
        self._seed = seed
        self._asked: Counter[str] = Counter()

    async def __aenter__(self) -> FaultProxy:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        async with self._session.request(
            request.method, f"{self._upstream}{request.path_qs}", data=body or None
        ) as passed:
            answer, status = await passed.read(), passed.status
        if request.method != "POST" or status != 200:
            return web.Response(body=answer, status=status, content_type="application/json")
        self.calls += 1
        name = hashlib.sha256(body).hexdigest()
        broken = self._drawn(name, body)
        if broken is None or broken in STRANGE:
            self.whole[name] += 1
        if broken is None:
            return web.Response(body=answer, content_type="application/json")
        self.faults[broken] += 1
        return await (FAULTS | STRANGE)[broken](request, answer)

    def _drawn(self, name: str, body: bytes) -> str | None:
        chance = random.Random(f"{self._seed} {self._asked[name]} {name}")
        self._asked[name] += 1
        if chance.random() >= self.rate:
            return None
        names = [*FAULTS, *STRANGE]
        if b'"logprobs"' not in body:
            names.remove("NaN")
        return chance.choice(names)
