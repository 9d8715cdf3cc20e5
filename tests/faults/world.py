"""A server whose every answer is decided by the request alone, and a search that depends on all.

A change in any reply changes scores, so that the same prompt in the end means the same replies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from tests.models.fake_server import Body, FakeServer
from trueup.judges.criteria import POOL
from trueup.judges.dynamic import Dynamic
from trueup.judges.judge import Judge
from trueup.judges.likelihood import Likelihood
from trueup.loop import rounds
from trueup.models.budgeted import Budget, Budgeted
from trueup.models.endpoint import Endpoint
from trueup.models.patience import Patience
from trueup.models.remembered import Remembered
from trueup.prompt.drpo import Drpo
from trueup.prompt.prompt import Prompt
from trueup.prompt.settings import Settings
from trueup.prompt.states import Found
from trueup.store.calls import Calls
from trueup.types import Demonstration, Query, Sampling

REFUSAL = "I'm sorry, but I can't help with that."
PATIENT = Patience(attempts=12, first_wait=0.001, longest_wait=0.01)


def drawn(body: Body, place: int = 0) -> int:
    return crc32(f"{place} {json.dumps(body, sort_keys=True)}".encode())


def said(body: Body, place: int) -> str:
    asked = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    names, number = list(asked.get("properties", {})), drawn(body, place)
    if not names:
        return REFUSAL if number % 3 == 0 else f"Take tool {number % 97}, then do step {number}."
    if "criteria" in names:
        analysis = dict.fromkeys(asked["properties"]["analysis"]["required"], "")
        return json.dumps(
            {"analysis": analysis, "reasoning": "r", "criteria": ["Safety", "Clarity"]}
        )
    if "instruction" in names:
        instruction = f"Be kind and follow rule number {number % 1000}."
        return json.dumps(dict.fromkeys(names, "") | {"instruction": instruction})
    return json.dumps({name: {"reason": "r", "score": 1 + number % 5} for name in names})


def logprobs(body: Body) -> Any:
    share = -0.01 - drawn(body) % 1000 / 500
    top = [{"token": "Yes", "logprob": share}, {"token": "No", "logprob": -2.5}]
    return {"content": [{"token": "Yes", "logprob": share, "top_logprobs": top}]}


def deterministic(server: FakeServer) -> FakeServer:
    server.write = said
    server.logprobs = logprobs
    return server


def queries(count: int, first: int = 0) -> list[Query]:
    kinds = ("everyday", "harmful")
    return [
        Query(f"How do I mend thing number {n}?", kinds[n % 2], should_answer=n % 2 == 0)
        for n in range(first, first + count)
    ]


POOL_OF_DEMONSTRATIONS = [
    Demonstration(f"How do I wash object {n}?", REFUSAL if n % 2 else f"Wash it {n} times.",
                  shows_answer=n % 2 == 0)
    for n in range(10)
]  # fmt: skip


@dataclass(frozen=True)
class Searched:
    found: Found
    records: tuple[str, ...]
    distinct: int
    """Requests, each counted once."""


async def search(
    url: str,
    folder: Path,
    *,
    judged_by: str = "dynamic",
    concurrency: int = 64,
    calls: int = 80,
    timeout: float = 2.0,
    patience: Patience = PATIENT,
    api_key: str | None = None,
) -> Searched:
    """DRPO as improved here, with policy, writer and judge behind one URL."""
    settings = Settings(
        depth=4, minibatch=6, repeated=2, first_answers=8, validation=6, calls=calls,
        finalists=2, actions=2, patience=9, least_answered=0.0,
        reply=Sampling(max_tokens=64), writing=Sampling(temperature=0.2, max_tokens=256),
    )  # fmt: skip
    budget = Budget()
    endpoint = Endpoint(
        url, "fake", concurrency=concurrency, timeout=timeout, patience=patience, api_key=api_key
    )
    with Calls(folder / "calls.sqlite") as store:
        policy, writer, judging = (
            Budgeted(Remembered(endpoint, store, role), budget)
            for role in ("policy", "writer", "judge")
        )
        judge: Judge = Dynamic(judging, POOL) if judged_by == "dynamic" else Likelihood(judging)
        method = Drpo(
            policy=policy, judge=judge, search=queries(24), validation=queries(8, 24),
            start=Prompt("Be helpful."), pool=POOL_OF_DEMONSTRATIONS, writer=writer,
            settings=settings,
        )  # fmt: skip
        records = []
        try:
            async for turn in rounds(method):
                records.append(json.dumps(method.record(turn)))
                state = turn.state
        finally:
            await endpoint.close()
        return Searched(method.result(state), tuple(records), budget.spent.calls)
