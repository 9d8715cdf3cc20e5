"""A search that composes prompts of parts, and learns what each part is worth from every reply.

    method = Composed(policy=policy, judge=judge, search=queries, validation=more, start=Prompt(),
                      pool=demonstrations, writer=writer, remedies=remedies, settings=Settings())
    async for turn in rounds(method):
        print(method.record(turn))
    found = method.result(turn.state)

A part is a line of the instruction, or a way to show demonstrations. Lines come from the prompt to
start from, from the criteria's remedies and from a writer, whose rewritten instructions are taken
apart. In a round every query is answered under two prompts composed for it, which try what is
likely and what is still doubtful (`effects`); all of a round's replies are asked for at once, and
meanwhile the writer reads the worst of the last. The best prompt so far is composed of what is
expected to help. Queries of the validation split decide between it and the prompts it came from.

Where a search that compares whole prompts needs a minibatch for each, here each reply weighs all
its prompt's parts; `drpo` is for models without a writer and a judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trueup.judges.refusal import refused
from trueup.loop import Round
from trueup.models.several import together
from trueup.prompt.candidates import Candidate, Measurement
from trueup.prompt.effects import Effects
from trueup.prompt.parts import Parts
from trueup.prompt.search import PromptSearch
from trueup.prompt.states import Judged, Node, Phase, Proposal, State
from trueup.types import Demonstration, Query

FIRST_ROUND, GROWTH, LARGEST_ROUND = 8, 1.4, 64
"""Replies of the first round, how rounds grow, and where that ends: what is learnt early decides
what is tried later, and late rounds tell apart what is nearly alike."""
OWN, LEAST_SHOWN, LONGEST_SHOWN = 8, 3.0, 200
"""Own replies shown again: the best half, at least these many, of at least this reward and at most
so many words."""
TIMES = 2
"""How often a round asks each of its queries, under different prompts."""


class Composed(PromptSearch):
    """A `loop.Method` whose result is a prompt."""

    def _set_up(self) -> None:
        self._effects = Effects(np.random.default_rng(self._settings.seed))
        embedded = self._embedder is not None
        self._parts = Parts(self._start.prompt, self._pool, self._remedies, embedded=embedded)
        self._earlier: list[Candidate] = []
        self._learnt: set[tuple[str, Query]] = set()
        self._asked = 0

    # The loop

    async def start(self) -> State:
        """Prompts composed by what is commonly believed, a few queries each."""
        count = self._affordable(FIRST_ROUND)
        proposals = self._composed(count)
        await self._answered(proposals)
        best = self._best()
        over = self._affordable(round_size(1)) < TIMES
        return State(self._after(over), (Node(best),), 1, self._settings.depth)

    async def propose(self, state: State) -> list[Proposal]:
        if state.phase == "validate":
            return [Proposal(one, state.beam[0]) for one in self._finalists(state)]
        count = self._affordable(round_size(state.round))
        if (
            count and state.round == 1
        ):  # nothing is under way that its answer could be awaited beside
            await self._write(state)
        self._parts.show(self._own_replies())
        self._fit()
        return [Proposal(one, state.beam[0]) for one in self._composed(count)]

    async def judge(self, state: State, proposals: Sequence[Proposal]) -> list[Judged]:
        candidates = [one.candidate for one in proposals]
        if state.phase == "validate":
            rows = await self._measuring.measure(candidates, self._validation)
            return [Judged(c, tuple(row)) for c, row in zip(candidates, rows, strict=True)]
        writing = bool(candidates) and state.round > 1
        rows = await self._answered(candidates, write_for=state if writing else None)
        return [Judged(c, tuple(row)) for c, row in zip(candidates, rows, strict=True)]

    async def improve(
        self, state: State, proposals: Sequence[Proposal], judged: Sequence[Judged]
    ) -> State:
        if state.phase == "validate":
            return self._chosen(state, proposals) if proposals else replace(state, phase="done")
        before = state.beam[0].candidate
        best = self._best()
        stale = state.stale + 1 if best.id == before.id else 0
        over = (
            state.round + 1 >= state.limit
            or stale > self._settings.patience
            or self._affordable(round_size(state.round + 1)) < TIMES
        )
        return State(self._after(over), (Node(best),), state.round + 1, state.limit, stale)

    def record(self, turn: Round[State, Proposal, Judged]) -> dict[str, Any]:
        """A round as JSON: what was tried, and what each part is taken to be worth."""
        worths = {name: round(worth, 3) for name, worth in self._effects.worths().items()}
        return super().record(turn) | {"parts": worths}

    # Composing

    def _composed(self, count: int) -> list[Candidate]:
        """As many prompts as replies are wanted, each from a fresh draw of what parts are worth."""
        found = []
        for _ in range(count):
            drawn = self._effects.draw() or self._parts.guessed(self._rng)
            found.append(self._kept(self._parts.composed(drawn, self._start.id)))
        return found

    def _best(self) -> Candidate:
        """What is expected to be best by all that was seen."""
        self._fit()
        best = self._kept(self._parts.composed(self._effects.worths(), self._start.id))
        if not self._earlier or self._earlier[-1].id != best.id:
            self._earlier.append(best)
        return best

    def _fit(self) -> None:
        self._effects.fit(self._parts.beliefs(self._effects.needs()))

    # Measuring

    async def _answered(
        self, candidates: Sequence[Candidate], write_for: State | None = None
    ) -> list[list[Measurement]]:
        """Each candidate on one query, the round's queries `TIMES` each; and learnt from.

        Meanwhile criteria are chosen and, for a state, the writer is asked.
        """
        queries = self._queries(len(candidates))
        asked = list(dict.fromkeys(queries))
        found: list[Measurement] = []

        async def measure() -> None:
            found.extend(await self._measuring.each(list(zip(candidates, queries, strict=True))))

        writing = [] if write_for is None else [self._write(write_for)]
        await together([measure(), *writing, *self._choosing(asked)])
        for candidate, one in zip(candidates, found, strict=True):
            if (candidate.id, one.query) not in self._learnt:  # the same reply is learnt from once
                self._learnt.add((candidate.id, one.query))
                self._effects.add(self._parts.of(candidate), one.query, one.verdict)
        return [[one] for one in found]

    def _queries(self, count: int) -> list[Query]:
        """The next ones, each `TIMES`; after the last comes the first."""
        fresh = -(-count // TIMES)
        places = [(self._asked + at) % len(self._search) for at in range(fresh)]
        self._asked += fresh
        return [self._search[at] for at in places for _ in range(TIMES)][:count]

    def _affordable(self, wanted: int) -> int:
        """Of as many replies, those that the budget has, validation's share left alone."""
        if self._settings.calls is None:
            return wanted
        calls = self._settings.calls - self._for_finalists(self._settings.calls)
        return max(0, min(wanted, calls - self.policy_calls))

    def _after(self, over: bool) -> Phase:
        if not over:
            return "search"
        left = self._settings.calls is None or self._settings.calls - self.policy_calls
        # With calls for one finalist alone there is nothing to choose between.
        able = bool(self._validation) and (left is True or left >= 2 * len(self._validation))
        return "validate" if able else "done"

    def _finalists(self, state: State) -> list[Candidate]:
        """The best, the prompt as given, and those that were best before, latest first.

        None where only one can be measured: there is nothing to choose between.
        """
        most = self._settings.finalists
        if self._settings.calls is not None:
            left = self._settings.calls - self.policy_calls
            most = min(most, left // max(1, len(self._validation)))
        distinct = {
            one.id: one for one in (state.beam[0].candidate, self._start, *self._earlier[::-1])
        }
        return list(distinct.values())[:most] if most > 1 else []

    def _own_replies(self) -> list[Demonstration]:
        """The best replies so far, one a query: what the policy can do is shown to it again.

        A harmful query that was answered is no example, and a harmless one refused neither.
        """
        best: dict[Query, Measurement] = {}
        for one in self.archive.everything():
            held = best.get(one.query)
            if one.reward is None or not one.whole or len(one.reply.split()) > LONGEST_SHOWN:
                continue
            if one.query.should_answer is refused(one.reply):
                continue
            if held is None or held.reward is None or one.reward > held.reward:
                best[one.query] = one
        ranked = sorted(best.values(), key=lambda one: (-(one.reward or 0.0), one.query.text))
        return [
            Demonstration(
                one.query.text,
                one.reply,
                one.query.category,
                shows_answer=not refused(one.reply),
            )
            for one in ranked[: max(OWN, len(ranked) // 2)]
            if (one.reward or 0.0) >= LEAST_SHOWN
        ]

    # Writing

    async def _write(self, state: State) -> None:
        """Have the best instruction rewritten for what most could be won on; keep its new lines."""
        if self._writing is None:
            return
        settings = self._settings
        needs = self._effects.needs()
        focus = sorted(needs, key=lambda name: (-needs[name], name))[: settings.actions]
        best = state.beam[0].candidate
        seed = settings.seed + 1000 * state.round
        asked = [
            self._writing.rewrite(
                best.prompt.instruction,
                self._worst(criterion),
                [(best.prompt.instruction, self.archive.mean(best))],
                focus=criterion,
                seed=seed + index,
            )
            for index, criterion in enumerate(focus)
        ]
        for criterion, written in zip(focus, await together(asked), strict=True):
            self._notes += [f"proposal refused: {why}" for why in written.refused]
            for instruction in written.instructions:
                self._parts.learn(instruction, criterion)

    def _worst(self, criterion: str) -> list[Measurement]:
        """Replies that were worst on a criterion."""
        found = [
            (score.value, one)
            for one in self.archive.everything()
            for score in one.verdict.scores
            if score.criterion == criterion and one.verdict.failed is None
        ]
        found.sort(key=lambda pair: (pair[0], pair[1].query.text, pair[1].reply))
        return [one for _, one in found[: self._settings.failures]]


def round_size(number: int) -> int:
    """Replies of a round, where the budget has them; round 0 is the first."""
    return min(LARGEST_ROUND, round(FIRST_ROUND * GROWTH**number))


def rounds_within(replies: int) -> int:
    """How many rounds that many replies are enough for."""
    number = 0
    while replies >= TIMES:
        replies -= round_size(number)
        number += 1
    return number
