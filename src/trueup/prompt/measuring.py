"""Measuring candidates: the policy answers under each, the judge scores, the archive keeps.

    measuring = Measuring(policy, judge, Sampling(max_tokens=64))
    rows = await measuring.measure([candidate, other], queries)
    measuring.calls                    # distinct requests to the policy so far

The same request is made once, whoever's candidate it belongs to, and is not made again for a
candidate that was measured on the query before. A reply that cannot be had, or not judged, is a
measurement without a reward.
"""

from __future__ import annotations

from collections.abc import Sequence

from trueup.errors import BudgetSpent, ModelError, ModelUnavailable
from trueup.judges.judge import Judge, judged
from trueup.models.model import Model
from trueup.models.several import together
from trueup.prompt.arms import GOOD_REWARD
from trueup.prompt.candidates import Archive, Candidate, Measurement
from trueup.prompt.nearness import By, Nearness
from trueup.prompt.prompt import Prompt, Prompted
from trueup.prompt.retrieval import Retrieval, Retriever
from trueup.types import Query, Request, Sampling, Verdict, conversation


class Measuring:
    """Asks the policy and the judge, and keeps what they said."""

    def __init__(
        self, policy: Model, judge: Judge, sampling: Sampling, embedder: Model | None = None
    ) -> None:
        self._policy = policy
        self._judge = judge
        self._sampling = sampling
        self._embedder = embedder
        self._asked: set[str] = set()
        self._prompted: dict[str, Prompted] = {}
        self._retrievers: dict[tuple[int, Retrieval], tuple[Prompt, Retriever]] = {}
        self._indexed: dict[tuple[int, By], Nearness] = {}
        self._replied = False
        self._refusal: ModelError | None = None
        self.archive = Archive()

    @property
    def calls(self) -> int:
        """Distinct requests to the policy so far."""
        return len(self._asked)

    async def measure(
        self, candidates: Sequence[Candidate], queries: Sequence[Query]
    ) -> list[list[Measurement]]:
        """Each candidate on each query, asked all at once, kept in their order.

        The order in which replies happen to come decides nothing: a run is replayed from the store.
        Raises the policy's own error if it has never given a reply.
        """
        found = await self.each([(one, query) for one in candidates for query in queries])
        return [
            found[place * len(queries) : (place + 1) * len(queries)]
            for place in range(len(candidates))
        ]

    async def each(self, pairs: Sequence[tuple[Candidate, Query]]) -> list[Measurement]:
        """Each candidate on a query of its own, asked all at once, kept in their order.

        Raises the policy's own error if it has never given a reply.
        """
        found = await together([self._one(*pair) for pair in pairs])
        if self._refusal is not None and not self._replied:
            raise self._refusal
        for (candidate, _), measurement in zip(pairs, found, strict=True):
            self.archive.add(candidate, measurement)
        return found

    async def affordable(
        self, candidates: Sequence[Candidate], queries: Sequence[Query], calls: int | None
    ) -> list[Candidate]:
        """The candidates that `calls` more requests can measure, earlier ones first."""
        planned: set[str] = set()
        chosen = []
        for candidate in candidates:
            asked = [await self._request(candidate, query) for query in queries]
            new = {request.address(self._policy.identity) for request in asked}
            new -= self._asked | planned
            if calls is None or len(planned) + len(new) <= calls:
                planned |= new
                chosen.append(candidate)
        return chosen

    def failed(self, candidate: Candidate) -> list[Measurement]:
        """Replies with something to mend, worst first."""
        bad = [
            one
            for one in self.archive.of(candidate).values()
            if one.reward is not None and one.reward <= GOOD_REWARD
        ]
        return sorted(bad, key=lambda one: (one.reward or 0.0, one.query.text))

    def unjudged(self) -> list[str]:
        """A sentence about replies without a reward, where there are any."""
        rewards = [one.reward for one in self.archive.everything()]
        failed = rewards.count(None)
        return [f"{failed} of {len(rewards)} replies could not be judged"] if failed else []

    async def _one(self, candidate: Candidate, query: Query) -> Measurement:
        known = self.archive.of(candidate).get(query)
        if known is not None:
            return known
        request = await self._request(candidate, query)
        self._asked.add(request.address(self._policy.identity))
        try:
            reply = await self._policy.reply(request)
        except BudgetSpent:
            self._asked.discard(request.address(self._policy.identity))
            raise
        except ModelUnavailable:
            raise
        except ModelError as error:
            self._refusal = error
            return Measurement(query, "", Verdict(failed=f"no reply: {error}"), whole=False)
        self._replied = True
        text = reply.text.strip()
        verdict = await judged(self._judge, query, text)
        return Measurement(query, text, verdict, whole=reply.choices[0].finish == "stop")

    async def _request(self, candidate: Candidate, query: Query) -> Request:
        if candidate.id not in self._prompted:
            self._prompted[candidate.id] = Prompted(
                self._policy, candidate.prompt, retriever=self._retriever(candidate.prompt)
            )
        asked = Request(conversation(query), self._sampling)
        return await self._prompted[candidate.id].request(asked)

    def _retriever(self, prompt: Prompt) -> Retriever:
        """One for all prompts that show the same demonstrations in the same way, and one index
        for all ways to show them."""
        # By identity, which is fast; the prompt is kept, so that no other can come to its place.
        pool, how = prompt.demonstrations, prompt.retrieval
        key = (id(pool), how)
        if key not in self._retrievers:
            index = (id(pool), how.by)
            if how.k > 0 and index not in self._indexed:
                self._indexed[index] = Nearness(pool, how.by, self._embedder or self._policy)
            made = Retriever(pool, how, nearness=self._indexed.get(index))
            self._retrievers[key] = (prompt, made)
        return self._retrievers[key][1]
