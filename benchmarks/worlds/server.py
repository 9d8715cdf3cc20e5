"""A world behind HTTP, as any OpenAI-compatible server: run your optimizer against it.

    python benchmarks/worlds/server.py --world deceptive --seed 0 --port 8080
    # or every world and seed at once: http://127.0.0.1:8080/w/conflicting/7/v1/...

    POST /v1/chat/completions    model "policy", "judge" or "writer"
    GET  /v1/models
    GET  /world                  queries to search and to validate on, pool, lines, start
    POST /judge                  {"query", "reply"} -> {"score", "criteria", "feedback"}: noisy
    POST /truth                  {"system", "demonstrations"} -> {"quality"}: exact, for curves only
    GET  /counts                 what was asked of each role so far

It prints one line with its address once it listens. `--latency` waits so many seconds before
every answer. Each door is there for every world and seed too, under /w/WORLD/SEED.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from worlds.players import Players
from worlds.rules import KINDS
from worlds.world import World


@lru_cache(maxsize=256)
def players(kind: str, seed: int) -> Players:
    return Players(World(kind, seed))


class Doors:
    """The doors of all worlds; without /w/WORLD/SEED those of the one that was named."""

    def __init__(self, kind: str, seed: int, latency: float) -> None:
        self._usual = (kind, seed)
        self._latency = latency
        self._counts: Counter[str] = Counter()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 2**20)
        for door in ("", "/w/{world}/{seed:\\d+}"):
            app.router.add_post(f"{door}/v1/chat/completions", self.chat)
            app.router.add_get(f"{door}/v1/models", self.models)
            app.router.add_get(f"{door}/world", self.material)
            app.router.add_post(f"{door}/judge", self.judge)
            app.router.add_post(f"{door}/truth", self.truth)
            app.router.add_get(f"{door}/counts", self.counts)
        return app

    def _players(self, request: web.Request) -> Players:
        usual, seed = self._usual
        kind = request.match_info.get("world", usual)
        if kind not in KINDS:
            raise web.HTTPNotFound(
                text=f"There is no world {kind!r}. There are: {', '.join(KINDS)}."
            )
        return players(kind, int(request.match_info.get("seed", seed)))

    async def _body(self, request: web.Request) -> dict[str, Any]:
        try:
            body = await request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise web.HTTPBadRequest(text="The body must be one JSON object.")
        return body

    async def chat(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        found = self._players(request)
        model = str(body.get("model", "policy"))
        messages = [
            {"role": str(one.get("role", "user")), "content": _text(one.get("content"))}
            for one in body.get("messages", ())
        ]
        if not messages:
            raise web.HTTPBadRequest(text="`messages` is empty.")
        texts = found.answer(
            model,
            messages,
            n=int(body.get("n") or 1),
            seed=int(body.get("seed") or 0),
            schema=_schema(body.get("response_format")),
        )
        if self._latency:
            await asyncio.sleep(self._latency)
        tokens_in = sum(len(one["content"]) for one in messages) // 4
        tokens_out = sum(map(len, texts)) // 4
        role = next((one for one in ("judge", "writer") if one in model), "policy")
        where = f"{found.world.kind}/{found.world.seed}/{role}"
        self._counts[f"{where}/calls"] += 1
        self._counts[f"{where}/tokens"] += tokens_in + tokens_out
        return web.json_response(
            {
                "id": "chatcmpl-world",
                "object": "chat.completion",
                "created": 0,
                "model": model,
                "choices": [
                    {
                        "index": place,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": "stop",
                    }
                    for place, text in enumerate(texts)
                ],
                "usage": {
                    "prompt_tokens": tokens_in,
                    "completion_tokens": tokens_out,
                    "total_tokens": tokens_in + tokens_out,
                },
            }
        )

    async def models(self, request: web.Request) -> web.Response:
        data = [{"id": one, "object": "model"} for one in ("policy", "judge", "writer")]
        return web.json_response({"object": "list", "data": data})

    async def material(self, request: web.Request) -> web.Response:
        world = self._players(request).world
        return web.json_response(
            {
                "world": world.kind,
                "seed": world.seed,
                "start": world.start,
                "search": world.search,
                "validation": world.validation,
                "lines": [{"text": text, "criterion": name} for text, name in world.lines],
                "demonstrations": [{"query": q, "reply": r} for q, r in world.pool],
            }
        )

    async def judge(self, request: web.Request) -> web.Response:
        body, found = await self._body(request), self._players(request)
        query = found.world.asked(str(body.get("query", ""))).text
        scores = found.scores(query, str(body.get("reply", "")))
        told = "; ".join(f"{name} {value} of 5" for name, value in scores.items())
        mean = sum(scores.values()) / len(scores)
        self._counts[f"{found.world.kind}/{found.world.seed}/judge/calls"] += 1
        return web.json_response({"score": mean, "criteria": scores, "feedback": told})

    async def truth(self, request: web.Request) -> web.Response:
        """`demonstrations` stand in front of every query; `by_query` gives some for each."""
        body, found = await self._body(request), self._players(request)
        usual = [(one["query"], one["reply"]) for one in body.get("demonstrations", ())]
        own = {
            query: [(one["query"], one["reply"]) for one in shown]
            for query, shown in (body.get("by_query") or {}).items()
        }
        quality = found.world.true_quality(
            str(body.get("system", "")), lambda query: own.get(query, usual)
        )
        return web.json_response(
            {"quality": quality, "plain": found.world.true_quality("You are a helpful assistant.")}
        )

    async def counts(self, request: web.Request) -> web.Response:
        return web.json_response(dict(self._counts))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _schema(asked: Any) -> dict[str, Any] | None:
    if isinstance(asked, dict) and isinstance(asked.get("json_schema"), dict):
        schema = asked["json_schema"].get("schema")
        return schema if isinstance(schema, dict) else None
    return None


async def _serve(args: argparse.Namespace) -> None:
    runner = web.AppRunner(Doors(args.world, args.seed, args.latency).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, args.host, args.port).start()
    host, port = runner.addresses[0][:2]
    print(json.dumps({"url": f"http://{host}:{port}", "worlds": list(KINDS)}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A world behind HTTP.")
    parser.add_argument("--world", choices=list(KINDS), default="easy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
