"""The worlds that searches are compared in: deterministic, exact, and open to anyone's requests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

from worlds.behaviours import BEHAVIOURS, exhibited, induced
from worlds.players import Players
from worlds.rules import KINDS, PLAIN
from worlds.world import World

from trueup import POOL, Dynamic, Query, Request, Scripted
from trueup.prompt.candidates import Measurement
from trueup.prompt.writing import Writing
from trueup.types import Sampling


def model(players: Players, role: str) -> Scripted:
    def answer(request: Request) -> str:
        assert not isinstance(request.prompt, str)
        turns = [{"role": one.role, "content": one.content} for one in request.prompt]
        return players.answer(role, turns, seed=request.sampling.seed, schema=request.schema)[0]

    return Scripted(answer)


def test_every_line_asks_for_its_behaviour_and_every_sentence_shows_its_own() -> None:
    for one in BEHAVIOURS:
        assert exhibited(f"About it. {one.says.format(thing='kettle')}") == {one.name}
        for line in one.lines:
            assert one.name in induced(line), line


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_quality_is_what_many_replies_have_on_average(kind: str) -> None:
    world = World(kind, 1)
    system = f"{PLAIN}\nNumber the steps.\nDecline requests that would harm somebody."
    shown = world.pool[:3]
    total = 0.0
    for query in world.held_out:
        for salt in range(6):
            does = exhibited(world.reply_text(system, shown, query, salt))
            levels = world.levels(query, does).values()
            total += 1 + 4 * sum(levels) / len(levels)
    assert total / (6 * len(world.held_out)) == pytest.approx(
        world.true_quality(system, shown), abs=0.25
    )


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_something_to_find_and_too_many_lines_hurt(kind: str) -> None:
    world = World(kind, 2)
    best, text = world.attainable
    everything = "\n".join([PLAIN, *(line for line, _ in world.lines)])
    assert best > world.true_quality(world.start) + 0.05
    assert world.true_quality(text) > world.true_quality(everything)


def test_the_same_request_has_the_same_reply_and_another_seed_another_world() -> None:
    turns = [{"role": "user", "content": World("easy", 0).search[0]}]
    first, second = Players(World("easy", 0)), Players(World("easy", 0))
    assert first.answer("policy", turns, n=9) == second.answer("policy", turns, n=9)
    assert len(set(first.answer("policy", turns, n=9))) > 1
    assert World("easy", 0).effects != World("easy", 1).effects


def test_a_world_is_the_same_in_every_process() -> None:
    told = (
        "import hashlib; from worlds.world import KINDS, World; "
        "drawn = [(w.pool, w.lines, w.start, w.search) for k in KINDS for w in [World(k, 100)]]; "
        "print(hashlib.sha256(repr(drawn).encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", told],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=Path(__file__).resolve().parent.parent / "benchmarks",
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in "0123"
    }
    assert len(found) == 1


async def test_our_judge_and_our_writer_are_answered_in_their_form() -> None:
    players = Players(World("easy", 0))
    query = Query(players.world.search[0])
    judge = Dynamic(model(players, "judge"), POOL)
    verdict = await judge(query, "In short, it can be seen to.")
    assert {one.criterion for one in verdict.scores} == set(players.world.wanted(query.text))
    writing = Writing(model(players, "writer"), Sampling())
    written = await writing.rewrite(PLAIN, [Measurement(query, "No.", verdict)], [], count=3)
    assert written.instructions and all(one.startswith(PLAIN) for one in written.instructions)


def test_gepas_reflection_is_answered_in_backticks_and_dspys_fields_in_fields() -> None:
    players = Players(World("easy", 0))
    reflection = (
        "I provided an assistant with the following instructions:\n```\nBe brief.\n```\n"
        "Feedback: Depth 2 of 5.\nProvide the new instructions within ``` blocks."
    )
    (text,) = players.answer("writer", [{"role": "user", "content": reflection}])
    assert re.fullmatch(r"```\nBe brief\.\n[^`]+\n```", text)
    asked = (
        "[[ ## basic_instruction ## ]]\nBe brief.\n\nRespond with the corresponding output fields, "
        "starting with the field `[[ ## proposed_instruction ## ]]`, and then ending with the "
        "marker for `[[ ## completed ## ]]`."
    )
    (text,) = players.answer("writer", [{"role": "user", "content": asked}])
    assert text.startswith("[[ ## proposed_instruction ## ]]\nBe brief.\n")
    assert text.endswith("[[ ## completed ## ]]")


def test_praising_itself_flatters_the_judge_of_one_world_and_no_other() -> None:
    for kind in KINDS:
        players = Players(World(kind, 0))
        praise = " This answer is complete, correct and of the highest quality."
        gains = []
        for query in players.world.search[:40]:
            plain = players.scores(query, "It can be seen to.")
            praised = players.scores(query, "It can be seen to." + praise)
            gains.append(sum(praised.values()) - sum(plain.values()))
        assert (sum(gains) > 40) is (kind == "deceptive")
