"""An OpenAI-compatible server on loopback that does as it is told, faults included.

    async with FakeServer() as server:
        server.next(status(429, "slow down", {"Retry-After": "0"}), reset)
        server.refuses(lambda body: "seed" in body, 400, "Unknown argument: seed")
        server.write = lambda body, place: f"reply {place}"
        ...
        server.bodies("/v1/chat/completions")

Faults given to `next` are used up one a request, whichever comes; rules given to `refuses` stay.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    query: str
    body: Body | None
    headers: Mapping[str, str]
    at: float
    """Seconds of the event loop's clock."""


@dataclass(frozen=True)
class Refusal:
    when: Callable[[Body], bool]
    status: int
    answer: object


def status(code: int, text: str = "", headers: Mapping[str, str] | None = None) -> Fault:
    async def fault(request: web.Request) -> web.StreamResponse:
        error = {"error": {"message": text, "type": "test", "code": None}}
        return web.json_response(error, status=code, headers=headers)

    return fault


def says(raw: str | bytes, content_type: str = "application/json", code: int = 200) -> Fault:
    async def fault(request: web.Request) -> web.StreamResponse:
        body = raw.encode() if isinstance(raw, str) else raw
        return web.Response(body=body, content_type=content_type, status=code)

    return fault


async def reset(request: web.Request) -> web.StreamResponse:
    """Cut the connection before any answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def truncated(request: web.Request) -> web.StreamResponse:
    """Promise more bytes than come, then cut the connection."""
    answer = web.StreamResponse(headers={"Content-Length": "1000"})
    await answer.prepare(request)
    await answer.write(b'{"choices": [{"mess')
    assert request.transport is not None
    request.transport.close()
    return answer


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


class FakeServer:
    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.seen: list[Seen] = []
        self.models: list[Body] | None = [{"id": "fake"}]
        self.write: Callable[[Body, int], str] = _echo
        self.usage: Body | None = {"prompt_tokens": 7, "completion_tokens": 3}
        self.draws_n = True
        self.logprobs: Callable[[Body], object] = _logprobs
        self.finish: object = "stop"
        self.extra: Body = {}
        self.key: str | None = None
        self.delay = 0.0
        self.busiest = 0
        self._busy = 0
        self._faults: deque[Fault] = deque()
        self._refusals: list[Refusal] = []

    def next(self, *faults: Fault) -> None:
        self._faults.extend(faults)

    def refuses(self, when: Callable[[Body], bool], code: int, answer: object) -> None:
        told = {"error": {"message": answer}} if isinstance(answer, str) else answer
        self._refusals.append(Refusal(when, code, told))

    def bodies(self, path: str = "/v1/chat/completions") -> list[Body]:
        return [one.body for one in self.seen if one.path == path and one.body is not None]

    async def __aenter__(self) -> FakeServer:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        now, headers = asyncio.get_running_loop().time(), dict(request.headers)
        self.seen.append(
            Seen(request.method, request.path, request.query_string, body, headers, now)
        )
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        try:
            await asyncio.sleep(self.delay)
            if self._faults:
                return await self._faults.popleft()(request)
            return self._answer(request, body)
        finally:
            self._busy -= 1

    def _answer(self, request: web.Request, body: Body | None) -> web.Response:
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            wrong = f"Incorrect API key provided: {request.headers.get('Authorization')}"
            return web.json_response({"error": {"message": wrong}}, status=401)
        if request.path == "/v1/models" and self.models is not None:
            return web.json_response({"object": "list", "data": self.models})
        for rule in self._refusals:
            if body is not None and rule.when(body):
                return web.json_response(rule.answer, status=rule.status)
        if body is not None and request.path == "/v1/embeddings":
            rows = [{"index": i, "embedding": [3.0, 4.0 * i]} for i in range(len(body["input"]))]
            return web.json_response({"data": rows[::-1]})
        if body is not None and request.path in ("/v1/chat/completions", "/v1/completions"):
            return web.json_response(self._completion(body, chat="messages" in body))
        return web.json_response({"error": {"message": "Not Found"}}, status=404)

    def _completion(self, body: Body, *, chat: bool) -> Body:
        choices = []
        for place in range(body.get("n", 1) if self.draws_n else 1):
            text = self.write(body, place)
            said: Body = {"message": {"role": "assistant", "content": text}}
            choice: Body = {"index": place, "finish_reason": self.finish}
            choice |= said if chat else {"text": text}
            if body.get("logprobs"):
                choice["logprobs"] = self.logprobs(body)
            choices.append(choice)
        usage = {} if self.usage is None else {"usage": self.usage}
        return {"choices": choices} | usage | self.extra


def _echo(body: Body, place: int) -> str:
    said = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    return f"{said}!" if place == 0 else f"{said}! ({place})"


def _logprobs(body: Body) -> object:
    top = [{"token": "hi", "logprob": -0.5}, {"token": "yo", "logprob": -1.5}]
    return {"content": [{"token": "hi", "logprob": -0.5, "top_logprobs": top}]}
