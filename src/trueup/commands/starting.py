"""How a command starts: what may cost money is agreed to, and one event loop does the work.

    agreed("policy: endpoint:https://api.example.com/v1#m", yes, lambda: screen.expected(plan))
    outcome = running(run(plan), "Run it again to go on.")

Every command that calls models goes through these two, so they ask and stop in the same words.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from trueup.errors import SettingsError
from trueup.report.escaping import printable

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds for what was interrupted to put away what it has."""


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
    """The one event loop; Ctrl-C ends it with a sentence and status 130.

    What is under way is put away first; a second Ctrl-C, or `PATIENCE` seconds, end that too.
    """
    said = f"\nStopped. {if_interrupted}"
    before = signal.getsignal(signal.SIGINT)
    try:
        return asyncio.run(_stoppable(work, said))
    except (KeyboardInterrupt, _Stopped):
        typer.echo(said, err=True)
        raise typer.Exit(130) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


class _Stopped(Exception):
    """The user has had enough."""


async def _stoppable(work: Coroutine[Any, Any, T], said: str) -> T:
    """The work, cancelled by an interrupt.

    Python's own way raises `KeyboardInterrupt` wherever the loop is, the second time at least: if
    that is between a future and the task that waits for it, the task waits for ever.
    """
    loop, stopping = asyncio.get_running_loop(), False
    task = loop.create_task(work)

    def leave() -> None:
        os.write(2, f"{said}\n".encode("utf-8", "replace"))  # safe wherever a signal comes
        os._exit(130)

    def stop() -> None:
        task.cancel()
        loop.call_later(PATIENCE, leave)

    def interrupted(*_: object) -> None:
        nonlocal stopping
        if stopping:
            leave()
        stopping = True
        loop.call_soon_threadsafe(stop)

    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupted)
    try:
        return await task
    except asyncio.CancelledError:
        if stopping:
            raise _Stopped from None
        raise
