"""The list of public names is honest: the two spellings of it agree, and each name is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import trueup


def told_to_type_checkers() -> dict[str, str]:
    tree = ast.parse(Path(trueup.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name
            found[alias.name] = str(node.module).removeprefix("trueup.")
    return found


def test_both_lists_are_the_same() -> None:
    assert told_to_type_checkers() == trueup._HOME
    assert trueup.__all__ == sorted([*trueup._HOME, "__version__"])


def test_every_name_is_there_and_is_documented() -> None:
    for name in trueup.__all__:
        found = getattr(trueup, name)
        if callable(found):
            assert found.__doc__, name
        assert name in dir(trueup)


def test_another_name_is_refused_as_usual() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = trueup.nonsense  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_package() -> None:
    text = (Path(trueup.__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert f'version = "{trueup.__version__}"' in text
