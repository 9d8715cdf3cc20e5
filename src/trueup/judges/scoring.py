"""Score one reply on given criteria: by code what is code, the rest in one question to a model.

    judge = Static(model, POOL[:3])     # the same criteria for every query: the paper's ablation
    judge = Checks([Refusal()])         # only code: for those whose models are too weak to judge
    verdict = await judge(query, reply)

The model gives one object per criterion, the reason first and then the score, 1 to 5
(arXiv 2411.08733). What can be read is kept and what cannot is recorded in `Verdict.dropped`; a
judgement of which nothing can be read has failed, with the reason, and is never a low score.
Which criteria to use is not decided here: see `dynamic`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from trueup.errors import BudgetSpent, DataError, JudgeError, ModelUnavailable
from trueup.judges.ask import Failure, Said, Unreadable, ask, read_score
from trueup.judges.criteria import Check, Criterion, find, key, refuse_duplicates
from trueup.judges.template import Template, fenced, shortened
from trueup.models.model import Model
from trueup.types import Query, Sampling, Score, Verdict


@dataclass(frozen=True, slots=True)
class Selection:
    """The criteria that replies to one query are scored by, and why."""

    criteria: tuple[Criterion, ...]
    """In the pool's order, so that equal selections make equal prompts."""
    justification: str = ""
    dropped: tuple[str, ...] = ()
    """Names outside the pool, and why a fallback was used."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How a written judgement is asked for."""

    selection: tuple[int, int] = (2, 5)
    """Fewest and most criteria per query (arXiv 2411.08733: 2 to 5 for the system prompt)."""
    attempts: int = 3
    """How often an unreadable answer is asked for."""
    max_tokens: int = 1024
    """Of each answer. Published: 2048; fourteen reasons of the longest kind fit in this."""
    reason_characters: int = 400
    """The longest reason the schema admits: small models otherwise never stop giving one."""
    reply_characters: int = 12_000
    """Of a longer reply the judge is shown the beginning and the end."""
    seed: int = 0

    @property
    def sampling(self) -> Sampling:
        """Greedy, as published."""
        return Sampling(temperature=0.0, max_tokens=self.max_tokens, seed=self.seed)


class Static:
    """Scores every reply on the same criteria. A `Judge`."""

    def __init__(
        self,
        model: Model,
        criteria: Sequence[Criterion],
        settings: Judging = Judging(),
    ) -> None:
        """Raises `JudgeError` for no criteria or duplicate names."""
        usable(criteria)
        self._selection = Selection(tuple(criteria))
        self._scorer = Scorer(model, settings)

    async def __call__(self, query: Query, reply: str) -> Verdict:
        """Score a reply on the fixed criteria."""
        return await self._scorer(query, reply, self._selection)


class Checks:
    """Scores replies by code alone, with each check that applies. A `Judge` without a model."""

    def __init__(self, checks: Sequence[Criterion | Check]) -> None:
        """Takes checks, or criteria that carry one. Raises `JudgeError` for any other."""
        self._criteria = coded(checks)
        usable(self._criteria)

    async def __call__(self, query: Query, reply: str) -> Verdict:
        """Score a reply with every check that applies to its query."""
        scores, dropped = await checked(self._criteria, query, reply)
        if not scores:
            told = "; ".join(dropped) or "none applies to this query"
            return Verdict(failed=f"no check scored the reply: {told}", dropped=tuple(dropped))
        return Verdict(tuple(scores), dropped=tuple(dropped))


class Scorer:
    """Scores one reply by a selection. What `Dynamic` and `Static` share."""

    def __init__(self, model: Model, settings: Judging) -> None:
        self._model = model
        self._settings = settings
        self._template = Template.from_file("score.txt", beside=__file__)

    async def __call__(self, query: Query, reply: str, selection: Selection) -> Verdict:
        """The verdict; failed when nothing was scored or the model's part cannot be read."""
        scores, dropped = await checked(selection.criteria, query, reply)
        dropped = [*selection.dropped, *dropped]
        if len(reply) > (limit := self._settings.reply_characters):
            dropped.append(f"{len(reply) - limit} of {len(reply)} characters of the reply")
        written = [criterion for criterion in selection.criteria if criterion.check is None]
        if written:
            answer = await self._ask(query, reply, written, selection.justification)
            if isinstance(answer, Failure):
                # The checks alone would be another reward than that of the reply's siblings.
                return Verdict(failed=answer.reason, dropped=tuple(dropped))
            scores += answer.scores
            dropped += answer.dropped
        if not scores:
            told = "; ".join(dropped) or "no chosen criterion applies"
            return Verdict(failed=f"nothing was scored: {told}", dropped=tuple(dropped))
        place = {criterion.name: at for at, criterion in enumerate(selection.criteria)}
        scores.sort(key=lambda score: place[score.criterion])
        return Verdict(tuple(scores), dropped=tuple(dropped))

    async def _ask(
        self, query: Query, reply: str, criteria: Sequence[Criterion], justification: str
    ) -> Verdict | Failure:
        limit = self._settings.reply_characters
        messages = self._template.messages(
            rubric="\n".join(
                f"- {criterion.name}: 1 = {criterion.worst}; 5 = {criterion.best}"
                for criterion in criteria
            ),
            names=", ".join(criterion.name for criterion in criteria),
            **fenced(
                query=shortened(shown(query), limit),
                notes=justification or "(none)",
                reply=shortened(reply, limit),
            ),
        )
        score = exactly(
            {
                "reason": {"type": "string", "maxLength": self._settings.reason_characters},
                "score": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
            }
        )
        return await ask(
            self._model,
            messages,
            exactly({criterion.name: score for criterion in criteria}),
            lambda data: _read_scores(data, criteria),
            attempts=self._settings.attempts,
            sampling=self._settings.sampling,
        )


def shown(query: Query) -> str:
    """The query as a judge reads it: its text, after the earlier turns where there are any."""
    if not query.history:
        return query.text
    turns = [f"{message.role}: {message.content}" for message in query.history]
    return "\n".join([*turns, f"user: {query.text}"])


class _ScoreAnswer(BaseModel):
    """What is used of a criterion's entry. Additions are ignored."""

    reason: Said = ""
    score: Any


def _read_scores(data: Any, criteria: Sequence[Criterion]) -> Verdict:
    """The scores that can be read. Raises `Unreadable` when there are none."""
    if len(data) == 1 and key(next(iter(data))) in ("scores", "evaluation", "criteria", "verdict"):
        (data,) = data.values()
    if not isinstance(data, Mapping):
        raise Unreadable("the answer was not an object with one entry for each criterion")
    scores: dict[str, Score] = {}
    dropped: list[str] = []
    for name, entry in data.items():
        criterion = find(str(name), criteria)
        if criterion is None:
            dropped.append(f"{str(name)[:60]!r} was not asked for")
            continue
        try:
            answer = _ScoreAnswer.model_validate(
                entry if isinstance(entry, Mapping) else {"score": entry}
            )
            scores[criterion.name] = Score(criterion.name, read_score(answer.score), answer.reason)
        except ValueError as error:  # Unreadable, and pydantic's
            told = error if isinstance(error, Unreadable) else "the entry has no score"
            dropped.append(f"{criterion.name}: {told}")
    if not scores:
        raise Unreadable("; ".join(dropped[:3]) or "the answer had no entries")
    told_of = {text.partition(":")[0] for text in dropped}
    dropped += [
        f"{criterion.name}: no score was given"
        for criterion in criteria
        if criterion.name not in scores and criterion.name not in told_of
    ]
    return Verdict(tuple(scores.values()), dropped=tuple(dropped))


async def checked(
    criteria: Iterable[Criterion], query: Query, reply: str
) -> tuple[list[Score], list[str]]:
    """What the criteria that are code say, and what was left out."""
    scores: list[Score] = []
    dropped: list[str] = []
    for criterion in criteria:
        if (check := criterion.check) is None:
            continue
        try:
            applies = getattr(check, "applies", None)
            if applies is not None and not applies(query):
                if not criterion.always:
                    dropped.append(f"{criterion.name}: does not apply to this query")
                continue
            said = check(query, reply)
            if inspect.isawaitable(said):
                said = await said
            if said is not None:
                value, reason = (said.value, said.reason) if isinstance(said, Score) else (said, "")
                scores.append(Score(criterion.name, read_score(value), reason))
        except (BudgetSpent, ModelUnavailable):
            raise
        except Unreadable as error:
            dropped.append(f"{criterion.name}: {error}")
        except Exception as error:  # it may be the user's: a bug in it must not end the job
            dropped.append(f"{criterion.name}: its check raised {type(error).__name__}: {error}")
    return scores, dropped


def coded(checks: Iterable[Criterion | Check]) -> tuple[Criterion, ...]:
    """Checks as criteria. Raises `JudgeError` for a criterion that is not code."""
    criteria = tuple(
        check if isinstance(check, Criterion) else _as_criterion(check) for check in checks
    )
    for criterion in criteria:
        if criterion.check is None:
            raise JudgeError(
                f"The criterion {criterion.name!r} has no check. Give it one, or use Static."
            )
    return criteria


def _as_criterion(check: Check) -> Criterion:
    name = getattr(check, "name", None) or getattr(check, "__name__", type(check).__name__)
    return Criterion(str(name), good="", check=check, always=True)


def usable(criteria: Sequence[Criterion]) -> None:
    """Raise `JudgeError` for no criteria, or two of one name."""
    if not criteria:
        raise JudgeError("No criteria were given. Give at least one.")
    try:
        refuse_duplicates(criteria, "The criteria")
    except DataError as error:
        raise JudgeError(str(error)) from error


def exactly(properties: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema of an object with exactly these properties, in this order."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
