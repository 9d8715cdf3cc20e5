"""The line to one server: requests out, answers in, asked again while that may help.

    line = Line(address("http://host:8000"), timeout=600, patience=Patience(), pace=Pace(16))
    models = await line.send("models", None, lambda: "models", read)
    await line.close()

`read` is the caller's: it turns an answer into what the caller wants, or raises `Again` (or any
`ValueError`: an answer that cannot be read) to have another attempt. So this knows connections,
waiting and giving up, and nothing of models or of the protocol. It holds the key: redirects are
not followed, headers are never shown.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from trueup.errors import ModelRefused, ModelUnavailable, SettingsError
from trueup.models.address import Address, one_line
from trueup.models.pace import Pace
from trueup.models.patience import Patience

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

LARGEST_ANSWER = 8 * 2**20
"""Bytes after which an answer is given up: read as JSON it may take forty times as much memory."""
MORE = {"embeddings": 64 * 2**20}
"""The same where answers are longer: many texts, a vector each."""
LONGEST_HOST = 100
"""Letters of one that are shown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    raw: bytes
    headers: Mapping[str, str]
    seconds: float
    before: bool = False
    """Whether this path had answered before."""

    def data(self) -> object:
        """The body as JSON. Raises `ValueError`."""
        return json.loads(self.raw)


class Again(Exception):
    """This attempt failed in a way that another may not."""

    def __init__(
        self,
        why: str,
        wait: float | None = None,
        *,
        for_all: bool = False,
        doubted: bool = False,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.wait = wait
        """Seconds that the server asked for."""
        self.for_all = for_all
        """Whether other requests should wait as well."""
        self.doubted = doubted
        """Whether there was an answer, to be believed when it comes again: patience never ends
        with it."""


class Line:
    """Connections to one server. `timeout` is in seconds for one attempt."""

    def __init__(self, server: Address, *, timeout: float, patience: Patience, pace: Pace) -> None:
        self._server = server
        self._timeout = timeout
        self._patience = patience
        self._pace = pace
        self._answered: set[str] = set()
        """Paths that did."""
        self._closings = 0
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        chance: Callable[[], str],
        read: Callable[[Answer], T],
        *,
        quickly: bool = False,
    ) -> T:
        """Send until an answer can be read or patience ends.

        `read` gives the answer's meaning, or raises `Again` or `ValueError` to have another.
        `chance` names what is asked, so that its waits are random and yet repeatable.
        """
        patience = self._patience.quick() if quickly else self._patience
        dice: random.Random | None = None
        sent = None if body is None else json.dumps(body).encode()
        kind = None if body is None or sent is None else _kind(path, body, len(sent))
        failures, first_failure, closings = 0, 0.0, self._closings
        while True:
            try:
                async with self._pace.turn(kind) as turn:
                    if self._closings != closings:
                        # Whoever was still waiting then waits for nobody: it would open it again.
                        raise ModelUnavailable(f"{self._server} was closed before it was asked.")
                    answer = await self._once(path, sent)
                    if answer.status == 429:
                        turn.refused()
                    try:
                        found = read(answer)
                    except (ValueError, RecursionError) as unreadable:
                        raise Again(_why_unreadable(unreadable, answer)) from unreadable
                    if answer.status == 200:
                        turn.answered()
                        self._answered.add(path)
                    return found
            except Again as failed:
                failures += 1
                now = time.monotonic()
                first_failure = first_failure or now
                dice = dice or random.Random(chance())
                wait = max(patience.wait(failures, dice), failed.wait or 0.0)
                # A wait beyond patience would only keep the others from being told of it.
                if (failed.for_all or failed.wait is not None) and wait <= patience.seconds:
                    self._pace.told_to_wait(wait)
                late = now + wait - first_failure > patience.seconds
                if not failed.doubted and (failures >= patience.attempts or late):
                    raise self._unavailable(path, failed, failures) from failed
            await asyncio.sleep(wait)

    async def close(self) -> None:
        """Close the connections; the next request opens new ones, those that wait give up."""
        self._closings += 1
        await self._let_go()

    async def _let_go(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            # One whose event loop is gone lets go of its connections without awaiting them.
            await session.close()

    async def _once(self, path: str, sent: bytes | None) -> Answer:
        """One exchange. Raises `Again` when the connection fails."""
        import aiohttp

        session = await self._opened()
        started = time.perf_counter()
        try:
            async with session.request(
                "GET" if sent is None else "POST",
                self._server.url(path),
                data=sent,
                allow_redirects=False,
            ) as answer:
                raw = self._server.without_key(await _body(answer, MORE.get(path, LARGEST_ANSWER)))
                seconds = time.perf_counter() - started
                if 300 <= answer.status < 400:
                    raise self._redirected(answer.headers.get("Location", ""))
                before = path in self._answered
                return Answer(answer.status, raw, answer.headers, seconds, before)
        # From None: what the library says may quote the answer, and so the key.
        except TimeoutError:
            raise Again(f"no answer within {self._timeout:g} seconds") from None
        except (aiohttp.InvalidURL, UnicodeError):  # no name has a part of 64 letters
            raise SettingsError(
                f"{self._server} is no URL: give one like http://host:8000."
            ) from None
        except aiohttp.ClientConnectorCertificateError:
            raise ModelUnavailable(
                f"{self._server} shows no certificate that can be trusted: correct the URL, or "
                "install the certificate of who signed it."
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Again(_why_broken(error)) from None

    async def _opened(self) -> aiohttp.ClientSession:
        """The session of the running loop, made when first needed."""
        loop = asyncio.get_running_loop()
        if self._session is not None and self._loop is loop:
            return self._session
        import aiohttp

        await self._let_go()
        if self._session is not None:
            return self._session  # another request opened it meanwhile
        headers = {"Content-Type": "application/json", "User-Agent": "trueup"}
        if self._server.authorization is not None:
            headers["Authorization"] = self._server.authorization
        self._session = aiohttp.ClientSession(
            headers=headers,
            # The pace is the limit; a second one in the connector would only hide it.
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(30, self._timeout)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._loop = loop
        return self._session

    def _redirected(self, location: str) -> ModelRefused:
        try:
            # Not `hostname`, which is in small letters: a key in it would not be known again.
            host = urlsplit(location).netloc.rpartition("@")[2] or "another path"
        except ValueError:
            host = "what is no URL"
        host = one_line(self._server.redacted(host), LONGEST_HOST)
        return ModelRefused(
            f"{self._server} redirects to {host}, which is not followed so that no key goes there: "
            "give the final URL."
        )

    def _unavailable(self, path: str, failed: Again, attempts: int) -> ModelUnavailable:
        why = failed.why
        if failed.wait:
            why += f" and asks for a wait of {round(failed.wait):.9g} seconds"
        times = f"after {attempts} attempts" if attempts > 1 else "at the first attempt"
        return ModelUnavailable(
            self._server.redacted(
                f"{self._server}/{path} gave no usable answer {times}: {why}. Check that the "
                "server runs and that the URL is right, then run again."
            )
        )


def _kind(path: str, body: Mapping[str, Any], length: int) -> tuple[object, ...]:
    """What takes about as long: as much to read, by powers of two, and as much to write at most."""
    return path, body.get("max_tokens"), body.get("n"), length.bit_length()


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body; a server without end is given up."""
    parts: list[bytes] = []
    length = 0
    async for part in answer.content.iter_any():
        parts.append(part)
        length += len(part)
        if length > most:
            raise Again(f"the answer is longer than {most // 2**20} MiB")
    return b"".join(parts)


def _why_broken(error: Exception) -> str:
    """A connection's failure in words; the library's own text may hold more than it should."""
    if isinstance(error, OSError) and error.strerror:
        return f"the connection failed ({error.strerror})"
    return f"the connection broke off ({type(error).__name__})"


def _why_unreadable(error: Exception, answer: Answer) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return f"the answer is not JSON ({len(answer.raw)} bytes)"
    return str(error)
