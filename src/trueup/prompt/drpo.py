"""DRPO as improved here: whole prompts compared in pairs, the default where nobody writes.

    method = Drpo(policy=policy, judge=judge, search=queries, validation=more, start=Prompt(),
                  pool=demonstrations, writer=writer, settings=Settings())
    async for turn in rounds(method):
        print(method.record(turn))
    found = method.result(turn.state)

The loop is that of *Dynamic Rewarding with Prompt Optimization* (arXiv 2411.08733), which
`published` follows step by step: a round proposes prompts from each survivor, lets the policy
answer the round's queries under each, has the replies judged, and keeps the best. Here survivors
are measured again beside their children, on the same queries; among them are ones that failed
before, so a repair is checked where it was needed. The clearly worse are dropped after half a
minibatch. Queries of the validation split choose among the finalists.

All replies and verdicts of a round are asked for at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from trueup.errors import SettingsError
from trueup.models.several import together
from trueup.prompt import arms
from trueup.prompt.candidates import Candidate
from trueup.prompt.nearness import By
from trueup.prompt.ordering import alternating, evenly
from trueup.prompt.search import PromptSearch
from trueup.prompt.similarity import warm_up
from trueup.prompt.states import Judged, Node, Phase, Proposal, State
from trueup.types import Query


class Drpo(PromptSearch):
    """A `loop.Method` whose result is a prompt."""

    def _set_up(self) -> None:
        if self._settings.minibatch < 2:
            raise SettingsError(
                "Prompts cannot be compared on a minibatch of one query: raise `minibatch`, or "
                "search with `trueup.prompt.Published`."
            )

    async def start(self) -> State:
        settings = self._settings
        ahead = self._search[: settings.depth * settings.minibatch]
        (measured,), _ = await asyncio.gather(
            self._measured([self._start], self._first_answers(), ahead),
            asyncio.to_thread(warm_up),
        )
        root = Node(self._start, tuple(measured), (self._start,))
        return State("search", (root,), 1, settings.depth)

    async def propose(self, state: State) -> list[Proposal]:
        if state.phase == "validate":
            return [Proposal(node.candidate, node) for node in self._finalists(state)]
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
        return await self._raced([one.candidate for one in proposals], queries, state)

    async def improve(
        self, state: State, proposals: Sequence[Proposal], judged: Sequence[Judged]
    ) -> State:
        if state.phase == "validate":
            return self._chosen(state, proposals)
        return self._beam_by_pairs(state, judged)

    # Proposing

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
            for child in [candidate.rewritten(text, arm) for text in written.instructions]
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
        reserved = self._for_finalists(settings.calls) if state.phase == "search" else 0
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
            phase = "validate" if self._validation else "done"
        return State(phase, beam, state.round + 1, state.limit, stale)

    def _finalists(self, state: State) -> list[Node]:
        """The survivors, then whoever else did well on many queries."""
        survivors = [node.candidate for node in state.beam]
        others = [one for one in self._known.values() if one not in survivors]
        promising = self._selection.promising(others, survivors[0], self._settings.minibatch)
        return [Node(one) for one in [*survivors, *promising][: self._settings.finalists]]

    def _queries(self, state: State) -> list[Query]:
        """The queries of a round, the same for all its proposals."""
        settings = self._settings
        if state.phase == "validate":
            return list(self._validation)
        best = state.beam[0].candidate
        # Half are fresh at least: whoever might replace it looks better on those it failed.
        repeated = min(settings.repeated, settings.minibatch // 2)
        failed = [one.query for one in self._measuring.failed(best)][:repeated]
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
