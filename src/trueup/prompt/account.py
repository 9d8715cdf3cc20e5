"""What a search says of itself: each round as JSON, and the result, the same for every search.

recorded(turn, archive, policy_calls, notes)["survivors"]
concluded(best, archive, search, validation, candidates, calls, notes).validation_score
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from trueup.loop import Round
from trueup.prompt.candidates import Archive, Candidate
from trueup.prompt.states import Found, Judged, Proposal, State
from trueup.types import Query


def recorded(
    turn: Round[State, Proposal, Judged],
    archive: Archive,
    policy_calls: int,
    notes: Sequence[str],
) -> dict[str, Any]:
    """A round as JSON: what was proposed by which arm, and how it did."""
    best = turn.state.beam[0].candidate
    return {
        "number": turn.number,
        "phase": turn.state.phase,
        "best": best.id,
        "score": archive.mean(best),
        "policy_calls": policy_calls,
        "survivors": [node.candidate.id for node in turn.state.beam],
        "candidates": [
            {
                "id": one.candidate.id,
                "parent": one.candidate.parent,
                "arm": one.candidate.arm,
                "note": one.candidate.note,
                "instruction": one.candidate.prompt.instruction,
                "demonstrations": len(one.candidate.prompt.demonstrations),
                "retrieval": asdict(one.candidate.prompt.retrieval),
                "score": archive.mean(one.candidate),
                "queries": len(one.measurements),
                "failed": sum(m.reward is None for m in one.measurements),
                "dropped": one.dropped,
            }
            for one in turn.judged
        ],
        "notes": list(notes),
    }


def concluded(
    best: Candidate,
    archive: Archive,
    search: Sequence[Query],
    validation: Sequence[Query],
    candidates: int,
    policy_calls: int,
    notes: Sequence[str],
) -> Found:
    """The best candidate, with its scores on the queries of the search and of validation."""
    own = set(search)
    return Found(
        prompt=best.prompt,
        search_score=archive.mean(best, [query for query in archive.of(best) if query in own]),
        validation_score=archive.mean(best, validation),
        candidates=candidates,
        policy_calls=policy_calls,
        notes=tuple(notes),
    )
