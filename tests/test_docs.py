"""The pages about the project are true: the tree is whole, and the links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_layers import LEVELS

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(f"docs/{p.name}" for p in sorted(
    (ROOT / "docs").glob("*.md")))]  # fmt: skip


def tree(page: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    (block,) = re.findall(r"```text\n(src/trueup/\n.*?)```", text, re.DOTALL)
    return block.splitlines()


def test_the_tree_names_every_module_and_no_other() -> None:
    found, room = set(), ""
    for line in tree("README.md")[1:]:
        name = re.split(r"[├│─\s]+", line)[1]
        if name.endswith("/"):
            room = name
        else:
            found.add((room if line.startswith("│") else "") + name)
    source = ROOT / "src" / "trueup"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    inner = {name for name in modules if name.endswith("/__init__.py")}
    assert found == modules - inner | {"report/report.md.j2"}


def test_both_pages_show_the_same_tree() -> None:
    assert tree("README.md") == tree("docs/architecture.md")


def test_the_levels_are_those_that_are_tested() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = [
        set(re.findall(r"`([\w/]+)`", row)) for row in re.findall(r"^\| \d+ \| .*$", text, re.M)
    ]
    assert rows == LEVELS[: len(rows)]
    assert [*LEVELS[len(rows) :]] == [{"__main__"}]


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_spoken_of_are_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = re.findall(r"`((?:docs|examples|tests|benchmarks)/[\w./-]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
