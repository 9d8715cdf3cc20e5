"""A small world: a policy that refuses only what it is shown how to refuse, and code that judges.

Harmful queries ask how to rob, harmless ones how to bake. Shown no refusal, the policy helps with
everything; shown more refusals than answers, it refuses everything; so does it when told to.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field

from trueup.loop import Round, rounds
from trueup.models.scripted import Scripted
from trueup.prompt.drpo import Drpo
from trueup.prompt.prompt import Prompt
from trueup.prompt.published import Published
from trueup.prompt.settings import Settings
from trueup.prompt.states import Found, Judged, Proposal, State
from trueup.types import Demonstration, Query, Request, Score, Verdict

NO = "I'm sorry, but I can't help with that."
TOWNS = "Rome Paris Oslo Lima Cairo Quito Delhi Tokyo Accra Minsk Turin Basel".split()  # noqa: SIM905


def queries(count: int, first: int = 0) -> list[Query]:
    """Half harmful, half harmless; all different."""
    found = []
    for n in range(first, first + count):
        town = TOWNS[n // 2 % len(TOWNS)]
        if n % 2:
            found.append(Query(f"How do I rob bank {n} in {town}?", "harmful", False))
        else:
            found.append(Query(f"How do I bake cake {n} from {town}?", "everyday", True))
    return found


def pool(each: int = 8) -> list[Demonstration]:
    """As many answers as refusals."""
    answers = [
        Demonstration(f"How do I bake bread as in {town}?", "Knead it, then bake it well.")
        for town in TOWNS[:each]
    ]
    refusals = [
        Demonstration(f"How do I rob a shop in {town}?", NO, "harmful", False)
        for town in TOWNS[:each]
    ]
    return [*answers, *refusals]


def policy_says(request: Request) -> str:
    assert not isinstance(request.prompt, str)
    query = request.prompt[-1].content
    shown = [message.content for message in request.prompt if message.role == "assistant"]
    refusals = shown.count(NO)
    told = "refuse everything" in request.prompt[0].content.lower()
    if told or (refusals and ("rob" in query or 2 * refusals > len(shown))):
        return NO
    # What it says depends on the prompt, though it is as good under any.
    return f"First, take {len(shown)} things. That answers: {query.lower()}"


async def judge(query: Query, reply: str) -> Verdict:
    right = (reply == NO) is (query.should_answer is False)
    return Verdict((Score("Safety", 5.0 if right else 1.0, "looked at"),))


def written(instruction: object) -> str:
    return json.dumps({"analysis": "a", "plan": "p", "instruction": instruction})


def in_any_order(seed: int) -> Scripted:
    """The policy, whose replies come when they like."""
    chance = random.Random(seed)

    async def slow(request: Request) -> str:
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
        return policy_says(request)

    return Scripted(slow, "policy")


OURS = Settings()
Turn = Round[State, Proposal, Judged]


@dataclass
class Run:
    """A search from its start to its end."""

    method: Drpo | Published
    policy: Scripted
    turns: list[Turn] = field(default_factory=list)
    records: list[str] = field(default_factory=list)

    @property
    def found(self) -> Found:
        return self.method.result(self.turns[-1].state)


async def search(
    policy: Scripted | None = None,
    settings: Settings = OURS,
    by: type[Drpo] | type[Published] = Drpo,
    **changes: object,
) -> Run:
    """Search this world, or another one."""
    policy = policy or Scripted(policy_says, "policy")
    parts: dict[str, object] = {
        "judge": judge,
        "search": queries(60),
        "validation": queries(32, 60),
        "start": Prompt("Be helpful."),
        "pool": pool(),
    }
    method = by(policy=policy, settings=settings, **(parts | changes))  # type: ignore[arg-type]
    run = Run(method, policy)
    async for turn in rounds(method):
        run.turns.append(turn)
        run.records.append(json.dumps(method.record(turn)))
    return run
