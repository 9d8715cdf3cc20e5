"""A model that follows a script: for tests, for docs, for trying a method without a model.

    model = Scripted(lambda request: "Yes." if request.sampling.seed == 0 else "No.")
    model = Scripted(["first reply", "second reply"])

    async def slow_judge(request: Request) -> str: ...
    model = Scripted(slow_judge, delay=0.05)

    model.requests        # everything it was asked, in order

It counts tokens as a quarter of the letters, and embeds a text as the words in it, so that whatever
is built on usage or on retrieval can be tested too. It knows nothing of language.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import numpy as np

from trueup.errors import ModelError, SettingsError
from trueup.models.budgeted import Price
from trueup.models.model import Embeddings
from trueup.types import Choice, Reply, Request, Usage

Line = str | Reply
Script = Callable[[Request], Line | Awaitable[Line]] | Sequence[str]

DIMENSIONS = 256


class Scripted:
    """Answers with what the script says. What the script raises, `reply` raises."""

    def __init__(
        self,
        script: Script,
        identity: str = "scripted",
        *,
        delay: float = 0.0,
        price: Price | None = None,
        embedder: Callable[[Sequence[str]], Embeddings] | None = None,
    ) -> None:
        """`script` is a function of the request, or texts to be given in order.

        For `n` replies a function is asked `n` times, with seeds one apart and `n` of 1.
        `delay` is how long each reply takes, in seconds.
        """
        if isinstance(script, str):
            raise SettingsError(
                "A script is a function or a list of replies, not one text. Put it in a list."
            )
        self.requests: list[Request] = []
        self.price = price
        self._identity = identity
        self._script = script if callable(script) else _Recital(script)
        self._delay = delay
        self._embedder = embedder or words_as_vectors

    @property
    def identity(self) -> str:
        return self._identity

    async def reply(self, request: Request) -> Reply:
        self.requests.append(request)
        if self._delay:
            await asyncio.sleep(self._delay)
        lines = [await self._line(one) for one in _one_each(request)]
        if len(lines) == 1 and isinstance(lines[0], Reply):
            return lines[0]
        replies = [
            line if isinstance(line, Reply) else self._spoken(line, request) for line in lines
        ]
        choices = tuple(choice for reply in replies for choice in reply.choices)
        out = sum(reply.usage.tokens_out for reply in replies)
        # The prompt is read once, however many replies are drawn to it.
        return Reply(choices, replace(replies[0].usage, tokens_out=out), self._delay)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return self._embedder(texts)

    async def close(self) -> None:
        """Nothing to give back."""

    async def _line(self, request: Request) -> Line:
        said = self._script(request)
        return await said if inspect.isawaitable(said) else said

    def _spoken(self, text: str, request: Request) -> Reply:
        prompt = request.prompt
        asked = prompt if isinstance(prompt, str) else "".join(one.content for one in prompt)
        return Reply((Choice(text),), Usage(len(asked) // 4, len(text) // 4), self._delay)


class _Recital:
    """Gives texts in order, whatever is asked."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        self._given = 0

    def __call__(self, request: Request) -> str:
        if self._given == len(self._texts):
            raise ModelError(
                f"The script has {len(self._texts)} replies and was asked for one more. "
                "Give it more texts, or a function."
            )
        self._given += 1
        return self._texts[self._given - 1]


def _one_each(request: Request) -> list[Request]:
    sampling = request.sampling
    if sampling.n == 1:
        return [request]
    return [
        replace(request, sampling=replace(sampling, seed=sampling.seed + index, n=1))
        for index in range(sampling.n)
    ]


def words_as_vectors(texts: Sequence[str]) -> Embeddings:
    """Unit vectors of word counts, each word at a place that its hash decides: texts that share
    words are near each other. The same on every machine. Shape (texts, 256)."""
    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in zip(vectors, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest()
            row[int.from_bytes(digest, "big") % DIMENSIONS] += 1.0
        if not row.any():
            row[0] = 1.0  # a text without words still needs a vector of length one
        row /= np.linalg.norm(row)
    return vectors
