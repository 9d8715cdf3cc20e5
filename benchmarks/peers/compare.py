"""Ours beside the prompt optimizers people use, with the same models, judge, material and budget.

    make peers-env                                               # once: GEPA and DSPy
    python benchmarks/peers/compare.py worlds                    # 6 worlds, 20 seeds, 3 budgets
    python benchmarks/peers/compare.py embedded                  # 300 calls; hours on two cores
    python benchmarks/peers/compare.py embedded --budget 50      # its smaller budgets: 50 and 100
    taskset -c 0 python benchmarks/peers/compare.py embedded --methods gepa    # two, a core each
    python benchmarks/peers/compare.py embedded --smoke          # a minute or two, writes nothing
    python benchmarks/peers/compare.py tables                    # docs/peers.md, peers.svg, README

Each method is given the same policy, writer, judge, queries and the same budget of policy calls and
tokens, behind one gateway (`gateway.py`), which counts. What it found is measured on held-out
queries that nobody searched on. Results are written cell by cell into
`benchmarks/results/peers.json`; a run that was stopped goes on from there, and a cell that is there
is not made again. On the embedded model every reply is kept in `benchmarks/.cache` too.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import itertools
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cells import EMBEDDED, FREE, Cell, Key, read, write
from gateway import Gateway
from methods import METHODS, PYTHON, Worker
from picture import picture_into_docs
from scenes import KINDS, EmbeddedScene, Outcome, Scene, world_scene
from summary import tables_into_pages, targets

from trueup.models.processors import processors
from trueup.prompt.prompt import Prompt

RESULTS = Path(__file__).resolve().parents[1] / "results" / "peers.json"
TOKENS_PER_CALL = 600
"""The token budget, of all roles together, for each policy call of the budget."""
DELAY = 0.005
"""Seconds that every paid call takes at least, so that calls made at once can be told."""
BUDGETS = (50, 100, 300)
FIRST = 1000
"""Seed of the first instance of a world: lower ones were looked at while methods were made."""
USUAL = [name for name in METHODS if name != "paired"]
EVERY = 30
"""Seconds between two writings of the results."""


class Study:
    """The cells, and how one is made."""

    def __init__(self, gateway: Gateway, path: Path | None, command: str) -> None:
        self.cells = read(path) if path is not None else {}
        self._made: dict[Key, Cell] = {}
        self._forgotten: set[Key] = set()
        self._gateway, self._path, self._command = gateway, path, command
        self._written = time.monotonic()

    async def cell(self, key: Key, scene: Scene, worker: Worker) -> Cell:
        """Search, then measure; kept."""
        name = f"{key.place}-{key.method.replace('+', '-')}-{key.budget}-{key.seed}"
        run = self._gateway.open(
            name,
            policy=scene.policy,
            writer=scene.writer,
            judge=scene.judge,
            queries=scene.queries,
            sampling=scene.settings.reply,
            calls=key.budget,
            tokens=TOKENS_PER_CALL * key.budget,
            score=scene.score,
        )
        began = time.monotonic()
        prompt, note = await METHODS[key.method](scene, run, worker, key.budget, key.seed)
        seconds = time.monotonic() - began
        self._gateway.close(name)
        spent = run.spent()
        outcome = await self._outcome(prompt, key, scene)
        self.cells[key] = self._made[key] = cell = Cell(
            value=round(outcome.value, 4),
            policy_calls=spent.policy_calls,
            writer_calls=spent.writer_calls,
            judge_calls=spent.judge_calls,
            tokens=spent.tokens,
            steps=spent.steps,
            seconds=round(seconds, 1),
            over=spent.refused,
            demonstrations=prompt.retrieval.k,
            letters=outcome.letters,
            instruction=prompt.instruction if key.place == EMBEDDED or key.seed == FIRST else None,
            note=note,
        )
        return cell

    async def _outcome(self, prompt: Prompt, key: Key, scene: Scene) -> Outcome:
        plain = self.cells.get(Key(key.place, "plain", 0, 0 if key.place == EMBEDDED else key.seed))
        if plain is not None and prompt.retrieval.k == 0 and prompt == scene.start:
            return Outcome(plain.value, plain.letters)
        return await scene.held_out(prompt)

    def forget(self, methods: Sequence[str], *, worlds: bool) -> None:
        """Cells to be made anew, where a method has changed."""
        for key in list(self.cells):
            if key.method in methods and (key.place != EMBEDDED) is worlds:
                del self.cells[key]
                self._forgotten.add(key)

    def save(self, *, now: bool = False) -> None:
        """Write the results, at most every EVERY seconds."""
        if self._path is None or (not now and time.monotonic() - self._written < EVERY):
            return
        self._written = time.monotonic()
        # Two of these may run side by side, a core and some methods each: what the other has made
        # or forgotten meanwhile is in the file.
        with alone(self._path.parent):
            there = {k: c for k, c in read(self._path).items() if k not in self._forgotten}
            self.cells = {**there, **self._made}
            write(self._path, self.cells, facts(self._command, self.cells))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """With no other process in here."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def facts(command: str, cells: dict[Key, Cell]) -> dict[str, Any]:
    """What the figures rest on, and what they say of our goals."""
    return {
        "command": command,
        "machine": {
            "cores": processors(),
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "peers": (PYTHON.parents[2] / "requirements.txt").read_text("utf-8").splitlines()[2:],
        "tokens_per_call": TOKENS_PER_CALL,
        "targets": targets(cells),
    }


def missing(
    cells: dict[Key, Cell], place: str, methods: Sequence[str], budgets: Sequence[int], seed: int
) -> list[Key]:
    """The cells of one seed that are still to be made."""
    keys = []
    for method, budget in itertools.product(methods, budgets):
        free = method in FREE
        # The embedded model's plain prompt does not depend on the seed either.
        one = Key(place, method, 0 if free else budget, 0 if free and place == EMBEDDED else seed)
        if one not in cells and one not in keys:
            keys.append(one)
    return keys


async def worlds(given: argparse.Namespace) -> None:
    """Seed by seed, so that a run cut short has fewer seeds of everything."""
    deadline = time.monotonic() + 60 * given.minutes if given.minutes else float("inf")
    async with Gateway(delay=DELAY) as gateway:
        study = Study(gateway, given.results, "python benchmarks/peers/compare.py worlds")
        study.forget(given.again, worlds=True)
        waiting = [
            key
            for seed in range(FIRST, FIRST + given.seeds)
            for kind in given.worlds
            for key in missing(study.cells, kind, given.methods, given.budgets, seed)
        ]
        waiting.reverse()
        print(f"{len(waiting)} cells to make", flush=True)

        async def hand(worker: Worker) -> None:
            while waiting and time.monotonic() < deadline:
                key = waiting.pop()
                scene = world_scene(key.place, key.seed, key.budget or max(BUDGETS))
                cell = await study.cell(key, scene, worker)
                if given.loud:
                    print(*key, cell.value, cell.policy_calls, f"{cell.seconds} s", flush=True)
                study.save()
            await worker.close()

        await asyncio.gather(*(hand(Worker()) for _ in range(given.jobs)))
        study.save(now=True)
        print(f"{len(waiting)} cells left", flush=True)


async def embedded(given: argparse.Namespace) -> None:
    """One cell after another: the model uses every core it is given."""
    budget, held_out, path = given.budget, None, given.results
    if given.smoke:
        budget, held_out, path = 24, 16, None
    scenes, worker = EmbeddedScene(held_out), Worker()
    async with Gateway(delay=DELAY) as gateway:
        study = Study(gateway, path, "python benchmarks/peers/compare.py embedded")
        study.forget(given.again, worlds=False)
        for seed in range(given.first, 1 if given.smoke else given.seeds):
            for key in missing(study.cells, EMBEDDED, given.methods, [budget], seed):
                scene = scenes.at(seed, key.budget or budget)
                cell = await study.cell(key, scene, worker)
                print(
                    f"{key.method} {seed}: {cell.value:.3f}, {cell.policy_calls} calls, "
                    f"{cell.tokens} tokens, {cell.steps} steps, {cell.seconds} s  {cell.note}",
                    flush=True,
                )
                study.save(now=True)
    await worker.close()
    await scenes.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["worlds", "embedded", "tables"])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=USUAL)
    parser.add_argument("--worlds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), help="of worlds")
    parser.add_argument("--budget", type=int, default=300, help="policy calls, embedded")
    parser.add_argument("--seeds", type=int, default=None, help="20 in worlds, 5 embedded")
    parser.add_argument("--first", type=int, default=0, help="the first seed, embedded")
    parser.add_argument("--jobs", type=int, default=3, help="cells at once, in worlds")
    parser.add_argument("--minutes", type=float, default=None, help="begin no cell after that")
    parser.add_argument("--smoke", action="store_true", help="a little of the embedded part")
    parser.add_argument(
        "--again", nargs="+", default=[], help="methods whose cells of the same kind are made anew"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--loud", action="store_true")
    given = parser.parse_args()
    given.seeds = given.seeds or (5 if given.what == "embedded" else 20)
    if given.what == "tables":
        cells = read(given.results)
        tables_into_pages(cells)
        picture_into_docs(cells)
        return
    if not PYTHON.exists():
        sys.exit("The peers' environment is not there: run `make peers-env`.")
    asyncio.run(worlds(given) if given.what == "worlds" else embedded(given))


if __name__ == "__main__":
    main()
