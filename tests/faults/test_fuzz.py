"""What others wrote is read or refused, whatever it is; `benchmarks/fuzz.py` does it at length."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from .targets import CHAT, targets

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


HUGE = 10**400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wire: answers", {**CHAT, "usage": {"completion_tokens": HUGE}}),
        ("wire: answers", {"choices": [{"text": "", "logprobs": {"tokens": ["a"],
                                        "token_logprobs": [-HUGE]}}]}),
        ("wire: lists", {"data": [{"id": "m", "embedding": [HUGE]}]}),
        ("ask", '[[{"00000000": {"": null, "0": null}, "```json0: null}], [{"0": {"": null}}]]'),
        ("shape", '[[{"00000000": {"": null, "0": null}, "```json0: null}], [{"0": {"": null}}]]'),
    ],
)  # fmt: skip
def test_what_was_found_at_length(name: str, value: object) -> None:
    TARGETS[name].run(value)
