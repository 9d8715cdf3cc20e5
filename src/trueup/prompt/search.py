"""What every search for a prompt has: its parts, what it measured, and what it says of itself.

    class Published(PromptSearch): ...         # start, propose, judge, improve
    method.record(turn)["survivors"]           # a round as JSON
    method.result(turn.state).prompt           # the best so far

Every search is set up with the same parts and passes the same states from round to round
(`states`); a caller need not know which one it drives.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from trueup.errors import SettingsError
from trueup.judges.judge import ChoosesCriteria, Judge
from trueup.loop import Round
from trueup.models.model import Model
from trueup.models.several import together
from trueup.prompt.candidates import Archive, Candidate, Measurement
from trueup.prompt.measuring import Measuring
from trueup.prompt.ordering import shuffled
from trueup.prompt.prompt import Prompt
from trueup.prompt.selection import Selection
from trueup.prompt.settings import Settings
from trueup.prompt.states import Found, Judged, Node, Proposal, State
from trueup.prompt.writing import Writing
from trueup.types import Demonstration, Query


class PromptSearch:
    """The part of a `loop.Method` that all searches for a prompt share."""

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

        Raises `SettingsError` where there is nothing to search on, or for settings that are none
        for this search.
        """
        if not search:
            raise SettingsError("A search needs queries to search on; none were given.")
        self._policy = policy
        self._judge = judge
        self._measuring = Measuring(policy, judge, settings.reply, embedder)
        self._selection = Selection(self._measuring.archive, settings.least_answered)
        self._search = shuffled(search, settings.seed)
        self._validation = shuffled(validation, settings.seed)[: settings.validation]
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
        self._set_up()

    def _set_up(self) -> None:
        """What a search keeps besides."""

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

    def finished(self, state: State) -> bool:
        return state.phase == "done"

    def result(self, state: State) -> Found:
        """The best candidate, with its scores on the queries of the search and of validation."""
        best, own = state.beam[0].candidate, set(self._search)
        seen = [query for query in self.archive.of(best) if query in own]
        return Found(
            prompt=best.prompt,
            search_score=self.archive.mean(best, seen),
            validation_score=self.archive.mean(best, self._validation),
            candidates=len(self._known),
            policy_calls=self.policy_calls,
            notes=(*self._notes, *self._measuring.unjudged()),
        )

    def record(self, turn: Round[State, Proposal, Judged]) -> dict[str, Any]:
        """A round as JSON: what was proposed by which arm, and how it did."""
        best = turn.state.beam[0].candidate
        return {
            "number": turn.number,
            "phase": turn.state.phase,
            "best": best.id,
            "score": self.archive.mean(best),
            "policy_calls": self.policy_calls,
            "survivors": [node.candidate.id for node in turn.state.beam],
            "candidates": [self._told(one) for one in turn.judged],
            "notes": list(self._notes),
        }

    def _told(self, judged: Judged) -> dict[str, Any]:
        candidate = judged.candidate
        return {
            "id": candidate.id,
            "parent": candidate.parent,
            "arm": candidate.arm,
            "note": candidate.note,
            "instruction": candidate.prompt.instruction,
            "demonstrations": len(candidate.prompt.demonstrations),
            "retrieval": asdict(candidate.prompt.retrieval),
            "score": self.archive.mean(candidate),
            "queries": len(judged.measurements),
            "failed": sum(one.reward is None for one in judged.measurements),
            "dropped": judged.dropped,
        }

    def _kept(self, candidate: Candidate) -> Candidate:
        """The candidate of that prompt: the one proposed first."""
        return self._known.setdefault(candidate.id, candidate)

    async def _measured(
        self, candidates: Sequence[Candidate], queries: Sequence[Query], ahead: Sequence[Query]
    ) -> list[list[Measurement]]:
        """Measure each on every query, and have the criteria for `ahead` chosen meanwhile."""
        work: list[Coroutine[Any, Any, Any]] = [self._measuring.measure(candidates, queries)]
        found: list[list[Measurement]] = (await together([*work, *self._choosing(ahead)]))[0]
        return found

    def _choosing(self, queries: Sequence[Query]) -> list[Coroutine[Any, Any, Any]]:
        """Have the criteria for queries chosen: it needs no reply."""
        if queries and isinstance(self._judge, ChoosesCriteria):
            return [self._judge.select_all(queries)]
        return []

    def _for_finalists(self, calls: int) -> int:
        """Of so many policy calls, those that the choice among the finalists is left."""
        return min(len(self._validation) * self._settings.finalists, calls // 3)

    def _chosen(self, state: State, proposals: Sequence[Proposal]) -> State:
        """The end: the finalist that did best on the queries of validation."""
        chosen = self._selection.best([one.candidate for one in proposals], self._validation)
        return replace(state, phase="done", beam=(Node(chosen),))
