"""How commands print: lines and tables whose texts no terminal obeys, and none is read as markup.

    console = printing.console()
    printing.say(console, f"judge: {told}")
    printing.table(console, rows, "", "headline", "model [95%]")
    printing.show(console, *compared(results))    # the tables of `report.tables`

What models, files and users wrote is shown as it is, without control characters. The terminal's
library is loaded with the first console, so that help comes at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from trueup.report.escaping import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from trueup.report.tables import Table


LOG_WIDTH = 200
"""Nobody's window to fit into: a log's lines may be long."""


def console() -> Console:
    """Standard output, at least `LOG_WIDTH` columns wide where it is no terminal."""
    from rich.console import Console

    opened = Console(highlight=False, soft_wrap=True)
    if not opened.is_terminal:
        opened.width = max(opened.width, LOG_WIDTH)
    return opened


def text(words: str, style: str = "") -> Text:
    """What somebody wrote, made harmless."""
    from rich.text import Text

    return Text(printable(words), style=style)


def say(on: Console, words: str = "", style: str = "") -> None:
    """A line."""
    on.print(text(words, style))


def note(words: str) -> None:
    """A line about the work, to standard error: what comes out stays what was asked for."""
    typer.echo(printable(words), err=True)


def table(
    on: Console, rows: Iterable[Sequence[str | Text]], *columns: str, fold: bool = False
) -> None:
    """Rows under the names of columns. `fold`: the first column is broken rather than cut off."""
    from rich.table import Table as Drawn

    drawn = Drawn(box=None, pad_edge=False, header_style="bold dim")
    for number, name in enumerate(columns):
        drawn.add_column(text(name), overflow="fold" if fold and number == 0 else "ellipsis")
    for row in rows:
        drawn.add_row(*(text(cell) if isinstance(cell, str) else cell for cell in row))
    on.print(drawn)


def show(on: Console, *tables: Table) -> None:
    """Tables, each under its title and with an empty line after it."""
    for one in tables:
        if one.title:
            say(on, one.title, "bold")
        table(on, one.rows, *one.header)
        say(on)


def usd(amount: float | None) -> str:
    """An amount of money."""
    return "price unknown" if amount is None else f"${amount:,.2f}"
