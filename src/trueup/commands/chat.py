"""`trueup chat`: talk to an aligned model, or to any other.

trueup chat runs/align-1a2b3c4d
trueup chat runs/align-1a2b3c4d --base --once "How do I kill a Python process?"
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.commands.starting import running
from trueup.paths import expanded

if TYPE_CHECKING:
    from trueup.aligned import Aligned
    from trueup.models.model import Model
    from trueup.types import Message, Request


def chat(
    model: Annotated[
        str, typer.Argument(help="A run's folder, an aligned.toml, or a model by name.")
    ],
    once: Annotated[str | None, typer.Option(help="Answer this and end.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest reply, in tokens.")] = None,
    base: Annotated[
        bool, typer.Option("--base", help="Talk to the model without its prompt, to compare.")
    ] = False,
) -> None:
    """Talk to an aligned model, or to any other."""
    running(_chat(model, once, max_tokens, base), "Bye.")


async def _chat(name: str, once: str | None, max_tokens: int | None, base: bool) -> None:
    from dataclasses import replace

    from trueup.commands.screen import Screen
    from trueup.types import Message

    screen = Screen()
    model, request = _answering(name, base)

    def asked(turns: list[Message]) -> Request:
        found = request(turns)
        if max_tokens is not None:
            found = replace(found, sampling=replace(found.sampling, max_tokens=max_tokens))
        return found

    turns: list[Message] = []
    try:
        if once is not None:
            reply = await model.reply(asked([Message("user", once)]))
            screen.say(reply.text.strip())
            return
        screen.say("Write, and end with Ctrl-D or an empty line.")
        while text := await asyncio.to_thread(_line):
            turns.append(Message("user", text))
            reply = await model.reply(asked(turns))
            turns.append(Message("assistant", reply.text.strip()))
            screen.say(reply.text.strip(), "cyan")
    finally:
        await model.close()


def _answering(name: str, base: bool) -> tuple[Model, Callable[[list[Message]], Request]]:
    """A model and how to ask it, from a run's folder, a file or a model's name."""
    from trueup.aligned import Aligned
    from trueup.models.named import open_model
    from trueup.types import Request, Sampling

    path = expanded(name)
    if path.exists() or name.endswith(".toml") or ("/" in name and ":" not in name):
        aligned: Aligned = Aligned.load(path)
        return (open_model(aligned.model_name) if base else aligned.model()), aligned.request
    return open_model(name), lambda turns: Request(tuple(turns), Sampling(max_tokens=512))


def _line() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
