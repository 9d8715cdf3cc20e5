"""Any server that speaks the OpenAI protocol, as a Model.

    model = Endpoint("http://localhost:8000", "qwen", concurrency=32)
    await model.check()                      # reachable, key good, model there: costs nothing
    reply = await model.reply(request)
    model.quirks                             # what this server turned out not to do

One idea: the caller sends one kind of request and gets one kind of reply, whatever the server.
What a server cannot do is found out by the first request that needs it and worked around from
then on (`capabilities.py`); what fails is asked again with growing waits (`patience.py`); what is
refused is said in a sentence with its remedy (`refusals.py`); the JSON is in `wire.py`. It keeps
no replies, counts no money and balances nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np

from trueup.errors import ModelError, ModelRefused, ModelUnavailable, SettingsError
from trueup.models import shape, wire
from trueup.models.capabilities import Capabilities
from trueup.models.model import Embeddings
from trueup.models.pace import Pace
from trueup.models.patience import Patience, told
from trueup.models.refusals import AGAIN, Meaning, understood
from trueup.types import Choice, Reply, Request, Usage

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger("trueup")

T = TypeVar("T")

REASKS = 2
"""How often a reply that is not in the asked shape is asked for again."""
LARGEST_ANSWER = 64 * 2**20
"""Bytes after which an answer is given up."""
TEXTS_PER_CALL = 64
"""Texts sent to the embedding endpoint at a time."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """One HTTP answer, read to its end."""

    status: int
    raw: bytes
    headers: Mapping[str, str]
    seconds: float

    def data(self) -> object:
        """The body as JSON. Raises `ValueError`."""
        return json.loads(self.raw)

    def complaint(self) -> wire.Complaint:
        text = self.raw[:8000].decode("utf-8", "replace")
        try:
            return wire.read_complaint(json.loads(self.raw), text)
        except (ValueError, RecursionError):
            return wire.read_complaint(None, text)


class _Again(Exception):
    """This attempt failed in a way that another may not."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.wait = wait


class Endpoint:
    """A model behind an OpenAI-compatible HTTP server.

    `timeout` is in seconds for one attempt. `api_key_env` only names, in errors, the variable
    which should have held the key. `pace` may be shared by endpoints of one server.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        api_key_env: str = "TRUEUP_API_KEY",
        concurrency: int = 16,
        timeout: float = 600.0,
        patience: Patience | None = None,
        identity: str | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._base, self._query, login = _parts(base_url)
        self._model = model
        self._authorization = _authorization(api_key, login)
        self._secrets = [text for text in (api_key, login.partition(":")[2]) if text]
        self._api_key_env = api_key_env
        self._timeout = timeout
        self._patience = patience or Patience()
        self._identity = identity or f"endpoint:{self._base}#{model}"
        self._pace = pace or Pace(concurrency)
        self._can = Capabilities(self._base)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self._base!r}, {self._model!r})"

    @property
    def identity(self) -> str:
        """Server and model, without login or query."""
        return self._identity

    @property
    def quirks(self) -> tuple[str, ...]:
        """What this server turned out not to do, a sentence each."""
        return self._can.quirks

    # -- answering ---------------------------------------------------------------------------

    async def reply(self, request: Request) -> Reply:
        """One reply of `sampling.n` choices. Raises `ModelUnavailable` or `ModelRefused`."""
        if request.sampling.n < 1:
            raise SettingsError(f"Asked for {request.sampling.n} replies: ask for 1 or more.")
        if request.schema is not None and not self._can.do("schema"):
            return await self._each(request, 0, self._shaped)
        if request.sampling.n > 1 and not self._can.do("n"):
            return await self._each(request, 0, self.reply)
        reply = await self._ask(request)
        if request.schema is not None and self._ignored(request.schema, reply):
            self._can.lacks("schema", "it wrote something else")
            again = await self.reply(request)
            return replace(again, usage=reply.usage + again.usage)
        missing = request.sampling.n - len(reply.choices)
        if missing > 0:
            self._can.lacks("n", f"it gave {len(reply.choices)} of {request.sampling.n}")
            return _joined([reply, await self._each(request, len(reply.choices), self.reply)])
        return reply

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Unit vectors from the server's embedding endpoint, one row a text."""
        parts = [texts[i : i + TEXTS_PER_CALL] for i in range(0, len(texts), TEXTS_PER_CALL)]
        rows = await _together([self._embed(part) for part in parts])
        vectors = np.array([row for part in rows for row in part], dtype=np.float32)
        if not len(texts):
            return np.zeros((0, 0), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)

    async def check(self) -> None:
        """See that the server answers, takes the key and offers the model, at no cost.

        Raises `ModelUnavailable` or `ModelRefused`. A server without a list of models passes.
        """
        answer = await self._attempts("models", None, "check", _listed)
        if answer.status in (401, 403):
            raise self._refused_key(answer.status)
        offered = _models(answer)
        if offered and not _offers(offered, self._model):
            raise self._unknown_model([name for name, _ in offered])

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session is None:
            return
        if self._loop is asyncio.get_running_loop():
            await session.close()
        else:
            _abandon(session)

    # -- work-arounds ------------------------------------------------------------------------

    async def _each(
        self, request: Request, first: int, ask: Callable[[Request], Coroutine[Any, Any, Reply]]
    ) -> Reply:
        """The choices from `first` on, each by a request of its own with its own seed."""
        singles = [
            replace(
                request,
                sampling=replace(request.sampling, n=1, seed=request.sampling.seed + place),
            )
            for place in range(first, request.sampling.n)
        ]
        return _joined(await _together([ask(single) for single in singles]))

    async def _shaped(self, request: Request) -> Reply:
        """One choice in the schema's shape from a server that has no schemas.

        After `REASKS` more tries the last text is given as it is: reading it is the judge's
        business.
        """
        assert request.schema is not None
        told_so = with_seed = shape.with_instruction(request)
        usage, seconds = Usage(), 0.0
        for attempt in range(REASKS + 1):
            reply = await self._ask(with_seed)
            usage, seconds = usage + reply.usage, seconds + reply.seconds
            fitted = shape.fitting(reply.text, request.schema)
            if fitted.problem is None:
                break
            complained = shape.with_complaint(told_so, reply.text, fitted.problem)
            seed = request.sampling.seed + 1_000_003 * (attempt + 1)
            with_seed = replace(complained, sampling=replace(request.sampling, seed=seed))
        return Reply((replace(reply.choices[0], text=fitted.text),), usage, seconds)

    def _ignored(self, schema: Mapping[str, Any], reply: Reply) -> bool:
        """Whether a finished choice is plainly not in the shape: the server ignored the schema."""
        return self._can.do("schema") and any(
            choice.finish == "stop" and not shape.obeyed(choice.text, schema)
            for choice in reply.choices
        )

    async def _ask(self, request: Request) -> Reply:
        """Send, learning what the server lacks until it answers."""
        chance = request.address(self._identity)
        while True:
            written = wire.written(self._possible(request), self._model, self._can)

            def read(answer: _Answer, sent: wire.Written = written) -> Reply | Meaning:
                if answer.status == 200:
                    return self._read(answer, request)
                return self._meaning(answer, sent)

            found = await self._attempts(written.path, written.body, chance, read)
            if isinstance(found, Reply):
                return found
            if found.lacks is None:
                raise await self._refusal(found)
            self._can.lacks(found.lacks, "it refused one")

    def _possible(self, request: Request) -> Request:
        """The request as this server can take it; refuses what has no way around."""
        if isinstance(request.prompt, str) and not self._can.do("raw"):
            raise ModelRefused(
                f"{self._base} does not continue raw text, which a base model needs: use a server "
                "with /completions, or a chat model with the chat format."
            )
        if request.top_logprobs > 0 and not self._can.do("logprobs"):
            raise ModelRefused(
                f"{self._base} reports no token log-probabilities for {self._model}: use a judge "
                "that writes its verdict, or a server that reports them."
            )
        if request.schema is not None and not self._can.do("schema"):
            return shape.with_instruction(request)
        return request

    def _read(self, answer: _Answer, request: Request) -> Reply:
        data = answer.data()
        reply = wire.read_reply(data, request, answer.seconds)
        if not wire.reports_usage(data):
            self._can.lacks("usage", "the answer has no usage")
        if request.top_logprobs > 0:
            if any(not choice.logprobs and choice.text for choice in reply.choices):
                self._can.lacks("logprobs", "the answer has none")
                self._possible(request)
            known = tuple(replace(one, logprobs=one.logprobs or ()) for one in reply.choices)
            reply = replace(reply, choices=known)
        return reply

    async def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        # Some servers refuse an empty text; a blank stands for it.
        body = {
            "model": self._model,
            "input": [wire.clean(text) or " " for text in texts],
            "encoding_format": "float",
        }

        def read(answer: _Answer) -> list[list[float]] | Meaning:
            if answer.status == 200:
                return wire.read_embeddings(answer.data(), len(texts))
            return self._meaning(answer)

        found = await self._attempts("embeddings", body, f"embed {texts[0]}", read)
        if isinstance(found, Meaning):
            if found.refused_key or found.unknown_model:
                raise await self._refusal(found)
            raise ModelRefused(
                f"{self._base} gives no embeddings with {self._model}: retrieve by words "
                "instead, or name a model that embeds."
            )
        return found

    # -- attempts ----------------------------------------------------------------------------

    async def _attempts(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        chance: str,
        read: Callable[[_Answer], T],
    ) -> T:
        """Send until an answer can be read or patience ends.

        `read` gives the answer's meaning, or raises `_Again` or `ValueError` to have another.
        """
        dice = random.Random(chance)
        sent = None if body is None else json.dumps(body).encode()
        failures, first_failure = 0, 0.0
        while True:
            try:
                async with self._pace:
                    answer = await self._once(path, sent)
                    try:
                        return read(answer)
                    except (ValueError, RecursionError) as unreadable:
                        raise _Again(_why_unreadable(unreadable, answer)) from unreadable
            except _Again as failed:
                failures += 1
                now = time.monotonic()
                first_failure = first_failure or now
                wait = self._patience.wait(failures, dice)
                if failed.wait is not None:
                    wait = max(wait, failed.wait)
                late = now + wait - first_failure > self._patience.seconds
                if failures >= self._patience.attempts or late:
                    raise self._unavailable(path, failed.why, failures) from failed
                if failed.wait is not None:
                    self._pace.told_to_wait(failed.wait)
            await asyncio.sleep(wait)

    async def _once(self, path: str, sent: bytes | None) -> _Answer:
        """One exchange. Raises `_Again` when the connection fails."""
        import aiohttp

        session = self._opened()
        started = time.perf_counter()
        try:
            async with session.request(
                "GET" if sent is None else "POST",
                f"{self._base}/{path}{self._query}",
                data=sent,
                allow_redirects=False,
            ) as answer:
                raw = await _body(answer)
                seconds = time.perf_counter() - started
                if 300 <= answer.status < 400:
                    raise self._redirected(answer.headers.get("Location", ""))
                return _Answer(answer.status, raw, answer.headers, seconds)
        except TimeoutError as error:
            raise _Again(f"no answer within {self._timeout:g} seconds") from error
        except aiohttp.InvalidURL as error:
            raise SettingsError(
                f"{self._base} is no URL: give one like http://host:8000."
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Again(_why_broken(error)) from error

    def _opened(self) -> aiohttp.ClientSession:
        """The session of the running loop, made when first needed."""
        loop = asyncio.get_running_loop()
        if self._session is not None and self._loop is loop:
            return self._session
        import aiohttp

        if self._session is not None:
            _abandon(self._session)
        headers = {"Content-Type": "application/json", "User-Agent": "trueup"}
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        self._session = aiohttp.ClientSession(
            headers=headers,
            # The pace is the limit; a second one in the connector would only hide it.
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(30, self._timeout)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._loop = loop
        return self._session

    # -- refusals ----------------------------------------------------------------------------

    def _meaning(self, answer: _Answer, sent: wire.Written | None = None) -> Meaning:
        """What an error answer means; raises `_Again` for those worth another attempt."""
        complaint = answer.complaint()
        meaning = understood(answer.status, complaint, sent.sent if sent else ())
        if meaning.again:
            wait = told(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            reason = f" ({self._without_secrets(complaint.text)})" if complaint.text else ""
            raise _Again(f"it answered {answer.status}{reason}", wait)
        return meaning

    async def _refusal(self, meaning: Meaning) -> ModelError:
        if meaning.refused_key:
            return self._refused_key(401)
        if meaning.unknown_model:
            answer = await self._attempts("models", None, "models", _listed)
            return self._unknown_model([name for name, _ in _models(answer)])
        return ModelRefused(self._without_secrets(f"{self._base} {meaning.final}."))

    def _refused_key(self, status: int) -> ModelRefused:
        given = "the key it was given" if self._authorization else "a request without a key"
        return ModelRefused(
            f"{self._base} refused {given} ({status}): put a valid key into the environment "
            f"variable {self._api_key_env}."
        )

    def _unknown_model(self, offered: Sequence[str]) -> ModelRefused:
        there = f" It offers {', '.join(offered[:8])}." if offered else ""
        more = f" And {len(offered) - 8} more." if len(offered) > 8 else ""
        return ModelRefused(
            f"{self._base} has no model {self._model!r}: name another.{there}{more}"
        )

    def _redirected(self, location: str) -> ModelRefused:
        host = urlsplit(location).hostname or "another path"
        return ModelRefused(
            f"{self._base} redirects to {host}, which is not followed, so that the key stays here: "
            "give the final URL."
        )

    def _unavailable(self, path: str, why: str, attempts: int) -> ModelUnavailable:
        times = f"after {attempts} attempts" if attempts > 1 else "at the first attempt"
        return ModelUnavailable(
            self._without_secrets(
                f"{self._base}/{path} gave no usable answer {times}: {why}. Check that the server "
                "runs and that the URL is right, then run again."
            )
        )

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text


def _parts(base_url: str) -> tuple[str, str, str]:
    """The URL as ever, its query with the question mark, and the login it carried."""
    url = base_url.strip()
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{parts.netloc or 'Nothing'} is no server: give http://host:port/v1.")
    login, _, host = parts.netloc.rpartition("@")
    path = parts.path.rstrip("/")
    for ending in ("/chat/completions", "/completions", "/models"):
        path = path.removesuffix(ending)
    if not path:
        path = "/v1"
    query = f"?{parts.query}" if parts.query else ""
    return urlunsplit((parts.scheme, host, path, "", "")), query, unquote(login)


def _authorization(api_key: str | None, login: str) -> str | None:
    key = (api_key or "").strip()
    if key:
        if not (key.isascii() and key.isprintable()):
            raise SettingsError("The API key holds characters no key has: copy it again.")
        return f"Bearer {key}"
    return f"Basic {b64encode(login.encode()).decode()}" if login else None


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """The whole body; a server without end is given up."""
    parts: list[bytes] = []
    length = 0
    async for part in answer.content.iter_any():
        parts.append(part)
        length += len(part)
        if length > LARGEST_ANSWER:
            raise _Again(f"the answer is longer than {LARGEST_ANSWER // 2**20} MiB")
    return b"".join(parts)


def _abandon(session: aiohttp.ClientSession) -> None:
    """Let go of a session whose event loop is gone: there is no one left to await its closing."""
    connector = session.connector
    session.detach()
    if connector is not None:
        with suppress(RuntimeError):
            connector.close()


def _listed(answer: _Answer) -> _Answer:
    """A list of models, or an answer that will never be one."""
    if answer.status not in AGAIN and answer.status < 500:
        return answer
    wait = told(answer.headers.get("Retry-After"), answer.headers.get("Date"))
    raise _Again(f"it answered {answer.status}", wait)


def _models(answer: _Answer) -> list[tuple[str, str]]:
    """Name and owner of every model offered; nothing when the server does not tell."""
    if answer.status != 200:
        return []
    try:
        data = answer.data()
    except (ValueError, RecursionError):
        return []
    rows = data.get("data") if isinstance(data, Mapping) else None
    return [
        (row["id"], str(row.get("owned_by", "")))
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and isinstance(row.get("id"), str)
    ]


def _offers(offered: Sequence[tuple[str, str]], model: str) -> bool:
    # llama.cpp lists its one file and answers to any name; Ollama adds a tag to names without.
    return any(name in (model, f"{model}:latest") or owner == "llamacpp" for name, owner in offered)


def _joined(replies: Sequence[Reply]) -> Reply:
    """Several replies to one prompt as one: all choices, all costs, the longest time."""
    usage = sum((reply.usage for reply in replies), Usage())
    choices: tuple[Choice, ...] = tuple(one for reply in replies for one in reply.choices)
    return Reply(choices, usage, max(reply.seconds for reply in replies))


async def _together(waiting: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; the first failure ends the others."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _why_broken(error: Exception) -> str:
    """A connection's failure in words; the library's own text may hold more than it should."""
    if isinstance(error, OSError) and error.strerror:
        return f"the connection failed ({error.strerror})"
    return f"the connection broke off ({type(error).__name__})"


def _why_unreadable(error: Exception, answer: _Answer) -> str:
    if isinstance(error, wire.Unreadable):
        return str(error)
    return f"the answer is not JSON ({len(answer.raw)} bytes)"
