"""The command line: its commands together, and how each of them ends.

    trueup align                                     # the embedded model, the seeds, code as judge
    trueup align --policy endpoint:http://localhost:8000#qwen --data my.jsonl --dry-run
    trueup show runs/align-1a2b3c4d
    trueup chat runs/align-1a2b3c4d

Every command ends with 0, with 1 and one sentence on what went wrong and what to do, with 2 for
arguments that make no sense to begin with, or with 130 when it was interrupted. Whatever is heavy
is imported inside the commands, so that help comes at once.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from trueup import __version__
from trueup.commands import align, chat, compare, evaluate, export, judge, runs, transfer
from trueup.errors import TrueupError
from trueup.report.escaping import printable

app = typer.Typer(
    name="trueup",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Align a language model with itself: search for the context that makes it answer best.",
)

for command in (
    align.align,
    runs.runs,
    runs.show,
    chat.chat,
    evaluate.evaluate,
    compare.compare,
    judge.judge,
    transfer.transfer,
    transfer.trim,
    export.export,
    runs.salvage,
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trueup {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line, turning what goes wrong into a sentence and an exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # In a pipe or a log, progress is to be seen when it is made.
        sys.stdout.reconfigure(line_buffering=True)
    try:
        app()
    except TrueupError as error:
        typer.echo(f"trueup: {printable(str(error))}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("\nStopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`trueup show RUN | head`).
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
