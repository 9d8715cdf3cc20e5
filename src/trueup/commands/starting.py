"""How a command starts: what may cost money is agreed to, and one event loop does the work.

    agreed("policy: endpoint:https://api.example.com/v1#m", yes, lambda: screen.expected(plan))
    outcome = running(run(plan), "Run it again to go on.")

Every command that calls models goes through these two, so they ask and stop in the same words.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from trueup.errors import SettingsError
from trueup.report.escaping import printable

T = TypeVar("T")


def agreed(paid: str, yes: bool, expected: Callable[[], None] | None = None) -> None:
    """Ask before calls that may cost money; `expected` shows what they would take.

    `paid` says whose they are; nothing is asked where it is empty. Raises `SettingsError` where
    the answer is no, or nobody is there to give one.
    """
    if not paid or yes:
        return
    paid = printable(paid)  # a name may come out of somebody's aligned.toml
    if not sys.stdin.isatty():
        dry = ", or see what it would take with --dry-run" if expected is not None else ""
        raise SettingsError(
            f"Calls to other machines may cost money ({paid}), and nobody is there to be asked: "
            f"add --yes{dry}."
        )
    if expected is not None:
        expected()
    if not typer.confirm(f"Calls to other machines may cost money ({paid}). Start?"):
        raise SettingsError("Nothing was started: add --yes to start without being asked.")


def running(work: Coroutine[Any, Any, T], if_interrupted: str) -> T:
    """The one event loop; Ctrl-C ends it with a sentence and status 130."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. {if_interrupted}", err=True)
        raise typer.Exit(130) from None
