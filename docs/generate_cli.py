"""Write docs/cli.md from the command line itself, so that the two cannot drift apart.

make docs
"""

from __future__ import annotations

from pathlib import Path

import typer

from trueup.cli import app

TARGET = Path(__file__).with_name("cli.md")


def page() -> str:
    """Every command with its help, as the terminal shows it."""
    group = typer.main.get_command(app)
    parts = [
        "# The command line\n\n"
        "Made from the program's own help by `make docs`; do not edit.\n\n"
        + _block(group, "trueup")
    ]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        parts.append(f"## trueup {name}\n\n" + _block(command, f"trueup {name}"))
    return "\n".join(parts)


def _block(command: object, name: str) -> str:
    context = typer.Context(command, info_name=name, terminal_width=96, max_content_width=96)  # type: ignore[arg-type]
    return f"```text\n{context.get_help().rstrip()}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
    print(f"{TARGET} is written.")
