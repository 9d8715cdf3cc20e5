"""What others wrote is read or refused, whatever it is; `benchmarks/fuzz.py` does it at length."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from .targets import (
    CHAT,
    CRITERIA,
    ERROR,
    JOB,
    OLDER,
    REWRITE,
    ROWS,
    SCORES,
    SELECTION,
    SHOWN,
    targets,
)

FOLDER = tempfile.TemporaryDirectory()
TARGETS = targets(Path(FOLDER.name))


@pytest.mark.parametrize("name", TARGETS)
def test_it_is_read_or_refused(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def run(value: object) -> None:
        assert target.run(value) in (True, False)

    run()


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("wire: answers", CHAT),
        ("wire: answers", OLDER),
        ("wire: errors", (400, json.dumps(ERROR).encode())),
        ("wire: lists", {"data": [{"id": "m", "embedding": [1.0]}]}),
        ("http: bodies", (200, json.dumps(CHAT).encode(), "plain")),
        ("shape", json.dumps({"score": 4, "why": "good"})),
        ("ask", json.dumps(SCORES)),
        ("ask: scores", "3/5"),
        ("dynamic", (json.dumps(SELECTION), json.dumps(SCORES))),
        ("pairs", json.dumps({"reason": "r", "better": "A"})),
        ("writing", json.dumps(REWRITE)),
        ("likelihood", [("Yes", -0.5), (" no", -1.0)]),
        ("data: json", json.dumps(ROWS[:1]).encode()),
        ("data: json", json.dumps(ROWS[1:]).encode()),
        ("data: text", b"Why?"),
        ("data: demonstrations", json.dumps(SHOWN).encode()),
        ("toml: job", JOB.encode()),
        ("toml: criteria", CRITERIA.encode()),
    ],
)
def test_what_is_whole_is_read(name: str, whole: object) -> None:
    assert TARGETS[name].run(whole) is True


HUGE = 10**400
LOST = '[[{"00000000": {"": null, "0": null}, "```json0: null}], [{"0": {"": null}}]]'
"""On this a JSON repair loses its way."""


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("wire: answers", {**CHAT, "usage": {"completion_tokens": HUGE}}, True),
        ("wire: answers", {"choices": [{"text": "", "logprobs": {"tokens": ["a"],
                                        "token_logprobs": [-HUGE]}}]}, True),
        ("wire: lists", {"data": [{"id": "m", "embedding": [HUGE]}]}, False),
        ("ask", LOST, True),
        ("shape", LOST, False),
    ],
)  # fmt: skip
def test_what_was_found_at_length(name: str, value: object, read: bool) -> None:
    assert TARGETS[name].run(value) is read
