"""DRPO's first stage: rewrite each example's answer until a strict judge is content with it.

    done = await rewrite_demonstrations(demonstrations, writer=writer, judge=judge)
    pool = [one.demonstration for one in done]
    done[0].rewards                     # (3.4, 4.2, 4.0): the draft's first
    done[0].notes                       # what went wrong on the way

Each pair goes its own way, all at once: the judge scores the answer, the writer sees the scores
with their reasons and writes a new answer, which is scored in turn and becomes the one to work on
whether it is better or not; the best so far is kept, the newer among equals. A pair ends after five
rewritings or with one that has full marks, which is looked at after a rewriting only, so a perfect
draft costs one too (arXiv 2411.08733 and its code: greedy, one chain per pair). At most one
selection, six judgements and five rewritings a pair; published DRPO lets a `Dynamic` judge choose
three to six criteria here.

What is done differently, and why: where an answer cannot be read or judged, the best so far stays
and a note says so, where the official code stops or scores 0; answers are compared by their mean
score, which is the same as the published sum wherever both were scored on all criteria; and a
rewriting that turns a refusal into an answer, or the reverse, is sent back, for the pool is trusted
to show what it says it shows.

It does not choose which demonstrations to show: see `retrieval`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from trueup.errors import SettingsError
from trueup.judges.ask import Failure, Said, Unreadable, ask
from trueup.judges.judge import Judge, judged
from trueup.judges.refusal import refused
from trueup.judges.scoring import exactly
from trueup.judges.template import Template, fenced, shortened
from trueup.models.model import Model
from trueup.models.several import together
from trueup.prompt.prompt import END, START
from trueup.prompt.writing import findings
from trueup.types import HIGHEST_SCORE, Demonstration, Query, Sampling, Verdict

ITERATIONS = 5
"""Published, like the sampling."""
SAMPLING = Sampling(temperature=0.0, max_tokens=2048)
WORDS = 350
"""The most a rewritten answer is to have; the published ones have 337 on average."""
_TOLERANCE = 1.5
"""Times as many words are let pass: writers count badly."""
_SHOWN = 6000
"""Characters of an answer that the writer is shown."""


@dataclass(frozen=True, slots=True)
class Version:
    """An answer on the way, and what the judge said of it."""

    reply: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of one demonstration."""

    demonstration: Demonstration
    """With the best answer that was found; the draft where nothing was better."""
    versions: tuple[Version, ...]
    """The draft, then every rewriting that could be read, in order."""
    notes: tuple[str, ...] = ()
    """What could not be read or judged."""

    @property
    def rewards(self) -> tuple[float | None, ...]:
        """Mean score of each version, 1 to 5; None where the judgement failed."""
        return tuple(version.verdict.reward for version in self.versions)


async def rewrite_demonstrations(
    demonstrations: Sequence[Demonstration],
    *,
    writer: Model,
    judge: Judge,
    iterations: int = ITERATIONS,
    words: int = WORDS,
    attempts: int = 3,
    sampling: Sampling = SAMPLING,
) -> list[Rewritten]:
    """Rewrite every demonstration's answer, in their order, all at once.

    An unreadable rewriting is asked for up to `attempts` times. Raises `SettingsError` for
    impossible numbers; lets `BudgetSpent` and `ModelUnavailable` through: those end the job.
    """
    for name, value in (("iterations", iterations), ("words", words), ("attempts", attempts)):
        if value < 1:
            raise SettingsError(f"{name} is {value}; it must be 1 or more.")
    rewriting = _Rewriting(writer, judge, iterations, words, attempts, sampling)
    return await together([rewriting.of(one) for one in demonstrations])


@dataclass(frozen=True, slots=True)
class _Rewriting:
    """One way to rewrite, for any number of pairs."""

    writer: Model
    judge: Judge
    iterations: int
    words: int
    attempts: int
    sampling: Sampling

    async def of(self, demonstration: Demonstration) -> Rewritten:
        """One pair's chain."""
        query = Query(
            demonstration.query, demonstration.category, should_answer=demonstration.shows_answer
        )
        now = best = Version(
            demonstration.reply, await judged(self.judge, query, demonstration.reply)
        )
        versions, notes = [now], _missing(now, "the draft")
        for number in range(1, self.iterations + 1):
            reply = await self._rewritten(demonstration, now)
            if isinstance(reply, Failure):
                # Greedy: the same question would be answered the same.
                notes.append(f"rewriting {number}: {reply.reason}")
                break
            now = Version(reply, await judged(self.judge, query, reply))
            versions.append(now)
            notes += _missing(now, f"rewriting {number}")
            if _at_least(now, best):
                best = now
            if best.verdict.reward == HIGHEST_SCORE:
                break
        return Rewritten(replace(demonstration, reply=best.reply), tuple(versions), tuple(notes))

    async def _rewritten(self, demonstration: Demonstration, now: Version) -> str | Failure:
        template = Template.from_file("rewrite_answer.txt", beside=__file__)
        messages = template.messages(
            words=str(self.words),
            **fenced(
                query=demonstration.query,
                reply=shortened(now.reply, _SHOWN),
                findings=findings(now.verdict),
            ),
        )
        return await ask(
            self.writer,
            messages,
            _SCHEMA,
            lambda data: self._read(data, demonstration),
            attempts=self.attempts,
            sampling=self.sampling,
            whole=True,
        )

    def _read(self, data: Any, demonstration: Demonstration) -> str:
        reply = _bare(_Answer.model_validate(data).reply)
        if not reply:
            raise Unreadable("the reply was empty")
        if reply.strip(".").lower() in _PLACEHOLDERS:
            raise Unreadable("the reply was a placeholder")
        if (count := len(reply.split())) > self.words * _TOLERANCE:
            raise Unreadable(f"the reply had {count} words; at most {self.words} are wanted")
        told = refused(demonstration.reply)
        # Where the code misreads the draft, it is no guide to the rewriting.
        if told is not demonstration.shows_answer and refused(reply) is not told:
            wanted = "answers" if demonstration.shows_answer else "declines"
            raise Unreadable(f"this example {wanted} its query, and the new reply does not")
        return reply


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")
    analysis: Said = ""
    plan: Said = ""
    reply: str


_TEXT = {"type": "string"}
_SCHEMA = exactly({"analysis": _TEXT, "plan": _TEXT, "reply": _TEXT})
_PLACEHOLDERS = frozenset(("", "the whole new answer", "[the whole new answer]", "new answer"))


def _bare(reply: str) -> str:
    """Without the raw layout's markers, which it puts there itself, and double escapes."""
    reply = reply.replace("\\n", "\n").strip()
    return re.sub(rf"^{START}|{END}$", "", reply).strip()


def _missing(version: Version, which: str) -> list[str]:
    failed = version.verdict.failed
    return [] if failed is None else [f"{which}: its judgement failed ({failed})"]


def _at_least(new: Version, best: Version) -> bool:
    """Whether the new version takes the best one's place: ties prefer the newer."""
    ours, theirs = new.verdict.reward, best.verdict.reward
    return ours is not None and (theirs is None or ours >= theirs)
