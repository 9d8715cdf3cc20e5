"""Any server that speaks the OpenAI protocol, as a Model.

    model = Endpoint("http://localhost:8000", "qwen", concurrency=32)
    await model.check()                      # reachable, key good, model there: costs nothing
    reply = await model.reply(request)
    model.quirks                             # what this server turned out not to do

One idea: the caller sends one kind of request and gets one kind of reply, whatever the server.
What a server refuses to do is found out by the first request that needs it and worked around from
then on (`capabilities.py`); what it leaves out without a word is made good for that request alone,
so that no reply depends on what was asked before; what fails is asked again with growing waits
(`patience.py`); what is refused is said in a sentence with its remedy (`refusals.py`); the JSON is
in `wire.py`. It keeps no replies, counts no money and balances nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from trueup.errors import ModelError, ModelRefused, ModelUnavailable, SettingsError
from trueup.models import shape, wire
from trueup.models.address import address
from trueup.models.capabilities import Capabilities
from trueup.models.doubts import Doubts, keeps_silent
from trueup.models.line import Again, Answer, Line
from trueup.models.model import TEXTS_AT_ONCE, Embeddings
from trueup.models.offered import listed, offered, unknown
from trueup.models.pace import Pace
from trueup.models.patience import Patience, told
from trueup.models.refusals import UNKNOWN_PATH, Meaning, understood
from trueup.models.several import each, joined, together
from trueup.types import Reply, Request

T = TypeVar("T")

LONGEST_CHARACTER = 4
"""Bytes, and so tokens, that one character can be spread over."""


NOTHING: Mapping[str, Any] = MappingProxyType({})
ALSO: ContextVar[Mapping[str, Any]] = ContextVar("also", default=NOTHING)
"""Fields for the server beside those of the request, which decide where it is answered and never
what: a slot, say. For whoever knows the server."""


class _Otherwise(Exception):
    """The server refused a schema or several choices: start again in the other way."""


class Endpoint:
    """A model behind an OpenAI-compatible HTTP server.

    `timeout` is in seconds for one attempt. `api_key_env` only names, in errors, the variable
    which should have held the key. `most_choices` is the largest `n` to ask for at once. `pace`
    may be shared by endpoints of one server. A `trusted` server's answers are believed at once.
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
        most_choices: int | None = None,
        pace: Pace | None = None,
        trusted: bool = False,
    ) -> None:
        self._server = address(base_url, api_key)
        self._model = model
        self._api_key_env = api_key_env
        self._identity = identity or f"endpoint:{self._server}#{model}"
        self._line = Line(
            self._server,
            timeout=timeout,
            patience=patience or Patience(),
            pace=pace or Pace(concurrency),
        )
        self._can = Capabilities(str(self._server))
        self._most = most_choices
        self._trusted = trusted

    def __repr__(self) -> str:
        return f"Endpoint({str(self._server)!r}, {self._model!r})"

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
        if request.forced is not None:
            return await self._made_to_say(request, request.forced)
        if request.schema is not None and not self._can.do("schema", _schema(request)):
            return await each(request, 0, self._asked_in_words)
        if request.sampling.n > 1 and not self._can.do("n", request.sampling.n):
            return await each(request, 0, self.reply)
        if self._most is not None and request.sampling.n > self._most:
            return await each(request, 0, self.reply, at_once=self._most)
        try:
            reply = await self._ask(request)
        except _Otherwise:
            return await self.reply(request)
        if request.schema is not None:
            reply = await self._in_shape(request, request.schema, reply)
        if len(reply.choices) < request.sampling.n:
            self._can.missed("n", f"it gave {len(reply.choices)} of {request.sampling.n}")
            reply = joined([reply, await each(request, len(reply.choices), self.reply)])
        return reply

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Unit vectors from the server's embedding endpoint, one row a text."""
        parts = [texts[i : i + TEXTS_AT_ONCE] for i in range(0, len(texts), TEXTS_AT_ONCE)]
        rows = await together([self._embed(part) for part in parts])
        vectors = np.array([row for part in rows for row in part], dtype=np.float32)
        if not len(texts):
            return np.zeros((0, 0), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)

    async def check(self) -> None:
        """See that the server answers, takes the key and offers the model, at no cost.

        Raises `ModelUnavailable` or `ModelRefused`. A server without a list of models passes.
        """
        answer = await self._line.send("models", None, lambda: "check", listed, quickly=True)
        if answer.status in (401, 403):
            raise await self._refusal(self._meaning(answer))
        there = offered(answer)
        if there and not any(model.answers_to(self._model) for model in there):
            raise unknown(self._server, self._model, there)

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        await self._line.close()

    # -- a given reply -----------------------------------------------------------------------

    async def _made_to_say(self, request: Request, text: str) -> Reply:
        """The given reply with its log-probabilities: llama.cpp's grammars can name tokens."""
        if not self._can.do("forced"):
            raise self._not_forced()
        tokens = (await self._tokens(text))[: request.sampling.max_tokens]
        sampling = replace(request.sampling, max_tokens=max(1, len(tokens)))
        told = replace(request, sampling=sampling, schema=None, top_logprobs=1)
        doubts = Doubts()

        def read(written: wire.Written, answer: Answer) -> Reply | Meaning | None:
            if answer.status == 200:
                return self._believed(answer, told, written, doubts)
            if answer.status >= 500 and "grammar" in wire.read_complaint(answer.raw).text:
                return None
            return self._meaning(answer, written)

        found = await self._sent(
            told,
            lambda: wire.forced(request, self._model, self._can, tokens),
            read,
        )
        if found is None:
            raise ModelRefused(f"{self._server} cannot be made to give this very reply.")
        said = found.choices[0].logprobs or ()
        # The bytes of a character that the limit cuts in two are not reported.
        if len(said) < len(tokens) - LONGEST_CHARACTER:
            self._can.missed("forced", f"it said {len(said)} of {len(tokens)} tokens")
            raise self._not_forced()
        exactly = replace(found.choices[0], logprobs=said[: len(tokens)])
        return replace(found, choices=(exactly,))

    async def _tokens(self, text: str) -> list[int]:
        """The numbers of the text's tokens."""

        def read(answer: Answer) -> list[int] | Meaning | None:
            if answer.status == 200:
                return wire.read_tokens(answer.data())
            return None if answer.status in UNKNOWN_PATH else self._meaning(answer)

        # A text that spells a control token means its letters: no model can be made to end a turn
        # and go on.
        asked = {"content": wire.clean(text), "parse_special": False}
        found = await self._line.send("../tokenize", asked, lambda: "tokenize", read)
        if isinstance(found, Meaning):
            raise await self._refusal(found)
        if found is None:
            self._can.lacks("forced", "it does not tell its tokens")
            raise self._not_forced()
        return found

    def _not_forced(self) -> ModelRefused:
        return ModelRefused(
            f"{self._server} cannot tell how likely a given reply was: use another judge, or a "
            "model behind llama.cpp."
        )

    # -- work-arounds ------------------------------------------------------------------------

    async def _asked_in_words(self, request: Request) -> Reply:
        return await shape.asked_in_words(request, self._ask)

    async def _in_shape(self, request: Request, schema: Mapping[str, Any], reply: Reply) -> Reply:
        """The reply to a request with a schema, after seeing that the schema was obeyed.

        A choice cut off by length or filter is no evidence. One that was finished otherwise is
        mended, or asked for again in words. So a server that ignores schemas is paid two answers
        for each request: to learn from the first would make replies depend on which that was.
        """
        bad = [
            place
            for place, choice in enumerate(reply.choices)
            if choice.finish in ("stop", "unknown") and not shape.obeyed(choice.text, schema)
        ]

        async def again(told: Request) -> Reply:
            self._can.missed("schema", "it wrote something else")
            return await self._ask(told)

        return await shape.mended(request, reply, bad, again)

    async def _ask(self, request: Request) -> Reply:
        """The server's answer, once it is believed."""
        doubts = Doubts()

        def read(written: wire.Written, answer: Answer) -> Reply | Meaning:
            if answer.status != 200:
                return self._meaning(answer, written)
            return self._believed(answer, request, written, doubts)

        return await self._sent(
            request, lambda: wire.written(request, self._model, self._can), read
        )

    async def _sent(
        self,
        request: Request,
        write: Callable[[], wire.Written],
        read: Callable[[wire.Written, Answer], T | Meaning],
    ) -> T:
        """Send, learning what the server lacks until it answers."""
        while True:
            self._see_possible(request)
            written = write()
            found = await self._line.send(
                written.path,
                {**written.body, **ALSO.get()},
                lambda: request.address(self._identity),
                partial(read, written),
            )
            if not isinstance(found, Meaning):
                return found
            if found.lacks is None:
                raise await self._refusal(found)
            # Of schemas, and of how many choices, a server may refuse one and take the next.
            if found.lacks == "schema":
                self._can.lacks("schema", "it refused one", _schema(request))
                raise _Otherwise
            if found.lacks == "n":
                self._can.lacks("n", "it refused one", request.sampling.n)
                raise _Otherwise
            self._can.lacks(found.lacks, "it refused one")

    def _see_possible(self, request: Request) -> None:
        """Refuse what this server cannot do and nothing can stand in for."""
        if isinstance(request.prompt, str) and not self._can.do("raw"):
            raise ModelRefused(
                f"{self._server} does not continue raw text, which a base model needs: use a "
                "server with /completions, or a chat model with the chat format."
            )
        if request.top_logprobs > 0 and not self._can.do("logprobs"):
            raise self._no_logprobs()

    def _no_logprobs(self) -> ModelRefused:
        return ModelRefused(
            f"{self._server} reports no token log-probabilities for {self._model}: use a judge "
            "that writes its verdict, or a server that reports them."
        )

    def _read(self, answer: Answer, request: Request, written: wire.Written) -> Reply | Meaning:
        data = answer.data()
        if (status := wire.hidden_error(data)) is not None:
            return self._meaning(replace(answer, status=status), written)
        reply = wire.read_reply(data, request, answer.seconds)
        self._can.did(written.sent - {"schema", "logprobs"})
        if not wire.reports_usage(data):
            self._can.missed("usage", "the answer has none")
        return reply

    def _believed(
        self, answer: Answer, request: Request, written: wire.Written, doubts: Doubts
    ) -> Reply | Meaning:
        """The answer, once it is believed; log-probabilities that were asked for are in it."""
        reply = self._read(answer, request, written)
        if isinstance(reply, Meaning):
            return reply
        if not self._trusted:
            reply = doubts.settled(reply, request)
        if request.top_logprobs == 0:
            return reply
        if any(map(keeps_silent, reply.choices)):
            self._can.missed("logprobs", "an answer has none")
            raise self._no_logprobs()
        known = tuple(replace(choice, logprobs=choice.logprobs or ()) for choice in reply.choices)
        return replace(reply, choices=known)

    async def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        # Some servers refuse an empty text; a blank stands for it.
        body = {
            "model": self._model,
            "input": [wire.clean(text) or " " for text in texts],
            "encoding_format": "float",
        }

        def read(answer: Answer) -> list[list[float]] | Meaning:
            if answer.status == 200:
                return wire.read_embeddings(answer.data(), len(texts))
            return self._meaning(answer)

        found = await self._line.send("embeddings", body, lambda: f"embed {texts[0]}", read)
        if isinstance(found, Meaning):
            final = found.final and (
                f"gave no embeddings with {self._model} but {found.final}; or retrieve by words, "
                "or name a model that embeds"
            )
            raise await self._refusal(replace(found, final=final))
        return found

    # -- refusals ----------------------------------------------------------------------------

    def _meaning(self, answer: Answer, sent: wire.Written | None = None) -> Meaning:
        """What an error answer means; raises `Again` for those worth another attempt."""
        complaint = wire.read_complaint(answer.raw)
        features = {one for one in (sent.sent if sent else ()) if not self._can.proven(one)}
        # A server that did it before is broken for the moment, or means this one value or a word
        # of the prompt that it quotes: unless it says so by name. And more choices than it draws
        # at once can be asked for singly.
        if answer.status < 500 and sent:
            by_name = complaint.param if "unsupported" in complaint.code else None
            features |= sent.sent & {"n", by_name}
        meaning = understood(answer.status, complaint, features, before=answer.before)
        if meaning.again:
            wait = told(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            reason = f" ({self._server.redacted(complaint.text)})" if complaint.text else ""
            why = f"it answered {answer.status}{reason}"
            raise Again(why, wait, for_all=answer.status == 429)
        return meaning

    async def _refusal(self, meaning: Meaning) -> ModelError:
        error = ModelUnavailable if meaning.of_all else ModelRefused
        then = ", then run again." if meaning.of_all else "."
        if meaning.refused_key:
            sent = "the given key" if self._server.authorization else "a request without a key"
            return error(
                f"{self._server} refused {sent} ({meaning.refused_key}): put a valid key into the "
                f"environment variable {self._api_key_env}{then}"
            )
        if meaning.unknown_model:
            answer = await self._line.send("models", None, lambda: "models", listed, quickly=True)
            return unknown(self._server, self._model, offered(answer))
        return error(self._server.redacted(f"{self._server} {meaning.final}{then}"))


def _schema(request: Request) -> str:
    return json.dumps(request.schema, sort_keys=True)
