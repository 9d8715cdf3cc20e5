"""Published DRPO, counted: spec figures of the official code's default run (section 1.10)."""

from __future__ import annotations

import json

from trueup.judges.criteria import POOL
from trueup.judges.dynamic import Dynamic
from trueup.loop import rounds
from trueup.models.scripted import Scripted
from trueup.prompt.drpo import Drpo
from trueup.prompt.settings import Settings
from trueup.types import Query, Request

QUERIES = [Query(f"What is the meaning of number {n}?") for n in range(60)]


class Case:
    """One published run whose judge always gives the same score."""

    def __init__(self, score: float, settings: Settings | None = None) -> None:
        self.written = 0
        self.policy = Scripted(lambda request: "An answer.", identity="policy")
        self.writer = Scripted(self._write, identity="writer")
        self.score = score
        self.judge = Scripted(self._judge, identity="judge")
        self.method = Drpo(
            policy=self.policy,
            judge=Dynamic(self.judge, POOL),
            search=QUERIES,
            writer=self.writer,
            settings=settings or Settings.published(),
        )

    def _write(self, request: Request) -> str:
        self.written += 1
        return json.dumps({"analysis": "", "plan": "", "instruction": f"Version {self.written}."})

    def _judge(self, request: Request) -> str:
        assert request.schema is not None
        if "criteria" in request.schema["properties"]:
            return json.dumps({"analysis": {}, "reasoning": "r", "criteria": ["Clarity", "Safety"]})
        return json.dumps(
            {name: {"reason": "because", "score": self.score} for name in ("Clarity", "Safety")}
        )

    @property
    def selections(self) -> int:
        return sum("criteria" in (r.schema or {})["properties"] for r in self.judge.requests)

    @property
    def judgements(self) -> int:
        return len(self.judge.requests) - self.selections


async def test_no_query_skipped() -> None:
    case = Case(score=3)
    turns = [turn async for turn in rounds(case.method)]
    assert (
        len(case.policy.requests),
        case.judgements,
        len(case.writer.requests),
        case.selections,
    ) == (112, 112, 37, 20)
    assert turns[-1].state.limit == 20


async def test_every_query_skipped() -> None:
    case = Case(score=5)
    turns = [turn async for turn in rounds(case.method)]
    assert (
        len(case.policy.requests),
        case.judgements,
        len(case.writer.requests),
        case.selections,
    ) == (30, 30, 0, 30)
    assert turns[-1].state.limit == 30
