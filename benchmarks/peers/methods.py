"""Every method that is compared, by name: a scene and a run at the gateway in, a prompt out.

    prompt, note = await METHODS["ours"](scene, run, workers, budget=300, seed=0)

All ask the policy through the run, so all are counted and limited alike.

    plain          the prompt to start from, nothing shown
    urial          URIAL's form (arXiv 2312.01552): a system text and three constant demonstrations
    random         random prompts of the same material, the best on a minibatch kept
    published      published DRPO (arXiv 2411.08733), stopped when the budget is spent
    ours           what `trueup align` does by default
    paired         `drpo` with our settings: whole prompts compared in pairs
    gepa, miprov2, copro            each tool with what it brings
    gepa+pool, miprov2+pool, copro+pool    each given our lines and demonstrations too
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway import Run
from scenes import Scene, task

from trueup.loop import rounds
from trueup.models.endpoint import Endpoint
from trueup.prompt import METHODS as SEARCHES
from trueup.prompt.baselines import baseline
from trueup.prompt.candidates import balanced
from trueup.prompt.ordering import alternating
from trueup.prompt.prompt import Prompt, Prompted
from trueup.prompt.retrieval import Retrieval
from trueup.prompt.settings import Settings
from trueup.types import Demonstration, Request, conversation

HERE = Path(__file__).resolve().parent
PYTHON = HERE / ".venv" / "bin" / "python"
IN_FLIGHT = 64
LEVEL_CALLS = 6
"""Of published DRPO: a beam of two, three proposals each."""
Found = tuple[Prompt, str]
Method = Callable[..., Awaitable[Found]]


class Worker:
    """A process of the peers' environment, one task at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._free = asyncio.Lock()

    async def done(self, line: str) -> dict[str, Any]:
        async with self._free:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    str(PYTHON),
                    str(HERE / "worker.py"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    limit=2**24,
                )
            process = self._process
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
            answer = await process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the peers' process ended ({await process.wait()}) at {line[:200]}")
        return dict(json.loads(answer))

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()


def endpoint(run: Run, role: str) -> Endpoint:
    return Endpoint(
        f"{run.url}/{role}/v1", role, concurrency=IN_FLIGHT, identity=role, trusted=True
    )


async def plain(scene: Scene, run: Run, worker: Worker, budget: int, seed: int) -> Found:
    return scene.start, ""


async def urial(scene: Scene, run: Run, worker: Worker, budget: int, seed: int) -> Found:
    usual = baseline("urial")
    if scene.labelled:
        return usual, ""
    # In a world only its own demonstrations show anything: two answers, a refusal if it has any.
    answers = [one for one in scene.pool if one.shows_answer]
    refusals = [one for one in scene.pool if not one.shows_answer]
    shown = (*answers[:2], *(refusals or answers[2:])[:1])
    return replace(usual, demonstrations=shown, retrieval=Retrieval(3, by="fixed")), ""


async def drawn(scene: Scene, run: Run, worker: Worker, budget: int, seed: int) -> Found:
    """A line and four demonstrations each, measured on one minibatch, the best kept."""
    chance = random.Random(seed)
    lines = sorted({line for lines in scene.lines.values() for line in lines})
    queries = list(scene.search)
    chance.shuffle(queries)
    batch = alternating(queries)[: scene.settings.minibatch]
    policy = endpoint(run, "policy")
    best: tuple[float, Prompt] | None = None
    for _ in range(budget // len(batch)):
        line = chance.choice(["", *lines])
        prompt = Prompt(
            "\n".join([scene.start.instruction, line]).strip(),
            tuple(chance.sample(scene.pool, 4)),
            Retrieval(4, by="fixed"),
        )
        prompted = Prompted(policy, prompt)
        replies = await asyncio.gather(
            *(prompted.reply(Request(conversation(one), scene.settings.reply)) for one in batch)
        )
        verdicts = [
            await run.judge(query, reply.text) for query, reply in zip(batch, replies, strict=True)
        ]
        rewards = zip(batch, (one.reward for one in verdicts), strict=True)
        score = balanced({query: reward for query, reward in rewards if reward is not None}) or 0
        if best is None or score > best[0]:
            best = (score, prompt)
    await policy.close()
    assert best is not None
    return best[1], ""


async def published(scene: Scene, run: Run, worker: Worker, budget: int, seed: int) -> Found:
    settings = replace(Settings.published(seed=seed), reply=scene.settings.reply)
    # Stage two starts with two retrieved demonstrations, the nearest first.
    shown = Retrieval(2, order="nearest first")
    start = replace(scene.start, demonstrations=scene.pool, retrieval=shown)
    return await _searched(scene, run, settings, start, writes=True, name="published")


async def ours(scene: Scene, run: Run, worker: Worker, budget: int, seed: int) -> Found:
    name = "composed" if scene.writes else "drpo"
    start = scene.start
    return await _searched(scene, run, scene.settings, start, writes=scene.writes, name=name)


async def paired(scene: Scene, run: Run, worker: Worker, budget: int, seed: int) -> Found:
    return await _searched(scene, run, scene.settings, scene.start, writes=scene.writes)


async def _searched(
    scene: Scene,
    run: Run,
    settings: Settings,
    start: Prompt,
    *,
    writes: bool,
    name: str = "drpo",
) -> Found:
    policy, writer = endpoint(run, "policy"), endpoint(run, "writer")
    method: Any = SEARCHES[name](
        policy=policy,
        judge=run.judge,
        search=scene.search,
        validation=scene.validation if settings.validation else (),
        start=start,
        pool=scene.pool,
        writer=writer if writes else None,
        remedies=scene.lines,
        settings=settings,
    )
    state, turns = None, 0
    async for turn in rounds(method):
        state, turns = turn.state, turns + 1
        if settings.calls is None and run.left < LEVEL_CALLS:
            break  # published DRPO knows no budget: what it has by now is its result
    await policy.close()
    await writer.close()
    assert state is not None
    return method.result(state).prompt, f"{turns} rounds"


def peer(tool: str, material: str) -> Method:
    async def found(scene: Scene, run: Run, worker: Worker, budget: int, seed: int) -> Found:
        line = task(scene, tool=tool, material=material, url=run.url, budget=budget, seed=seed)
        said = await worker.done(line)
        by_query = {one.query: one for one in scene.pool}
        shown = tuple(
            by_query[one["query"]]
            if one["query"] in by_query and by_query[one["query"]].reply == one["reply"]
            else Demonstration(one["query"], one["reply"])
            for one in said["demonstrations"]
        )
        prompt = replace(
            scene.start,
            instruction=said["instruction"],
            demonstrations=shown,
            retrieval=Retrieval(len(shown), by="fixed"),
        )
        return prompt, said["note"]

    return found


METHODS: dict[str, Method] = {
    "plain": plain,
    "urial": urial,
    "random": drawn,
    "published": published,
    "ours": ours,
    "paired": paired,
    **{
        tool + suffix: peer(tool, material)
        for tool in ("gepa", "miprov2", "copro")
        for suffix, material in (("", "own"), ("+pool", "pool"))
    },
}
