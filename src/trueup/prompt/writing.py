"""What a writer proposes: an instruction rewritten under critique, or said in other words.

    writing = Writing(writer, Sampling(temperature=0.2, max_tokens=2048))
    outcome = await writing.rewrite("You are kind.", failures, earlier, count=3)
    outcome.instructions        # usable ones
    outcome.refused             # what was turned down, and why

The writer sees several failures with the judge's reasons, and earlier versions with their scores
(DRPO shows one record and up to four earlier versions, arXiv 2411.08733, code). A weak writer
returns its own question, a placeholder, a fragment, or a sentence from a query: such
proposals are refused here, before a single call of the policy is spent on them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from trueup.errors import ModelError, ModelUnavailable
from trueup.judges.ask import Failure, Said, Unreadable, ask, parsed
from trueup.judges.scoring import exactly
from trueup.judges.template import Template, fenced, shortened
from trueup.models.model import Model
from trueup.prompt.candidates import Measurement
from trueup.prompt.similarity import bare
from trueup.types import Message, Request, Sampling, Verdict

LONGEST_INSTRUCTION = 400
"""Words. The published prompts have about 300."""


@dataclass(frozen=True, slots=True)
class Written:
    """What came of asking a writer."""

    instructions: tuple[str, ...]
    refused: tuple[str, ...] = ()


class _Rewritten(BaseModel):
    model_config = ConfigDict(extra="ignore")
    analysis: Said = ""
    plan: Said = ""
    instruction: str | list[str]
    """Bullets may come as a list of lines."""


_TEXT = {"type": "string"}
REWRITE_SCHEMA = exactly({"analysis": _TEXT, "plan": _TEXT, "instruction": _TEXT})
PARAPHRASE_SCHEMA = exactly({"instruction": _TEXT})


class Writing:
    """Asks a writer for instructions."""

    def __init__(self, writer: Model, sampling: Sampling, *, screen: bool = True) -> None:
        """`screen` refuses unusable proposals; published DRPO takes whatever it can read."""
        self._writer = writer
        self._sampling = sampling
        self._screen = screen
        self._rewrite = Template.from_file("rewrite.txt", beside=__file__)
        self._paraphrase = Template.from_file("paraphrase.txt", beside=__file__)

    async def rewrite(
        self,
        instruction: str,
        failures: Sequence[Measurement],
        earlier: Sequence[tuple[str, float | None]],
        *,
        count: int = 1,
        focus: str = "",
        seed: int = 0,
    ) -> Written:
        """`count` revisions of an instruction. Raises `BudgetSpent` and `ModelUnavailable`."""
        messages = self._rewrite.messages(
            focus=f"Above all, improve this: {focus}.\n" if focus else "",
            **fenced(
                history=_history(earlier),
                instruction=instruction,
                failures="\n\n".join(_shown(one) for one in failures),
            ),
        )
        return await self._asked(messages, REWRITE_SCHEMA, count, seed, (instruction, failures))

    async def paraphrase(self, instruction: str, *, seed: int = 0) -> Written:
        """The instruction in other words."""
        messages = self._paraphrase.messages(**fenced(instruction=instruction))
        return await self._asked(messages, PARAPHRASE_SCHEMA, 1, seed, (instruction, ()))

    async def _asked(
        self,
        messages: Sequence[Message],
        schema: Mapping[str, Any],
        count: int,
        seed: int,
        given: tuple[str, Sequence[Measurement]],
    ) -> Written:
        """One request of `count` choices; each unreadable one is asked for again by itself."""
        sampling = replace(self._sampling, n=count, seed=seed)
        answers: list[str | Failure] = []
        try:
            reply = await self._writer.reply(Request(tuple(messages), sampling, schema))
            choices = [one.text for one in reply.choices]
        except ModelUnavailable:
            raise
        except ModelError as error:
            return Written((), (f"the writer failed: {error}",))
        for index, text in enumerate(choices):
            try:
                answers.append(_read(parsed(text, whole=True)))
            except (Unreadable, ValidationError):
                again = replace(sampling, n=1, seed=seed + count + index)
                answers.append(
                    await ask(
                        self._writer,
                        messages,
                        schema,
                        _read,
                        attempts=1,
                        sampling=again,
                        whole=True,
                    )
                )
        usable: list[str] = []
        refused: list[str] = []
        for answer in answers:
            if isinstance(answer, Failure):
                refused.append(answer.reason)
            elif self._screen and (why := objection(answer, {given[0], *usable}, given[1])):
                refused.append(why)
            else:
                usable.append(answer)
        return Written(tuple(usable), tuple(refused))


def _read(data: Any) -> str:
    said = _Rewritten.model_validate(data).instruction
    text = said if isinstance(said, str) else "\n".join(said)
    # Models that escape twice leave the two characters backslash and n.
    text = text.replace("\\n", "\n").strip()
    if not text:
        raise Unreadable("the instruction was empty")
    return text


_PLACEHOLDER = re.compile(r"\{\{|\}\}|\.\.\.$|^\.\.\.|\[(insert|your|the|new)\b|<[a-z_ ]+>", re.I)
_OUR_WORDS = (
    "the whole new instruction",
    "the whole instruction in other words",
    "what goes wrong and why",
    "BEGIN INSTRUCTION",
    "BEGIN FAILURES",
)


def objection(
    instruction: str, known: Collection[str], shown: Sequence[Measurement] = ()
) -> str | None:
    """Why an instruction is not worth a call of the policy, or None.

    Placeholders, echoes of the question, duplicates, fragments, novels, JSON, and text lifted
    from a query or a reply.
    """
    said = bare(instruction)
    length = len(said.split())
    if length < 3:
        return "a fragment"
    if length > LONGEST_INSTRUCTION:
        return f"{length} words; at most {LONGEST_INSTRUCTION}"
    if said in {bare(one) for one in known}:
        return "a duplicate"
    if any(bare(words) in said for words in _OUR_WORDS) or _PLACEHOLDER.search(instruction):
        return "a placeholder or an echo of the question"
    if instruction.lstrip().startswith(("{", "[{", "```")):
        return "not a text"
    runs = {run for one in shown for text in (one.query.text, one.reply) for run in _runs(text)}
    if runs & _runs(instruction):
        return "lifted from a query or a reply"
    lines = [line.strip() for line in instruction.splitlines() if line.strip()]
    if len(lines) > 3 and len(set(lines)) < len(lines) / 2:
        return "the same lines over and over"
    return None


def _runs(text: str, n: int = 8) -> set[str]:
    words = bare(text).split()
    return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}


def _history(earlier: Sequence[tuple[str, float | None]]) -> str:
    if not earlier:
        return "There are no earlier versions."
    return "\n\n".join(
        f"Version {number}, mean score "
        + ("unknown" if score is None else f"{score:.2f}")
        + f":\n{text}"
        for number, (text, score) in enumerate(earlier, start=1)
    )


def _shown(one: Measurement) -> str:
    return (
        f"Query: {shortened(one.query.text, 1500)}\n"
        f"Answer: {shortened(one.reply, 3000)}\n"
        f"Findings: {findings(one.verdict)}"
    )


def findings(verdict: Verdict) -> str:
    """A verdict in words, worst score first."""
    if verdict.failed is not None:
        return "none (the judgement failed)"
    worst_first = sorted(verdict.scores, key=lambda score: score.value)
    return "; ".join(f"{s.criterion} {s.value:g} of 5 ({s.reason})" for s in worst_first)
