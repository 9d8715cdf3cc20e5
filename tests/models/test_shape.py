"""JSON out of what a model wrote, in time."""

from __future__ import annotations

import time

import pytest

from trueup.models.shape import fitting

SCORE = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}


@pytest.mark.parametrize("text", ["{" * 100 + "a " * 2500, "{" * 8 + "a " * 20_000])
def test_a_text_that_would_take_seconds_to_repair_is_not_repaired(text: str) -> None:
    began = time.process_time()
    assert fitting(text, SCORE).problem == "$ is not of type object"
    assert time.process_time() - began < 0.5
