"""What others wrote is read or refused, whatever it is; `benchmarks/fuzz.py` does it at length."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from .targets import targets

FOLDER = tempfile.TemporaryDirectory()
TARGETS = targets(Path(FOLDER.name))


@pytest.mark.parametrize("name", TARGETS)
def test_it_is_read_or_refused(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def run(value: object) -> None:
        target.run(value)

    run()
