"""Answers that are hardly HTTP: what is said of them, and what is not."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from trueup.errors import ModelError, ModelRefused, ModelUnavailable
from trueup.models.endpoint import Endpoint
from trueup.models.patience import Patience
from trueup.types import Message, Request

from .fake_server import FakeServer, says, status

KEY = "sk-Planted-0f9e8d7c6b5a4938"
ASKED = Request((Message("user", "hi"),))


@asynccontextmanager
async def answering(raw: bytes, ready: bytes = b"\r\n\r\n") -> AsyncIterator[tuple[str, list[int]]]:
    """A server that sends these bytes to whoever connects: host and port, and a visit an entry."""
    visits: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(len(visits))
        await reader.readuntil(ready)
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", visits


async def failure(url: str, attempts: int = 1) -> ModelError:
    model = Endpoint(
        url, "fake", api_key=KEY, patience=Patience(attempts=attempts, first_wait=0.001)
    )
    with pytest.raises(ModelError) as caught:
        await model.reply(ASKED)
    await model.close()
    return caught.value


@pytest.mark.parametrize(
    "raw",
    [
        f"HTTQ {KEY}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nX {KEY}: \x01{KEY}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n",
        f"HTTP/1.1 302 Found\r\nLocation: http://{KEY}.test/x\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_no_traceback_quotes_a_malformed_answer(raw: str) -> None:
    async with answering(raw.encode()) as (host, _):
        shown = "".join(traceback.format_exception(await failure(f"http://{host}")))
    assert KEY.lower() not in shown.lower()


async def test_where_a_redirect_leads_is_said_on_a_short_printable_line() -> None:
    place = b"http://ev\xff\x1bil" + b"l" * 5000 + b"/x"
    raw = b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n"
    async with answering(raw) as (host, _):
        said = str(await failure(f"http://{host}"))
    assert said.isprintable() and len(said) < 300 and "redirects to " in said


async def test_a_handshake_that_breaks_off_is_tried_again() -> None:
    internal_error = b"\x15\x03\x03\x00\x02\x02\x50"
    async with answering(internal_error, ready=b"\x16") as (host, visits):
        error = await failure(f"https://{host}", attempts=3)
    assert isinstance(error, ModelUnavailable) and "after 3 attempts" in str(error)
    assert len(visits) == 3


async def test_a_novel_is_given_up_where_vectors_are_not() -> None:
    async with FakeServer() as server:
        server.next(says('{"choices": [' + "{}," * (3 * 2**20) + "{}]}"))
        assert "the answer is longer than 8 MiB" in str(await failure(server.url))
        model = Endpoint(server.url, "fake")
        blanks = " " * (9 * 2**20)
        server.next(says(f'{{"data": [{blanks}{{"index": 0, "embedding": [3.0, 4.0]}}]}}'))
        assert (await model.embed(["x"])).tolist() == [[0.6000000238418579, 0.800000011920929]]
        await model.close()


async def test_what_a_server_says_of_itself_is_said_briefly() -> None:
    async with FakeServer() as server:
        server.next(status(429, "slow down", {"Retry-After": "1e300"}))
        assert "asks for a wait of 1e+300 seconds" in str(await failure(server.url))
        server.models = [{"id": f"evil\x1b]0;owned\x07\nline of {KEY} " + "x" * 10_000}]
        model = Endpoint(server.url, "fake", api_key=KEY)
        with pytest.raises(ModelRefused) as caught:
            await model.check()
        await model.close()
    said = str(caught.value)
    assert (
        said.isprintable() and len(said) < 300 and "It offers evil ]0;owned line of [key]" in said
    )


async def test_who_waits_while_it_is_closed_is_not_asked_for_any_more() -> None:
    async with FakeServer() as server:
        server.delay = 0.2
        model = Endpoint(server.url, "fake", concurrency=1)
        asking = [asyncio.create_task(model.reply(ASKED)) for _ in range(4)]
        while not server.seen:
            await asyncio.sleep(0.01)
        await model.close()
        given_up = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(one) for one in given_up] == [ModelUnavailable] * 4
        assert len(server.seen) == 1
        assert (await model.reply(ASKED)).text
        await model.close()
