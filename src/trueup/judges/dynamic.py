"""DRPO's dynamic reward: choose the criteria this query needs, then score the reply on each.

    judge = Dynamic(model)
    await judge.select_all(queries)         # one concurrent burst, before the search
    verdict = await judge(query, reply)     # scores with reasons, 1 to 5; verdict.reward

What a good answer is depends on the question: a request for comfort wants empathy, a sum does not.
So the model first analyses the query and names two to five criteria of the pool with a
justification, once per query, and then scores every reply to it by these, with the justification
at hand (arXiv 2411.08733, section 3). How a reply is scored is in `scoring`; this is the choosing.

What is done differently from the published code, and why: the constant text of both prompts comes
first and the reply last, so that servers reuse their work; untrusted text is fenced; names outside
the pool are left out and recorded; criteria that are code are scored by the code. Where no
selection can be read a fixed set is used, and every verdict it leads to says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, field_validator

from trueup.errors import JudgeError
from trueup.judges.ask import Failure, Said, Unreadable, ask
from trueup.judges.criteria import POOL, Criterion, find
from trueup.judges.once import Once
from trueup.judges.scoring import (
    Judging,
    Scorer,
    Selection,
    exactly,
    shown,
    usable,
)
from trueup.judges.template import Template, fenced, shortened
from trueup.models.model import Model
from trueup.types import Query, Verdict

FALLBACK = ("Helpfulness", "Clarity", "Factuality")
"""What replies are scored by where no selection could be read: what most queries are given."""


class Dynamic:
    """Chooses criteria for each query and scores replies on them. A `Judge`."""

    def __init__(
        self,
        model: Model,
        pool: Sequence[Criterion] = POOL,
        settings: Judging = Judging(),  # noqa: B008 - a frozen value
        *,
        fallback: Sequence[str] = FALLBACK,
    ) -> None:
        """Raises `JudgeError` for an empty pool, duplicate names or impossible sizes."""
        usable(pool)
        fewest, most = settings.selection
        if not 1 <= fewest <= most:
            raise JudgeError(
                f"A selection of {fewest} to {most} criteria is impossible; write (2, 5), say."
            )
        self._model = model
        self._pool = tuple(pool)
        self._settings = settings
        self._fallback = (
            tuple(criterion for name in fallback if (criterion := find(name, pool)) is not None)
            or self._pool[:most]
        )
        self._template = Template.from_file("select.txt", beside=__file__)
        self._scorer = Scorer(model, settings)
        self._selections: Once[str, Selection] = Once()

    async def select(self, query: Query) -> Selection:
        """The criteria for a query, asked for once however many wait for them.

        Raises `BudgetSpent` and `ModelUnavailable`; the next call then asks again.
        """
        asked = shown(query)
        return await self._selections(asked, lambda: self._choose(asked))

    async def select_all(self, queries: Iterable[Query]) -> tuple[Selection, ...]:
        """The criteria for each query, in order, asked for all at once."""
        return tuple(await asyncio.gather(*(self.select(query) for query in queries)))

    async def __call__(self, query: Query, reply: str) -> Verdict:
        """Score a reply on the criteria chosen for its query."""
        return await self._scorer(query, reply, await self.select(query))

    async def _choose(self, asked: str) -> Selection:
        fewest, most = self._bounds()
        messages = self._template.messages(
            pool="\n".join(f"- {criterion.name}: {criterion.good}" for criterion in self._pool),
            fewest=str(fewest),
            most=str(most),
            **fenced(query=shortened(asked, self._settings.reply_characters)),
        )
        answer = await ask(
            self._model,
            messages,
            self._schema(),
            self._read,
            attempts=self._settings.attempts,
            sampling=self._settings.sampling,
        )
        if isinstance(answer, Failure):
            names = ", ".join(criterion.name for criterion in self._fallback)
            said = f"selection failed ({answer.reason}); used {names}"
            answer = Selection(self._fallback, dropped=(said,))
        return self._with_mandatory(answer)

    def _bounds(self) -> tuple[int, int]:
        fewest, most = self._settings.selection
        return min(fewest, len(self._pool)), min(most, len(self._pool))

    def _schema(self) -> dict[str, Any]:
        fewest, most = self._bounds()
        text = {"type": "string", "maxLength": self._settings.reason_characters // 2}
        names = [criterion.name for criterion in self._pool]
        parts = ("topic", "intent", "ambiguities", "format", "challenges")
        return exactly(
            {
                "analysis": exactly(dict.fromkeys(parts, text)),
                "reasoning": {"type": "string", "maxLength": 2 * self._settings.reason_characters},
                "criteria": {
                    "type": "array",
                    "items": {"type": "string", "enum": names},
                    "minItems": fewest,
                    "maxItems": most,
                },
            }
        )

    def _read(self, data: Any) -> Selection:
        if "criteria" not in data and isinstance(data.get("selection"), dict):
            data = data["selection"]
        answer = _SelectionAnswer.model_validate(data)
        fewest, most = self._bounds()
        chosen: dict[str, Criterion] = {}
        dropped: list[str] = []
        for name in answer.criteria:
            if (criterion := find(name, self._pool)) is None:
                dropped.append(f"{name[:60]!r} is not in the pool")
            elif criterion.name not in chosen and len(chosen) == most:
                dropped.append(f"{criterion.name}: more than {most} criteria were named")
            else:
                chosen[criterion.name] = criterion
        if len(chosen) < fewest:
            raise Unreadable(f"{len(chosen)} different criteria of the list were named")
        return Selection(
            tuple(criterion for criterion in self._pool if criterion.name in chosen),
            shortened(answer.reasoning, 2 * self._settings.reason_characters),
            tuple(dropped),
        )

    def _with_mandatory(self, selection: Selection) -> Selection:
        criteria = tuple(
            criterion
            for criterion in self._pool
            if criterion in selection.criteria or criterion.always
        )
        return replace(selection, criteria=criteria)


class _SelectionAnswer(BaseModel):
    """What is used of a selection. A model's additions are ignored: re-asking would cost more."""

    reasoning: Said = ""
    criteria: list[Said]

    @field_validator("criteria", mode="before")
    @classmethod
    def _split(cls, names: object) -> object:
        return names.split(",") if isinstance(names, str) else names
