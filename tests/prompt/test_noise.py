"""Judges and writers that answer with rubbish three times in ten: what comes of it."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from tests.prompt.world import NO, Run, policy_says, pool, queries, search
from trueup.judges.criteria import POOL
from trueup.judges.dynamic import Dynamic
from trueup.models.scripted import Scripted
from trueup.prompt.demonstrations import rewrite_demonstrations
from trueup.prompt.drpo import Drpo
from trueup.prompt.published import Published
from trueup.prompt.settings import Settings
from trueup.types import HIGHEST_SCORE, LOWEST_SCORE, Request

SHARE = 0.3
NOVEL = "It was a dark and stormy night, and the reply was long. " * 400
GOOD = [
    "Help with everything that is harmless.",
    "Answer gently; decline crimes.",
    "Be brief and plain, and decline harm.",
]
SETTINGS = [
    Settings.published(),
    Settings(minibatch=6, first_answers=6, validation=8, calls=160),
]


class Noisy:
    """Draws rubbish of five kinds, or what a faultless model would say."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rubbish = 0
        self.judge = Scripted(self._judge, "judge")
        self.writer = Scripted(self._write, "writer")

    def _judge(self, request: Request) -> str:
        names = list((request.schema or {})["properties"])
        if "criteria" in names:
            good: dict[str, object] = {"reasoning": "r", "criteria": ["Safety", "Clarity"]}
            unknown: dict[str, object] = {"reasoning": "r", "criteria": ["Sparkle", "Safety"]}
            return self._or_rubbish(good, [unknown, {"criteria": 0.5}])
        asked = str(request.prompt[-1].content)  # type: ignore[union-attr]
        right = (NO in asked) is ("rob" in asked)
        good = {name: {"reason": "r", "score": 5 if right else 1} for name in names}
        fraction = {name: {"reason": "r", "score": "3.5 of 5"} for name in names}
        return self._or_rubbish(
            good,
            [
                {**good, "Sparkle": {"reason": "r", "score": 5}},
                fraction,
                {name: {"reason": "r", "score": 0} for name in names},
                {name: {"reason": "r", "score": "7/10"} for name in names},
            ],
        )

    def _write(self, request: Request) -> str:
        if "reply" in (request.schema or {})["properties"]:
            return self._or_rubbish({"reply": "Knead it well, then bake it."}, [{"reply": 0.5}])
        good = {"analysis": "a", "plan": "p", "instruction": self.chance.choice(GOOD)}
        return self._or_rubbish(good, [{"instruction": 0.5}, {"Sparkle": "Be kind."}])

    def _or_rubbish(self, good: object, wrong: list[dict[str, object]]) -> str:
        if self.chance.random() >= SHARE:
            return json.dumps(good)
        self.rubbish += 1
        whole = json.dumps(good)
        said = [whole[: len(whole) // 3], "", NOVEL, f'{{"a": "{NOVEL}', json.dumps({})]
        return self.chance.choice([*said, *map(json.dumps, wrong)])


async def run(settings: Settings, seed: int) -> tuple[Noisy, Run]:
    noisy = Noisy(seed)
    found = await search(
        Scripted(policy_says, "policy"),
        settings,
        Drpo if settings.structured else Published,
        judge=Dynamic(noisy.judge, POOL),
        writer=noisy.writer,
        pool=pool() if settings.structured else [],
        search=queries(40),
    )
    return noisy, found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("settings", SETTINGS, ids=["published", "ours"])
async def test_the_search_ends_well_and_says_what_it_dropped(settings: Settings, seed: int) -> None:
    noisy, done = await run(settings, seed)
    found = done.found
    assert noisy.rubbish > 15
    assert done.turns[-1].state.phase == "done"
    assert found.prompt.instruction.splitlines()[0] in {"Be helpful.", *GOOD}
    measured = list(done.method.archive.everything())
    for one in measured:
        assert (one.verdict.failed is None) is bool(one.verdict.scores)
        assert all(LOWEST_SCORE <= each.value <= HIGHEST_SCORE for each in one.verdict.scores)
    dropped = [told for one in measured for told in one.verdict.dropped]
    assert any("Sparkle" in told for told in dropped)
    failed = [one for one in measured if one.reward is None]
    assert all(one.verdict.failed for one in failed)
    unjudged = f"{len(failed)} of {len(measured)} replies could not be judged"
    assert (unjudged in found.notes) is bool(failed)


@pytest.mark.parametrize("settings", SETTINGS, ids=["published", "ours"])
async def test_what_a_writer_could_not_say_is_in_the_notes(settings: Settings) -> None:
    def hopeless(request: Request) -> str:
        return NOVEL

    done = await search(
        settings=settings,
        by=Drpo if settings.structured else Published,
        writer=Scripted(hopeless, "writer"),
    )
    why = "unreadable, asked once: there was no JSON object in the answer"
    assert set(done.found.notes) == {f"proposal refused: {why}"}
    assert done.found.prompt.instruction == "Be helpful."


async def test_ours_finds_the_better_prompt_through_the_noise() -> None:
    scores = [(await run(SETTINGS[1], seed))[1] for seed in range(3)]
    for done in scores:
        start = done.method.archive.mean(done.turns[0].state.beam[0].candidate)
        assert start is not None and done.found.validation_score is not None
        assert done.found.validation_score > start + 1


@pytest.mark.parametrize("seed", range(4))
async def test_rewriting_demonstrations_ends_well_too(seed: int) -> None:
    noisy = Noisy(seed)
    drafts = pool(6)
    done = await rewrite_demonstrations(
        drafts, writer=noisy.writer, judge=Dynamic(noisy.judge, POOL)
    )
    assert noisy.rubbish > 5
    for draft, one in zip(drafts, done, strict=True):
        assert one.demonstration.reply in {draft.reply, "Knead it well, then bake it."}
        assert one.demonstration == replace(draft, reply=one.demonstration.reply)
        missing = [version for version in one.versions if version.verdict.reward is None]
        assert len([note for note in one.notes if "judgement failed" in note]) == len(missing)
