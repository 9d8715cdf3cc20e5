"""One door for every method: calls are counted, limited and remembered alike, whoever makes them.

    async with Gateway() as gateway:
        run = gateway.open("gepa-0", policy=model, writer=model, judge=judge, queries=queries,
                           sampling=Sampling(max_tokens=256), calls=300)
        ...                       # a tool talks to run.url; ours is an Endpoint in front of it
        run.spent()               # Spent(policy_calls=300, writer_calls=12, tokens=91234, steps=41)

    POST {run.url}/policy/v1/chat/completions     an OpenAI-compatible server, temperature 0
    POST {run.url}/writer/v1/chat/completions     the same, with the temperature that was asked for
    POST {run.url}/judge    {"query", "reply"} -> {"score" 0 to 1, "criteria", "feedback"}
    GET  {run.url}/left     {"calls", "tokens"}: what is left of the budget

Rules, the same for all. A call is a distinct request: one that the same run has made before is
answered again for nothing. What is over the budget is answered 402, and never reaches the model.
How the policy samples is decided here, not by the tool. Steps are the most requests of which no
two overlapped in time: the longest chain that a faster server could not have shortened. Replies
are kept by the models it is given (`Remembered`), not here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from aiohttp import web

from trueup.errors import ModelError
from trueup.judges.judge import Judge
from trueup.models.model import Model
from trueup.prompt.writing import findings
from trueup.types import Message, Query, Request, Sampling, Verdict

Score = Callable[[Query, str, Verdict], float]
"""A verdict as the number from 0 to 1 that an optimizer's metric returns."""


def by_reward(query: Query, reply: str, verdict: Verdict) -> float:
    """The verdict's reward, 1 to 5, on a scale of 0 to 1; what could not be judged is 0, as
    optimizers whose metric must be a number have it."""
    return 0.0 if verdict.reward is None else (verdict.reward - 1) / 4


@dataclass(frozen=True)
class Spent:
    """What a run took."""

    policy_calls: int
    writer_calls: int
    judge_calls: int
    tokens_in: int
    tokens_out: int
    refused: int
    """Requests over the budget."""
    steps: int

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


class Run:
    """One method's way to the models, and what it has used of them."""

    def __init__(
        self,
        url: str,
        *,
        policy: Model,
        writer: Model,
        judge: Judge,
        queries: Mapping[str, Query],
        sampling: Sampling,
        calls: int,
        tokens: int | None,
        score: Score,
        delay: float,
    ) -> None:
        self.url = url
        self.models = {"policy": policy, "writer": writer}
        self.calls, self.tokens = calls, tokens
        self._judge, self._score = judge, score
        self._queries = queries
        self._sampling = sampling
        self._delay = delay
        self._known: dict[str, asyncio.Task[Any]] = {}
        self._counts: Counter[str] = Counter()
        self._spans: list[tuple[float, float]] = []

    @property
    def left(self) -> int:
        """Policy calls that may still be made; 0 once the tokens are gone."""
        used = self._counts["tokens_in"] + self._counts["tokens_out"]
        if self.tokens is not None and used >= self.tokens:
            return 0
        return max(0, self.calls - self._counts["policy"])

    def spent(self) -> Spent:
        counts = self._counts
        return Spent(
            counts["policy"],
            counts["writer"],
            counts["judge"],
            counts["tokens_in"],
            counts["tokens_out"],
            counts["refused"],
            longest_chain(self._spans),
        )

    async def answered(self, role: str, body: Mapping[str, Any]) -> Any:
        """The model's reply; None where the budget does not reach."""
        request = self._request(role, body)
        address = f"{role} {request.address('')}"
        if address not in self._known:
            # A writer is limited too, or a tool whose proposals all fail would ask for ever.
            if self.left == 0 or self._counts[role] >= self.calls:
                self._counts["refused"] += 1
                return None
            self._counts[role] += 1
            self._known[address] = asyncio.ensure_future(self._paid(role, request))
        return await self._known[address]

    async def _paid(self, role: str, request: Request) -> Any:
        began = time.perf_counter()
        if self._delay:
            await asyncio.sleep(self._delay)
        reply = await self.models[role].reply(request)
        self._spans.append((began, time.perf_counter()))
        self._counts["tokens_in"] += reply.usage.tokens_in
        self._counts["tokens_out"] += reply.usage.tokens_out
        return reply

    def _request(self, role: str, body: Mapping[str, Any]) -> Request:
        messages = tuple(Message(one["role"], text(one["content"])) for one in body["messages"])
        if role == "policy":
            return Request(messages, self._sampling)
        sampling = Sampling(
            temperature=float(body.get("temperature") or 0.0),
            top_p=float(body.get("top_p") or 1.0),
            max_tokens=min(int(body.get("max_tokens") or 512), 2048),
            seed=int(body.get("seed") or 0),
            n=int(body.get("n") or 1),
        )
        asked = (body.get("response_format") or {}).get("json_schema") or {}
        return Request(messages, sampling, asked.get("schema"))

    async def judged(self, query: str, reply: str) -> dict[str, Any]:
        """What the judge says, as a metric gives it."""
        self._counts["judge"] += 1
        asked = self._queries[query]
        verdict = await self._judge(asked, reply)
        return {
            "score": self._score(asked, reply, verdict),
            "criteria": {one.criterion: one.value for one in verdict.scores},
            "feedback": findings(verdict),
        }

    async def judge(self, query: Query, reply: str) -> Verdict:
        """The same judge for ours, counted."""
        self._counts["judge"] += 1
        return await self._judge(query, reply)


def text(content: Any) -> str:
    """A message's content, which clients may send in parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def longest_chain(spans: Sequence[tuple[float, float]]) -> int:
    """The most spans of which no two overlap (earliest end first is optimal)."""
    count, free = 0, float("-inf")
    for began, ended in sorted(spans, key=lambda span: span[1]):
        if began >= free:
            count, free = count + 1, ended
    return count


class Gateway:
    """A server on a free loopback port with a door for every run. `delay`, in seconds, is added to
    every paid call, so that it shows what a method asks for at once of models that take no time."""

    def __init__(self, delay: float = 0.0) -> None:
        self._delay = delay
        self._runs: dict[str, Run] = {}

    async def __aenter__(self) -> Gateway:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/{run}/judge", self._judged)
        app.router.add_get("/{run}/left", self._left)
        app.router.add_get("/{run}/{role}/v1/models", self._models)
        app.router.add_post("/{run}/{role}/v1/chat/completions", self._answered)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    def open(
        self,
        name: str,
        *,
        policy: Model,
        writer: Model,
        judge: Judge,
        queries: Sequence[Query],
        sampling: Sampling,
        calls: int,
        tokens: int | None = None,
        score: Score = by_reward,
    ) -> Run:
        """A run under a new name. `queries` are all that may be judged, found by their text."""
        run = Run(
            f"{self.url}/{name}",
            policy=policy,
            writer=writer,
            judge=judge,
            queries={query.text: query for query in queries},
            sampling=replace(sampling, temperature=0.0, n=1),
            calls=calls,
            tokens=tokens,
            score=score,
            delay=self._delay,
        )
        self._runs[name] = run
        return run

    def close(self, name: str) -> None:
        """Forget a run."""
        self._runs.pop(name, None)

    def _run(self, request: web.Request) -> Run:
        run = self._runs.get(request.match_info["run"])
        if run is None:
            raise web.HTTPNotFound(text="There is no such run.")
        return run

    async def _judged(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response(await self._run(request).judged(body["query"], body["reply"]))

    async def _left(self, request: web.Request) -> web.Response:
        run = self._run(request)
        return web.json_response({"calls": run.left, **asdict(run.spent())})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": request.match_info["role"]}]})

    async def _answered(self, request: web.Request) -> web.Response:
        run, role = self._run(request), request.match_info["role"]
        if role not in run.models:
            raise web.HTTPNotFound(text=f"There is no {role} here: policy or writer.")
        return await _replied(run.answered(role, await request.json()), role)


async def _replied(answer: Awaitable[Any], role: str) -> web.Response:
    try:
        reply = await answer
    except ModelError as error:
        return web.json_response({"error": {"message": str(error)}}, status=400)
    if reply is None:
        told = {"message": "The budget of this run is spent.", "code": "insufficient_quota"}
        return web.json_response({"error": told}, status=402)
    return web.json_response(
        {
            "id": "reply",
            "object": "chat.completion",
            "created": 0,
            "model": role,
            "choices": [
                {
                    "index": place,
                    "message": {"role": "assistant", "content": one.text},
                    "finish_reason": one.finish if one.finish in ("stop", "length") else "stop",
                }
                for place, one in enumerate(reply.choices)
            ],
            "usage": {
                "prompt_tokens": reply.usage.tokens_in,
                "completion_tokens": reply.usage.tokens_out,
                "total_tokens": reply.usage.tokens_in + reply.usage.tokens_out,
            },
        }
    )
