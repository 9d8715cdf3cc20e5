"""Write docs/cli.md from the command line itself, so that the two cannot drift apart.

make docs
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import typer

from trueup.cli import app

TARGET = Path(__file__).with_name("cli.md")


def page() -> str:
    """Every command with its arguments and options."""
    group: Any = typer.main.get_command(app)
    parts = [
        "# The command line\n\nMade from the program's own help by `make docs`; do not edit.\n",
        "Every command ends with 0, with 1 and a sentence on what went wrong and what to do, with\n"
        "2 for arguments that do not exist, or with 130 when it was interrupted.\n",
    ]
    parts += [_command(name, command) for name, command in group.commands.items()]
    return "\n".join(parts)


def _command(name: str, command: Any) -> str:
    # Laid out here and not by the framework, whose next version would lay it out otherwise.
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    usage = " ".join(["trueup", name, "[OPTIONS]", *(one.name.upper() for one in arguments)])
    lines = [f"## {usage}", "", inspect.cleandoc(command.help or ""), ""]
    lines += ["| | |", "| --- | --- |"]
    lines += [f"| `{one.name.upper()}` | {one.help} |" for one in arguments]
    lines += [
        f"| {', '.join(f'`{opt}`' for opt in one.opts)} | {one.help} |"
        for one in command.params
        if one.param_type_name == "option"
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
    print(f"{TARGET} is written.")
