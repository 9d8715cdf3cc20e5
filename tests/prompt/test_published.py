"""Published DRPO, counted and followed: the official code's default run (spec 1.5, 1.10, 1.12)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from trueup.judges.criteria import POOL
from trueup.judges.dynamic import Dynamic
from trueup.loop import rounds
from trueup.models.scripted import Scripted
from trueup.prompt.prompt import Prompt
from trueup.prompt.published import Published
from trueup.prompt.settings import Settings
from trueup.prompt.states import State
from trueup.types import Query, Request, Score, Verdict

QUERIES = [Query(f"What is the meaning of number {n}?") for n in range(60)]
PUBLISHED = Settings.published()


class Case:
    """One published run whose judge always gives the same score."""

    def __init__(self, score: float, settings: Settings = PUBLISHED) -> None:
        self.written = 0
        self.waves = Waves()
        self.policy = Scripted(self._answer, identity="policy")
        self.writer = Scripted(self._write, identity="writer")
        self.score = score
        self.judge = Scripted(self._judge, identity="judge")
        self.method = Published(
            policy=self.policy,
            judge=Dynamic(self.judge, POOL),
            search=QUERIES,
            writer=self.writer,
            settings=settings,
        )

    async def _answer(self, request: Request) -> str:
        await self.waves.next()
        return "An answer."

    async def _write(self, request: Request) -> str:
        if request.sampling.seed == PUBLISHED.seed:  # the first of the three drawn together
            await self.waves.next()
        self.written += 1
        return json.dumps({"analysis": "", "plan": "", "instruction": f"Version {self.written}."})

    async def _judge(self, request: Request) -> str:
        await self.waves.next()
        assert request.schema is not None
        if "criteria" in request.schema["properties"]:
            return json.dumps({"analysis": {}, "reasoning": "r", "criteria": ["Clarity", "Safety"]})
        return json.dumps(
            {name: {"reason": "because", "score": self.score} for name in ("Clarity", "Safety")}
        )

    async def run(self) -> list[State]:
        """The state after every level."""
        async with self.waves:
            return [turn.state async for turn in rounds(self.method)]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Generations, judgements, writer requests, selections."""
        selections = sum("criteria" in (r.schema or {})["properties"] for r in self.judge.requests)
        judgements = len(self.judge.requests) - selections
        return len(self.policy.requests), judgements, len(self.writer.requests), selections


class Waves:
    """A clock that ticks when everybody waits: its ticks are the chain of dependent requests."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def next(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    async def __aenter__(self) -> None:
        self._ticking = asyncio.create_task(self._tick())

    async def __aexit__(self, *error: object) -> None:
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            known = -1
            while known != len(self._waiting) or not known:
                known = len(self._waiting)
                for _ in range(25):  # more than any chain of tasks that wake each other here
                    await asyncio.sleep(0)
            released, self._waiting = self._waiting, []
            self.count += 1
            for waiter in released:
                waiter.set_result(None)


async def test_no_query_skipped() -> None:
    case = Case(score=3)
    states = await case.run()
    assert case.counts == (112, 112, 37, 20)
    assert [state.limit for state in states] == [20] * 20
    # Twenty waves of replies (the first with all selections beside it) and of verdicts, nineteen
    # of rewriting.
    assert case.waves.count == 59


async def test_every_query_skipped() -> None:
    case = Case(score=5)
    states = await case.run()
    assert case.counts == (30, 30, 0, 30)
    # One more a level however many skip, ten in all.
    assert [state.limit for state in states] == [*range(20, 31), *[30] * 19]
    assert states[-1].beam[0].candidate.prompt == Prompt()


async def test_the_writer_sees_five_versions_and_the_last_record() -> None:
    case = Case(score=3)
    await case.run()
    shown = [str(request.prompt[-1].content) for request in case.writer.requests]  # type: ignore[union-attr]
    versions = [len(re.findall(r"^Version \d, mean score", text, re.MULTILINE)) for text in shown]
    # The root, two survivors a level: one version, then two twice, up to five.
    assert versions == [1, 2, 2, 3, 3, 4, 4, *[5] * 30]
    assert all(text.count("Query: What is the meaning") == 1 for text in shown)
    last = re.findall(r"mean score [^:]+:\n(.+)", shown[-1])
    assert len(set(last)) == 5
    assert shown[-1].split("BEGIN INSTRUCTION ")[1].splitlines()[1] == last[-1]


async def test_ties_go_to_the_one_proposed_first() -> None:
    case = Case(score=3)
    states = await case.run()
    # Among equals the first survivor's first two children survive: versions 1 and 2, 4 and 5, ...
    beams = [[node.candidate.prompt.instruction for node in state.beam] for state in states]
    assert beams[1:3] == [["Version 1.", "Version 2."], ["Version 4.", "Version 5."]]
    assert [len(state.beam) for state in states] == [1, *[2] * 19]


Scoring = Callable[[str, str], int | None]


def scoring(seed: int, easy: int, failing: int) -> Scoring:
    """1 to 5 by instruction and query; `easy` and `failing` of a hundred are 5 or missing."""

    def score(instruction: str, query: str) -> int | None:
        drawn = crc32(f"{seed}/{instruction}/{query}".encode())
        if drawn % 100 < easy:
            return 5
        return None if drawn % 100 < easy + failing else 1 + drawn // 100 % 4

    return score


async def followed(score: Scoring, settings: Settings) -> tuple[list[State], list[str], Published]:
    """A run in which a child is called after its parent: S, S.0, S.1, S.2, S.0.0, ..."""

    def write(request: Request) -> str:
        text = str(request.prompt[-1].content)  # type: ignore[union-attr]
        parent = text.split("BEGIN INSTRUCTION ")[1].splitlines()[1]
        place = request.sampling.seed - settings.seed
        return json.dumps({"instruction": f"{parent}.{place}"})

    async def judge(query: Query, reply: str) -> Verdict:
        value = score(reply, query.text)
        return Verdict(failed="lost") if value is None else Verdict((Score("All", value),))

    method = Published(
        policy=Scripted(lambda request: request.prompt[0].content),  # type: ignore[union-attr]
        judge=judge,
        search=QUERIES,
        writer=Scripted(write),
        start=Prompt("S"),
        settings=settings,
    )
    turns = [turn async for turn in rounds(method)]
    asked = [turns[0].state.beam[0].path[0].query.text]
    for turn in turns[1:]:
        (query,) = {one.query.text for judged in turn.judged for one in judged.measurements}
        asked.append(query)
    return [turn.state for turn in turns], asked, method


def expected(score: Scoring, asked: list[str]) -> tuple[str, float, int]:
    """The official search, written down once more: instruction, path mean, levels."""

    def mean(path: list[int | None]) -> float:
        known = [value for value in path[1:] if value is not None]
        return sum(known) / len(known) if known else float(path[0] or 0)

    limit, level = 20, 1
    beam: list[tuple[str, list[int | None]]] = [("S", [score("S", asked[0])])]
    while level < limit:
        children, skipped = [], False
        for prompt, path in beam:
            easy = path[-1] is None or path[-1] > 4.5
            skipped = skipped or easy
            for child in [prompt] if easy else [f"{prompt}.{place}" for place in range(3)]:
                children.append((child, [*path, score(child, asked[level])]))
        limit += skipped and limit < 30
        beam = sorted(children, key=lambda node: mean(node[1]), reverse=True)[:2]
        level += 1
    return beam[0][0], mean(beam[0][1]), level


@examples(max_examples=40)
@given(seed=st.integers(0, 10**6), easy=st.integers(0, 60), failing=st.integers(0, 30))
async def test_the_search_is_the_official_one(seed: int, easy: int, failing: int) -> None:
    """Next query, path mean without the root, skips, growth, ties, the last of the best path."""
    score = scoring(seed, easy, failing)
    states, asked, method = await followed(score, PUBLISHED)
    best = states[-1].beam[0]
    assert (best.candidate.prompt.instruction, best.path_mean, len(states)) == expected(
        score, asked
    )
    assert len(set(asked)) == len(asked) == len(best.path)
    assert method.result(states[-1]).prompt.instruction == best.candidate.prompt.instruction


async def test_a_beam_of_one_follows_the_last_reward() -> None:
    score = scoring(1, 0, 0)
    states, asked, _ = await followed(score, replace(PUBLISHED, beam=1, depth=6, growth=0))
    for before, after in pairwise(states):
        parent = before.beam[0].candidate.prompt.instruction
        children = [f"{parent}.{place}" for place in range(3)]
        rewards = [score(child, asked[before.round]) or 0 for child in children]
        (chosen,) = after.beam
        assert chosen.candidate.prompt.instruction == children[rewards.index(max(rewards))]


async def test_a_judge_that_always_fails_ends_with_the_prompt_as_it_was() -> None:
    """Failed is not zero: nothing is learnt, nothing is rewritten, nothing breaks."""
    states, _, method = await followed(lambda instruction, query: None, PUBLISHED)
    found = method.result(states[-1])
    assert (found.prompt, found.search_score, len(states)) == (Prompt("S"), None, 30)
    assert found.notes == ("30 of 30 replies could not be judged",)


@pytest.mark.parametrize("count", [1, 2])
async def test_it_ends_when_the_queries_do(count: int) -> None:
    async def judge(query: Query, reply: str) -> Verdict:
        return Verdict((Score("All", 3),))

    method = Published(
        policy=Scripted(lambda request: "An answer."),
        judge=judge,
        search=QUERIES[:count],
        writer=Scripted(lambda request: json.dumps({"instruction": "Be kind."})),
        settings=PUBLISHED,
    )
    assert len([turn async for turn in rounds(method)]) == count
