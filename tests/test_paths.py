"""The home of nobody is a path at which nothing is, to every door that takes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trueup import Aligned, Job
from trueup.data import read_demonstrations, read_queries
from trueup.errors import DataError, ModelUnavailable, SettingsError, StoreError
from trueup.export.finished import finished
from trueup.models.named import open_model
from trueup.paths import expanded

NOBODYS = "~nobody-lives-here/x"


def test_a_home_is_put_in_and_what_is_no_path_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert expanded("~/runs/a") == Path("/home/someone/runs/a")
    assert expanded(NOBODYS) == Path(NOBODYS)


@pytest.mark.parametrize(
    ("door", "error"),
    [
        (Aligned.load, DataError),
        (Job.load, SettingsError),
        (finished, StoreError),
        (read_demonstrations, DataError),
        (read_queries, DataError),
        (lambda path: open_model(f"gguf:{path}.gguf").identity, ModelUnavailable),
    ],
)
def test_it_is_said_that_nothing_is_there(
    door: Callable[[str], Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="nobody-lives-here"):
        door(NOBODYS)
