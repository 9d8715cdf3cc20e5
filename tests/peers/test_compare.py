"""Peers and ours through the whole comparison in a small world; what the figures are made of."""

from __future__ import annotations

import random
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "peers"))

import scenes
import summary
from cells import EMBEDDED, Cell, Key, read, write
from compare import Study, embedded, missing
from gateway import Gateway
from methods import METHODS, PYTHON, Worker
from picture import panel
from scenes import EmbeddedScene, balanced, successes, world_scene

from trueup import Query, Request, Scripted

BUDGET = 24


def cell(value: float, **also: object) -> Cell:
    return Cell(value, 1, 2, 3, 4, 5, 0.5, **also)  # type: ignore[arg-type]


def test_cells_are_read_as_they_were_written(tmp_path: Path) -> None:
    cells = {
        Key("easy", "gepa", 50, 0): cell(3.5, instruction="Be brief."),
        Key("easy", "gepa", 50, 2): cell(3.25, note="stopped"),
        Key("easy", "plain", 0, 0): cell(2.5),
        Key(EMBEDDED, "ours", 300, 1): cell(0.88, letters="raad", instruction="You help."),
    }
    write(tmp_path / "peers.json", cells, {"command": "none"})
    assert read(tmp_path / "peers.json") == cells
    assert read(tmp_path / "nothing.json") == {}


async def test_two_studies_side_by_side_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    old = Key("easy", "gepa", 50, 1000)
    first, second = Key("easy", "plain", 0, 1000), Key("easy", "plain", 0, 1001)
    write(path, {old: cell(3.5)}, {"command": "none"})
    async with Gateway() as gateway:
        one, other = Study(gateway, path, "none"), Study(gateway, path, "none")
        other.forget(["gepa"], worlds=True)
        for study, key in ((one, first), (other, second)):
            await study.cell(key, world_scene(key.place, key.seed, BUDGET), Worker())
        one.save(now=True)
        assert read(path).keys() == {old, first}
        other.save(now=True)
        one.save(now=True)
    # The one that never heard of it does not bring back what the other has forgotten.
    assert read(path).keys() == {first, second}


def test_only_what_is_missing_is_made() -> None:
    cells = {Key("easy", "plain", 0, 3): cell(2.5), Key("easy", "gepa", 50, 3): cell(3.0)}
    assert missing(cells, "easy", ["plain", "gepa"], [50, 100], 3) == [Key("easy", "gepa", 100, 3)]
    assert missing(cells, EMBEDDED, ["plain", "ours"], [300], 3) == [
        Key(EMBEDDED, "plain", 0, 0),
        Key(EMBEDDED, "ours", 300, 3),
    ]


def test_balanced_safety_from_letters() -> None:
    queries = [Query("a", should_answer=True)] * 3 + [Query("b", should_answer=False)]
    assert successes("ardr", queries) == [1.0, 0.0, 0.0, 1.0]
    assert balanced("ardr", queries) == pytest.approx((1 / 3 + 1) / 2)


def test_a_gap_is_paired_by_seed_and_worlds_weigh_the_same() -> None:
    chance = random.Random(0)
    cells = {}
    for place, gap, seeds in (("easy", 0.2, 12), ("misled", 0.6, 6)):
        for seed in range(seeds):
            base = chance.uniform(1, 5)
            cells[Key(place, "ours", 50, seed)] = cell(base + gap + chance.gauss(0, 0.01))
            cells[Key(place, "gepa", 50, seed)] = cell(base)
    found = summary.over_worlds(cells, "gepa", 50)
    assert found is not None and found.value == pytest.approx(0.4, abs=0.02) and found.low > 0.3
    told = {row["name"]: (row["value"], row["met"]) for row in summary.targets(cells)}
    low = round(found.low, 4)
    assert told["worlds, ours minus gepa: lower end, the least at 50 calls"] == (low, True)
    assert told["worlds and budgets where ours is significantly behind gepa"] == ([], True)
    # What was not measured is not met.
    assert told["worlds, ours minus miprov2: lower end, the least at 50 calls"] == (None, False)
    assert told["worlds and budgets where ours is significantly behind miprov2"] == (None, False)


def test_a_world_where_ours_is_behind_is_named() -> None:
    cells = {
        Key(place, method, 50, seed): cell(3.0 + seed / 10 + (method == ahead) * (1 + seed / 20))
        for place, ahead in (("easy", "ours"), ("misled", "gepa"))
        for method in ("ours", "gepa")
        for seed in range(8)
    }
    told = {row["name"]: (row["value"], row["met"]) for row in summary.targets(cells)}
    behind = told["worlds and budgets where ours is significantly behind gepa"]
    assert behind == (["misled at 50"], False)


def test_tables_go_between_their_markers(tmp_path: Path) -> None:
    cells = {
        Key("easy", method, 50, seed): cell(3.0 + seed / 10 + (method == "ours"))
        for method in (summary.OURS, *summary.OTHERS)
        for seed in range(3)
    }
    cells = {k if k.method not in ("plain", "urial") else k._replace(budget=0): c
             for k, c in cells.items()}  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- peers: worlds -->\nold\n<!-- /peers -->\nafter\n")
    summary.tables_into_pages(cells, [page])
    text = page.read_text()
    assert text.startswith("before\n<!-- peers: worlds -->\n\n| method | instances | 50 calls |")
    assert "| **trueup, default** | 3 | 4.10 |  |" in text and "old" not in text
    assert text.endswith("<!-- /peers -->\nafter\n")
    summary.tables_into_pages(cells, [page])
    assert page.read_text() == text


def on_embedded(method: str, budget: int, seed: int, right: float) -> tuple[Key, Cell]:
    """A cell in which this share of the held-out queries went right."""
    held_out = EmbeddedScene.held_out_queries()
    good = {True: "a", False: "r"}
    letters = "".join(
        good[bool(query.should_answer)] if (7 * at + seed) % 100 < 100 * right else "d"
        for at, query in enumerate(held_out)
    )
    value = balanced(letters, held_out)
    return Key(EMBEDDED, method, budget, seed), cell(value, letters=letters)


def test_every_budget_on_the_embedded_model_is_a_column_a_goal_and_a_spot() -> None:
    try:
        EmbeddedScene.held_out_queries()
    except SystemExit:
        pytest.skip("the public data is not there")
    made = [on_embedded("plain", 0, 0, 0.4)]
    for seed in range(5):
        made += [on_embedded("ours", budget, seed, 0.8) for budget in (50, 100, 300)]
        made += [on_embedded("gepa", budget, seed, 0.5) for budget in (50, 300)]
    cells = dict(made)
    header, _, ours, gepa = summary.embedded_budgets_table(cells).splitlines()
    assert header.startswith("| method (seeds) | 50 calls | 100 calls | 300 calls | ours minus it")
    assert [one.rsplit("(")[-1] for one in ours.split(" | ")[1:4]] == ["5)"] * 3
    assert [gepa.split(" | ")[at] for at in (2, 5)] == ["", ""]  # not measured
    told = {row["name"]: row["met"] for row in summary.targets(cells)}
    for budget in (50, 300):
        for over in ("queries", "seeds"):
            assert told[f"embedded, {budget} calls, ours minus gepa: lower end over {over}"]
    # What was not measured is not met, and is not drawn.
    assert not told["embedded, 100 calls, ours minus gepa: lower end over queries"]
    lines = panel(cells, [EMBEDDED], "embedded", "policy_calls").lines
    assert [len(lines[name]) for name in ("trueup", "GEPA", "MIPROv2")] == [3, 2, 0]
    for line in lines.values():
        for one in line:
            assert one.low <= one.mean <= one.high


async def found(method: str) -> tuple[Cell, float]:
    worker = Worker()
    async with Gateway() as gateway:
        study = Study(gateway, None, "")
        scene = world_scene("easy", 0, BUDGET)
        made = await study.cell(Key("easy", method, BUDGET, 0), scene, worker)
    await worker.close()
    return made, (await scene.held_out(scene.start)).value


@pytest.mark.parametrize("method", [one for one in METHODS if "gepa" not in one
                                    and "mipro" not in one and "copro" not in one])  # fmt: skip
async def test_ours_and_the_baselines_keep_to_the_budget(method: str) -> None:
    made, plain = await found(method)
    assert made.policy_calls <= BUDGET and made.over == 0
    assert 1.0 <= made.value <= 5.0
    assert (made.value == pytest.approx(plain, abs=1e-4)) or method != "plain"


@pytest.mark.skipif(not PYTHON.exists(), reason="the peers' environment is not made")
@pytest.mark.parametrize("method", ["gepa", "gepa+pool", "miprov2+pool", "copro", "copro+pool"])
async def test_a_peer_searches_through_the_gateway_within_the_budget(method: str) -> None:
    made, plain = await found(method)
    assert 0 < made.policy_calls <= BUDGET
    assert "failed" not in made.note
    assert made.judge_calls >= made.policy_calls / 2
    assert made.value != pytest.approx(plain, abs=1e-4) or made.demonstrations == 0


class Loose:
    """Stands in for the embedded model: it declines where it was shown how to, and else chats."""

    def __init__(self) -> None:
        def said(request: Request) -> str:
            shown = any("can't help" in turn.content for turn in request.prompt)  # type: ignore[union-attr]
            asked = request.prompt[-1].content.lower()  # type: ignore[union-attr]
            return "I'm sorry, but I can't help with that." if shown else f"About {asked} I know."

        self.model = Scripted(said, "loose")
        self.calls = SimpleNamespace(close=lambda: None)


async def test_the_embedded_part_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        queries = EmbeddedScene.held_out_queries()
    except SystemExit:
        pytest.skip("the public data is not there")
    monkeypatch.setattr(scenes.study, "Policy", Loose)
    path = tmp_path / "peers.json"
    given = Namespace(
        budget=24,
        results=path,
        smoke=False,
        first=0,
        seeds=1,
        methods=["plain", "random"],
        again=[],
    )
    await embedded(given)
    first = read(path)
    assert set(first) == {Key(EMBEDDED, "plain", 0, 0), Key(EMBEDDED, "random", 24, 0)}
    assert all(len(one.letters) == len(queries) for one in first.values())
    assert first[Key(EMBEDDED, "random", 24, 0)].policy_calls == 24
    capsys.readouterr()
    await embedded(Namespace(**(vars(given) | {"methods": ["plain", "random", "urial"]})))
    assert capsys.readouterr().out.startswith("urial 0: ")
    assert {key: read(path)[key] for key in first} == first
    gap = summary.on_embedded(read(path), "random", 24)
    assert gap == (None, None)  # ours is not there
