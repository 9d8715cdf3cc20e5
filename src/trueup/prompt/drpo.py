"""DRPO's second stage: search for the prompt under which the policy answers best.

    method = Drpo(policy=policy, judge=judge, search=queries, validation=more, start=Prompt(),
                  pool=demonstrations, writer=writer, settings=Settings())
    async for turn in rounds(method):
        print(method.record(turn))
    found = method.result(turn.state)

One loop, twice set up (`settings`): as published in *Dynamic Rewarding with Prompt Optimization*
(arXiv 2411.08733) and as improved here. A round proposes prompts from each survivor, lets the
policy answer the round's queries under each, has the replies judged, and keeps the best. All
replies and verdicts of a round are asked for at once.

Published: a proposal is scored on the *next* query only, a path's value is the mean of its
rewards, a query answered too well is skipped and buys one more level, and the last prompt of the
best path is returned. A failed judgement is missing here, where the official code scores it 0.

Ours: survivors are measured again beside their children, on the same queries; among them are ones
that failed before, so a repair is checked where it was needed. The clearly worse are dropped after
half a minibatch. Queries of the validation split choose among the finalists.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trueup.errors import SettingsError
from trueup.judges.judge import ChoosesCriteria, Judge
from trueup.loop import Round
from trueup.models.model import Model
from trueup.models.several import together
from trueup.prompt import arms
from trueup.prompt.account import concluded, recorded
from trueup.prompt.candidates import Archive, Candidate, Measurement
from trueup.prompt.measuring import Measuring
from trueup.prompt.nearness import By
from trueup.prompt.ordering import alternating, evenly, shuffled
from trueup.prompt.prompt import Prompt
from trueup.prompt.selection import Selection, survivors_by_path
from trueup.prompt.settings import Settings
from trueup.prompt.states import Found, Judged, Node, Phase, Proposal, State
from trueup.prompt.writing import Writing, Written
from trueup.types import Demonstration, Query

__all__ = ["Drpo", "Found", "Judged", "Node", "Proposal", "State"]


class Drpo:
    """A `loop.Method` whose result is a prompt."""

    def __init__(
        self,
        *,
        policy: Model,
        judge: Judge,
        search: Sequence[Query],
        validation: Sequence[Query] = (),
        start: Prompt = Prompt(),  # noqa: B008 - a frozen value
        pool: Sequence[Demonstration] = (),
        writer: Model | None = None,
        remedies: Mapping[str, Sequence[str]] | None = None,
        settings: Settings = Settings(),  # noqa: B008 - a frozen value
        embedder: Model | None = None,
    ) -> None:
        """`remedies`: lines to add to an instruction, by the criterion they repair.

        Raises `SettingsError` where there is nothing to search on or to propose with.
        """
        if not search:
            raise SettingsError("DRPO needs queries to search on; none were given.")
        if writer is None and settings.structured == 0:
            raise SettingsError("Published DRPO needs a writer. Name a model with `writer`.")
        self._policy = policy
        self._judge = judge
        self._measuring = Measuring(policy, judge, settings.reply, embedder)
        self._selection = Selection(self._measuring.archive, settings.least_answered)
        self._search: tuple[Query, ...] = shuffled(search, settings.seed)
        self._validation: tuple[Query, ...] = shuffled(validation, settings.seed)
        self._start = Candidate(start)
        self._pool = tuple(pool)
        self._writing = (
            Writing(writer, settings.writing, screen=settings.screen) if writer else None
        )
        self._remedies = remedies or {}
        self._embedder = embedder
        self._settings = settings
        self._rng = random.Random(settings.seed)
        self._known: dict[str, Candidate] = {self._start.id: self._start}
        self._notes: list[str] = []

    @property
    def archive(self) -> Archive:
        """Every measurement so far."""
        return self._measuring.archive

    @property
    def policy_calls(self) -> int:
        """Distinct requests to the policy so far."""
        return self._measuring.calls

    def afford(self, calls: int) -> None:
        """Plan with so many policy calls in all from here on."""
        self._settings = replace(self._settings, calls=max(calls, self._settings.minibatch))

    # The loop

    async def start(self) -> State:
        settings = self._settings
        if settings.value == "path mean":
            first = list(self._search[: settings.minibatch])
        else:
            first = self._first_answers()
        ahead = self._search[: settings.depth * settings.minibatch]
        (measured,) = await self._measured([self._start], first, ahead)
        root = Node(self._start, tuple(measured), (self._start,))
        nothing_next = settings.value == "path mean" and len(self._search) == 1
        return State("done" if nothing_next else "search", (root,), 1, settings.depth)

    async def propose(self, state: State) -> list[Proposal]:
        if state.phase == "validate":
            return [Proposal(node.candidate, node) for node in self._finalists(state)]
        if self._settings.value == "path mean":
            written = await together([self._rewritten(node) for node in state.beam])
            return [
                proposal
                for node, answer in zip(state.beam, written, strict=True)
                for proposal in self._successors(node, answer)
            ]
        proposals = [Proposal(node.candidate, node) for node in state.beam]
        if self._short_of_calls(state):  # told so since the round before
            return proposals
        best = state.beam[0]
        fresh: list[Candidate] = []
        if state.round == 1:
            by: By = "embedding" if self._embedder else "bm25"
            if self._settings.learn:
                lessons = arms.lessons(self.archive, self._to_refuse(), self._pool)
                self._notes.append(f"{len(lessons)} demonstrations learnt of the search's queries")
                self._pool = (*self._pool, *lessons)
            openings = arms.opening(self._start.prompt, self._pool, by)
            learnt = [
                one
                for usual in openings[:1]
                for one in arms.learnt(usual, self.archive, self._to_refuse(), self._pool)
            ]
            fresh += [*learnt, *openings]
        else:
            fresh += await self._structured(best.candidate)
            if len(state.beam) > 1:
                fresh += (await self._structured(state.beam[1].candidate))[:2]
        fresh += await self._written(best, state.round)
        for candidate in fresh:
            if candidate.id not in self._known:
                self._known[candidate.id] = candidate
                proposals.append(Proposal(candidate, best))
        return proposals

    async def judge(self, state: State, proposals: Sequence[Proposal]) -> list[Judged]:
        queries = self._queries(state)
        if self._settings.value == "path mean":
            measured = await self._measured([one.candidate for one in proposals], queries, queries)
            return [
                Judged(one.candidate, tuple(found))
                for one, found in zip(proposals, measured, strict=True)
            ]
        return await self._raced([one.candidate for one in proposals], queries, state)

    async def improve(
        self, state: State, proposals: Sequence[Proposal], judged: Sequence[Judged]
    ) -> State:
        if self._settings.value == "path mean":
            most = len(self._search)
            return survivors_by_path(state, proposals, judged, self._settings, most)
        if state.phase == "validate":
            chosen = self._selection.best([one.candidate for one in proposals], self._validated())
            return replace(state, phase="done", beam=(Node(chosen),))
        return self._beam_by_pairs(state, judged)

    def finished(self, state: State) -> bool:
        return state.phase == "done"

    def result(self, state: State) -> Found:
        return concluded(
            state.beam[0].candidate,
            self.archive,
            self._search,
            self._validation,
            len(self._known),
            self.policy_calls,
            (*self._notes, *self._measuring.unjudged()),
        )

    def record(self, turn: Round[State, Proposal, Judged]) -> dict[str, Any]:
        """A round as JSON: what was proposed by which arm, and how it did."""
        return recorded(turn, self.archive, self.policy_calls, self._notes)

    async def _measured(
        self, candidates: Sequence[Candidate], queries: Sequence[Query], ahead: Sequence[Query]
    ) -> list[list[Measurement]]:
        """Measure, and have the criteria for `ahead` chosen meanwhile: that needs no reply."""
        wanted: list[Coroutine[Any, Any, Any]] = [self._measuring.measure(candidates, queries)]
        if isinstance(self._judge, ChoosesCriteria):
            wanted.append(self._judge.select_all(ahead))
        found: list[list[Measurement]] = (await together(wanted))[0]
        return found

    # Published

    async def _rewritten(self, node: Node) -> Written | None:
        """Three rewrites of a survivor, or None where its last reply left nothing to mend."""
        last = node.path[-1]
        above = self._settings.skip_above
        if last.reward is None or (above is not None and last.reward > above):
            return None
        assert self._writing is not None
        versions = node.versions[-self._settings.history :]
        return await self._writing.rewrite(
            node.candidate.prompt.instruction,
            [last],
            [(one.prompt.instruction, self.archive.mean(one)) for one in versions],
            count=self._settings.actions,
            seed=self._settings.seed,
        )

    def _successors(self, node: Node, written: Written | None) -> list[Proposal]:
        if written is None:
            return [Proposal(node.candidate, node, easy=True)]
        self._notes += [f"proposal refused: {why}" for why in written.refused]
        children = _children(node.candidate, written.instructions, "rewrite")
        for child in children:
            self._known.setdefault(child.id, child)
        # A writer that wrote nothing readable costs the level, not the run.
        return [Proposal(child, node) for child in children] or [Proposal(node.candidate, node)]

    # Ours

    def _first_answers(self) -> list[Query]:
        """Mostly queries to be answered: the policy's own good answers become demonstrations."""
        wanted = self._settings.first_answers
        if self._settings.calls is not None:
            wanted = min(wanted, self._settings.calls // (3 if self._settings.learn else 4))
        answerable = [query for query in self._search if query.should_answer is not False]
        refusable = [query for query in self._search if query.should_answer is False]
        few = min(len(refusable), max(2, wanted // 6), wanted)
        return [*answerable[: wanted - few], *refusable[:few]] or list(self._search[:wanted])

    def _to_refuse(self) -> list[Query]:
        return [query for query in self._search if query.should_answer is False]

    async def _structured(self, parent: Candidate) -> list[Candidate]:
        failed = self._measuring.failed(parent)
        measured = list(self.archive.of(parent).values())
        found = arms.learnt(parent, self.archive, self._to_refuse(), self._pool)
        found += await arms.without_misleading(parent, failed, self._embedder or self._policy)
        found += arms.remedy(parent, measured, self._remedies, self._rng)[:2]
        found += arms.retrieval(parent, self._rng)
        return found[: self._settings.structured]

    async def _written(self, best: Node, number: int) -> list[Candidate]:
        """Rewrites that repair different criteria, and a paraphrase."""
        if self._writing is None:
            return []
        candidate = best.candidate
        failed = self._measuring.failed(candidate)
        worst = arms.worst_criteria(self.archive.of(candidate).values())[: self._settings.actions]
        seed = self._settings.seed + 1000 * number
        asked = [
            self._writing.rewrite(
                candidate.prompt.instruction,
                failed[: self._settings.failures],
                self._ancestry(candidate),
                focus=criterion,
                seed=seed + index,
            )
            for index, criterion in enumerate(worst if failed else ())
        ]
        *rewrites, paraphrase = await together(
            [*asked, self._writing.paraphrase(candidate.prompt.instruction, seed=seed)]
        )
        for written in (*rewrites, paraphrase):
            self._notes += [f"proposal refused: {why}" for why in written.refused]
        return [
            child
            for arm, group in (("rewrite", rewrites), ("paraphrase", [paraphrase]))
            for written in group
            for child in _children(candidate, written.instructions, arm)
        ]

    async def _raced(
        self, candidates: Sequence[Candidate], queries: Sequence[Query], state: State
    ) -> list[Judged]:
        """Measure on half the queries, drop the clearly worse, measure the rest."""
        incumbent = candidates[0]
        dropped: dict[str, str] = {}
        halves = (queries[: len(queries) // 2], queries[len(queries) // 2 :])
        for half in halves:
            in_race = [one for one in candidates if one.id not in dropped]
            alive = await self._measuring.affordable(in_race, half, self._calls_left(state))
            dropped |= {one.id: "no calls left" for one in in_race if one not in alive}
            await self._measured(alive, half, half if alive else ())
            for one in alive:
                gap = self.archive.gap(one, incumbent)
                if half is halves[0] and one != incumbent and gap.value + gap.error < 0:
                    dropped[one.id] = f"worse by {-gap.value:.2f} on {gap.n} queries"
        return [
            Judged(
                one,
                tuple(known[query] for query in queries if query in known),
                dropped.get(one.id),
            )
            for one in candidates
            for known in (self.archive.of(one),)
        ]

    def _calls_left(self, state: State) -> int | None:
        """Policy calls this round may make: the search leaves validation its share."""
        settings = self._settings
        if settings.calls is None:
            return None
        reserved = 0
        if state.phase == "search":
            reserved = min(settings.validation, len(self._validation)) * settings.finalists
            reserved = min(reserved, settings.calls // 3)
        return settings.calls - self.policy_calls - reserved

    def _short_of_calls(self, state: State) -> bool:
        left = self._calls_left(state)
        return left is not None and left < self._settings.minibatch

    def _beam_by_pairs(self, state: State, judged: Sequence[Judged]) -> State:
        settings = self._settings
        incumbent = state.beam[0].candidate
        able = [one.candidate for one in judged if one.dropped is None]
        ranked = self._selection.ranked(able, incumbent)
        best = self._selection.best([incumbent, *able])
        others = [one for one in ranked if one.id != best.id]
        beam = tuple(Node(one) for one in (best, *others)[: settings.beam])
        stale = state.stale + 1 if best.id == incumbent.id and state.round > 1 else 0
        over = (
            state.round + 1 >= state.limit
            or stale >= settings.patience
            or self._short_of_calls(state)
        )
        phase: Phase = "search"
        if over:
            phase = "validate" if settings.validation and self._validation else "done"
        return State(phase, beam, state.round + 1, state.limit, stale)

    def _finalists(self, state: State) -> list[Node]:
        """The survivors, then whoever else did well on many queries."""
        survivors = [node.candidate for node in state.beam]
        others = [one for one in self._known.values() if one not in survivors]
        promising = self._selection.promising(others, survivors[0], self._settings.minibatch)
        return [Node(one) for one in [*survivors, *promising][: self._settings.finalists]]

    def _validated(self) -> list[Query]:
        return list(self._validation[: self._settings.validation])

    def _queries(self, state: State) -> list[Query]:
        """The queries of a round, the same for all its proposals."""
        settings = self._settings
        if state.phase == "validate":
            return self._validated()
        if settings.value == "path mean":
            return [self._search[state.round]]
        best = state.beam[0].candidate
        failed = [one.query for one in self._measuring.failed(best)][: settings.repeated]
        seen = self.archive.of(best).keys()
        fresh = [query for query in self._search if query not in seen]
        if len(fresh) < settings.minibatch:
            fresh += [query for query in self._search if query in seen]
        chosen = evenly(
            [query for query in fresh if query not in failed], settings.minibatch - len(failed)
        )
        mixed = [*chosen, *failed]
        self._rng.shuffle(mixed)
        return alternating(mixed)

    def _ancestry(self, candidate: Candidate) -> list[tuple[str, float | None]]:
        """Earlier versions of an instruction with their scores, oldest first."""
        versions: list[tuple[str, float | None]] = []
        at: Candidate | None = candidate
        while at is not None and len(versions) < self._settings.history:
            versions.append((at.prompt.instruction, self.archive.mean(at)))
            at = self._known.get(at.parent) if at.parent is not None else None
        return versions[::-1]


def _children(parent: Candidate, instructions: Iterable[str], arm: str) -> list[Candidate]:
    return [
        Candidate(replace(parent.prompt, instruction=text), arm, "", parent.id)
        for text in instructions
    ]
