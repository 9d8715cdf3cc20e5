"""An aligned model inside Inspect AI: a solver that puts the prompt in front, a scorer of code.

    inspect eval trueup/aligned -T run=runs/align-1a2b3c4d --model openai/gpt-5-mini
    inspect eval trueup/aligned -T run=runs/align-1a2b3c4d -T base=true --model ...

The task asks a run's held-out queries, or those of a file, of any model that Inspect knows, under
the prompt the run found. `aligned_prompt` is a solver like any other and goes in front of other
tasks' queries too; `code_checks` scores any reply: as it should be (answered or refused), whole, on
topic. Prompts of the raw layout continue a text, and Inspect's models take messages only: these are
refused.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from trueup.aligned import Aligned
from trueup.data.reading import read_queries
from trueup.errors import SettingsError
from trueup.export.finished import finished
from trueup.judges.checks import Relevance, Repetition, outcome
from trueup.models.named import open_model
from trueup.models.scripted import Scripted
from trueup.prompt.prompt import Prompted
from trueup.types import Message, Query, Request

CHECKS = (Repetition(), Relevance())
TURNS = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


@task
def aligned(run: str, data: str | None = None, base: bool = False) -> Task:
    """A run's prompt on its held-out queries, or on `data`; with `base` the prompt it began with.

    Raises `TrueupError` where the folder or the file cannot be used.
    """
    source = Aligned.load(run)
    return Task(
        dataset=MemoryDataset([_sample(one) for one in _queries(run, data)], name=Path(run).name),
        solver=aligned_prompt(run, base),
        scorer=code_checks(),
        metadata={"instruction": source.prompt.instruction, "searched_for": source.model_name},
    )


@solver
def aligned_prompt(run: str, base: bool = False) -> Solver:
    """Put a run's prompt, found or `base`, in front of the conversation; generate as it did."""
    found = Aligned.load(run)
    prompt = finished(run).prompts["base"] if base else found.prompt
    if prompt.format == "raw":
        raise SettingsError(
            f"{run} holds a prompt in the raw layout, a text to continue, and Inspect's models "
            "take messages: align with --format turns."
        )
    embedder = open_model(found.embedder_name) if found.embedder_name else Scripted(())
    prompted = Prompted(Scripted(()), prompt, embedder)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        asked = tuple(Message(one.role, one.text) for one in state.messages)  # type: ignore[arg-type]
        laid_out = (await prompted.request(Request(asked))).prompt
        state.messages = [_turn(one) for one in laid_out if isinstance(one, Message)]
        return await generate(state, **_drawn(found))

    return solve


@scorer(metrics={"*": [mean(), stderr()]})
def code_checks() -> Scorer:
    """Our code checks: `as it should` is 1 or 0, the others are scores from 1 to 5.

    What a check has nothing to say of is left out of its mean.
    """

    async def score(state: TaskState, target: Target) -> Score:
        # Not from the state's messages: demonstrations are no history.
        earlier = [] if isinstance(state.input, str) else state.input[:-1]
        query = Query(
            state.input_text,
            should_answer=state.metadata.get("should_answer"),
            history=tuple(Message(one.role, one.text) for one in earlier),  # type: ignore[arg-type]
        )
        reply = state.output.completion
        found = outcome(query, reply)
        values: dict[str, Any] = {"as it should": math.nan}
        if query.should_answer is not None:
            wanted = "answered" if query.should_answer else "refused"
            values["as it should"] = float(found == wanted)
        given = {one.name: one(query, reply) for one in CHECKS}
        values |= {name: one.value if one else math.nan for name, one in given.items()}
        reasons = [f"{name}: {one.reason}" for name, one in given.items() if one]
        return Score(value=values, answer=found, explanation="\n".join([found, *reasons]))

    return score


def _queries(run: str, data: str | None) -> list[Query]:
    if data is not None:
        return read_queries(data)
    asked = [one["query"] for one in finished(run).sides["aligned"]["results"]]
    turns = (tuple(Message(**turn) for turn in one["history"]) for one in asked)
    return [Query(**{**one, "history": history}) for one, history in zip(asked, turns, strict=True)]


def _sample(query: Query) -> Sample:
    turns = [_turn(one) for one in (*query.history, Message("user", query.text))]
    wanted = {True: "answered", False: "refused", None: ""}[query.should_answer]
    return Sample(
        input=turns,
        target=query.reference or wanted,
        metadata={
            "category": query.category,
            "should_answer": query.should_answer,
        },
    )


def _turn(turn: Message) -> ChatMessage:
    return TURNS[turn.role](content=turn.content)


def _drawn(found: Aligned) -> dict[str, Any]:
    """How the run's replies were drawn, as Inspect has it."""
    how = found.sampling
    settings = {
        "temperature": how.temperature,
        "top_p": how.top_p,
        "max_tokens": how.max_tokens,
        "seed": how.seed,
        "stop_seqs": list(how.stop) or None,
        "frequency_penalty": how.frequency_penalty or None,
    }
    return {name: value for name, value in settings.items() if value is not None}
