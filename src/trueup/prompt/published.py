"""Published DRPO: the search of *Dynamic Rewarding with Prompt Optimization* (arXiv 2411.08733).

    method = Published(policy=policy, judge=judge, search=queries, writer=writer,
                       settings=Settings.published())

A beam over instructions. Each survivor is rewritten from its last reply and verdict; a proposal is
scored on the *next* query only, a path's value is the mean of its rewards, a query answered too
well is skipped and buys one more level, and the last prompt of the best path is returned. A failed
judgement is missing here, where the official code scores it 0.

All replies and verdicts of a level are asked for at once, and the criteria of later queries are
chosen beside the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from trueup.errors import SettingsError
from trueup.models.several import together
from trueup.prompt.search import PromptSearch
from trueup.prompt.states import Judged, Node, Proposal, State
from trueup.prompt.writing import Written


class Published(PromptSearch):
    """A `loop.Method` whose result is a prompt, set up by `Settings.published()`."""

    def _set_up(self) -> None:
        if self._writing is None:
            raise SettingsError("Published DRPO needs a writer. Name a model with `writer`.")
        if self._settings.minibatch != 1:
            raise SettingsError(
                "Published DRPO scores a proposal on one query: give `Settings.published()`."
            )

    async def start(self) -> State:
        settings = self._settings
        first, ahead = self._search[:1], self._search[: settings.depth]
        (measured,) = await self._measured([self._start], first, ahead)
        root = Node(self._start, tuple(measured), (self._start,))
        over = len(self._search) == 1
        return State("done" if over else "search", (root,), 1, settings.depth)

    async def propose(self, state: State) -> list[Proposal]:
        written = await together([self._rewritten(node) for node in state.beam])
        return [
            proposal
            for node, answer in zip(state.beam, written, strict=True)
            for proposal in self._successors(node, answer)
        ]

    async def judge(self, state: State, proposals: Sequence[Proposal]) -> list[Judged]:
        queries = [self._search[state.round]]
        measured = await self._measured([one.candidate for one in proposals], queries, queries)
        return [
            Judged(one.candidate, tuple(found))
            for one, found in zip(proposals, measured, strict=True)
        ]

    async def improve(
        self, state: State, proposals: Sequence[Proposal], judged: Sequence[Judged]
    ) -> State:
        """The beam by mean reward since the root, an easy query allowing one more level."""
        settings = self._settings
        nodes = [
            Node(
                one.candidate,
                (*one.parent.path, *found.measurements),
                one.parent.versions
                if one.candidate.id == one.parent.candidate.id
                else (*one.parent.versions, one.candidate),
            )
            for one, found in zip(proposals, judged, strict=True)
        ]
        most = settings.depth + settings.growth
        grown = any(one.easy for one in proposals) and state.limit < most
        limit = state.limit + 1 if grown else state.limit
        # Sorting is stable: among equals the one proposed first survives, as published.
        if settings.beam > 1:
            nodes.sort(key=lambda node: -node.path_mean)
        else:
            nodes.sort(key=lambda node: -node.last_reward)
        over = state.round + 1 >= min(limit, len(self._search))
        beam = tuple(nodes[: settings.beam])
        return State("done" if over else "search", beam, state.round + 1, limit)

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
        fresh = [node.candidate.rewritten(text) for text in written.instructions]
        for child in fresh:
            self._kept(child)
        # A writer that wrote nothing readable costs the level, not the run.
        return [Proposal(child, node) for child in fresh or [node.candidate]]
