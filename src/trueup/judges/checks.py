"""Criteria that are code: public names gathered in one place."""

from __future__ import annotations

from trueup.judges.refusal import refusal_strength, refused
from trueup.judges.relevance import on_topic, relevance
from trueup.judges.repetition import copied, degenerate, echoes, repetition

__all__ = [
    "copied",
    "degenerate",
    "echoes",
    "on_topic",
    "refusal_strength",
    "refused",
    "relevance",
    "repetition",
]
