"""A prompt: an instruction, a pool of demonstrations, and how they are laid out. A lever.

    prompt = Prompt("You are a helpful assistant.", demonstrations, Retrieval(k=4))
    aligned = Prompted(model, prompt)             # a Model again: it answers messages

Three layouts, and the one that was searched with is the one that is deployed:

    turns    demonstrations as earlier turns of the conversation (chat models; ours)
    system   instruction and demonstrations as one system text (published DRPO, chat endpoints)
    raw      one text to continue, with headings and start and end markers (base models)

The raw layout follows DRPO's published one (arXiv 2411.08733, code) without its slips: headings
are spaced alike, and the instruction heading is there at deployment too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from trueup.errors import ModelRefused, SettingsError
from trueup.models.model import Embeddings, Model
from trueup.prompt.retrieval import Retrieval, Retriever
from trueup.types import Demonstration, Message, Reply, Request

Format = Literal["turns", "system", "raw"]

START = "<START>"
END = "<END>"
RAW_STOPS = (END, "<END", "\n# Query")
"""A weak base model often writes the marker incompletely, or begins the next query."""

NO_DEMONSTRATIONS = Retrieval(k=0)
PLAIN_INSTRUCTION = "You are a helpful assistant."


@dataclass(frozen=True, slots=True)
class Prompt:
    """The context put in front of a model."""

    instruction: str = PLAIN_INSTRUCTION
    demonstrations: tuple[Demonstration, ...] = ()
    """The pool that `retrieval` chooses from."""
    retrieval: Retrieval = NO_DEMONSTRATIONS
    format: Format = "turns"

    def __post_init__(self) -> None:
        if self.retrieval.k > len(self.demonstrations):
            raise SettingsError(
                f"The prompt asks for {self.retrieval.k} demonstrations but its pool holds "
                f"{len(self.demonstrations)}. Lower K or give more demonstrations."
            )

    def layout(
        self, conversation: Sequence[Message], shown: Sequence[Demonstration]
    ) -> tuple[Message, ...] | str:
        """The request's prompt: `conversation` with this prompt and `shown` in front of it."""
        system = "\n\n".join(
            [self.instruction, *(m.content for m in conversation if m.role == "system")]
        ).strip()
        turns = [message for message in conversation if message.role != "system"]
        if self.format == "raw":
            return _raw(system, shown, turns)
        if self.format == "system":
            blocks = [f"# Query\n{one.query}\n\n# Answer\n{one.reply}" for one in shown]
            text = "\n\n".join([system, *blocks]).strip()
            return (*_system(text), *turns)
        earlier = [
            message
            for one in shown
            for message in (Message("user", one.query), Message("assistant", one.reply))
        ]
        return (*_system(system), *earlier, *turns)


class Prompted:
    """A model with a prompt in front: a Model that answers messages."""

    def __init__(
        self,
        model: Model,
        prompt: Prompt,
        embedder: Model | None = None,
        *,
        retriever: Retriever | None = None,
        closes_embedder: bool = False,
    ) -> None:
        """`retriever`: one that is made already for these demonstrations and this retrieval.

        `closes_embedder`: nobody else has the embedder, so it is closed with this model.
        """
        self._model = model
        self._embedder = embedder if closes_embedder else None
        self.prompt = prompt
        self._retriever = retriever or Retriever(
            prompt.demonstrations, prompt.retrieval, embedder or model
        )

    @property
    def identity(self) -> str:
        return self._model.identity

    async def shown(self, query: str) -> list[Demonstration]:
        """The demonstrations this query is answered with."""
        return await self._retriever.shown(query)

    async def request(self, request: Request) -> Request:
        """What the model inside is asked when this one is asked `request`."""
        if isinstance(request.prompt, str):
            raise ModelRefused(
                "An aligned model answers messages; it was given a text to continue. "
                "Ask the model inside it instead."
            )
        if not request.prompt or request.prompt[-1].role != "user":
            raise ModelRefused("A conversation must end with the user's message.")
        laid_out = self.prompt.layout(request.prompt, await self.shown(request.prompt[-1].content))
        sampling = request.sampling
        if self.prompt.format == "raw":
            sampling = replace(sampling, stop=(*sampling.stop, *RAW_STOPS))
        return replace(request, prompt=laid_out, sampling=sampling)

    async def reply(self, request: Request) -> Reply:
        reply = await self._model.reply(await self.request(request))
        if self.prompt.format != "raw":
            return reply
        choices = tuple(replace(one, text=one.text.strip()) for one in reply.choices)
        return replace(reply, choices=choices)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return await self._model.embed(texts)

    async def close(self) -> None:
        await self._model.close()
        if self._embedder is not None:
            await self._embedder.close()


def _system(text: str) -> tuple[Message, ...]:
    return (Message("system", text),) if text else ()


def _raw(system: str, shown: Sequence[Demonstration], turns: Sequence[Message]) -> str:
    parts = [f"# Instruction\n\n{system}"] if system else []
    parts += [f"# Query\n{one.query}\n\n# Answer\n{START}\n{one.reply}\n{END}" for one in shown]
    # Conversations that open with a greeting, or say two things in a row, are not unheard of.
    for role, said in groupby(turns, key=lambda message: message.role):
        text = "\n\n".join(message.content for message in said)
        if role == "user":
            parts.append(f"# Query\n{text}")
        else:
            parts.append(f"# Answer\n{START}\n{text}\n{END}")
    return "\n\n".join([*parts, f"# Answer\n{START}\n"])
