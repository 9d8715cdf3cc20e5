"""DSPy's MIPROv2 and COPRO on a task, with their own material or with our pool as well.

    found = run(task, Door(task["url"]))     # {"instruction", "demonstrations", "note"}

The program is one `Predict("query -> response")` whose instruction is the plain prompt. It is laid
out as a plain conversation, not in DSPy's fields, because what is compared is the prompt found; the
writer is asked in DSPy's own layout.

Own material. MIPROv2: demonstrations bootstrapped from the policy's own good replies (up to 4,
score 0.5 or more), instructions by its grounded proposer. COPRO: instructions by the writer.

Same pool. MIPROv2: the pool is its labelled training set (up to 4 labelled demonstrations a set,
beside bootstrapped ones), and as many instruction candidates again are drawn from the pool's
lines, two lines each. COPRO: the program starts with 4 labelled demonstrations, as DSPy's
`LabeledFewShot` draws them; half of each request's instructions are drawn from the lines (added to
one that was tried before, the best half the time), and stand in for whatever of the writer's
cannot be read.

Sizes follow the budget B. MIPROv2: validation B/12, B/6 training queries to bootstrap from, 6
candidates; half as many trials again as the budget pays for, since repeated ones cost nothing.
COPRO: B/20 queries, depth 3, as much breadth as the budget pays for.
"""

from __future__ import annotations

import logging
import random
import re
import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import dspy
from door import THREADS, Door, Spent, laid_out
from dspy.teleprompt import COPRO, LabeledFewShot, MIPROv2

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")
dspy.settings.configure(disable_history=True)

CANDIDATES = 6
SHOWN = 4
GOOD = 0.5
ENDLESS = 10**9


class Through(dspy.BaseLM):
    """A model behind the door."""

    def __init__(self, door: Door, role: str) -> None:
        super().__init__(role, cache=False)
        self._door, self._role, self._asked = door, role, 0

    def forward(self, prompt: Any = None, messages: Any = None, **given: Any) -> Any:
        messages = messages or [{"role": "user", "content": prompt}]
        if self._role == "policy":
            texts = [self._door.policy(messages)]
        else:
            self._asked += 1
            texts = self.written(messages, given.get("n") or 1, given.get("temperature") or 0.0)
        choices = [
            SimpleNamespace(
                message=SimpleNamespace(content=one, tool_calls=None), finish_reason="stop"
            )
            for one in texts
        ]
        return SimpleNamespace(choices=choices, usage={}, model=self._role)

    def written(self, messages: Any, n: int, temperature: float) -> list[str]:
        return self._door.writer(messages, n=n, temperature=temperature, seed=100 * self._asked)


class WithLines(Through):
    """A writer half of whose instructions are made of the pool's lines: COPRO's way to them."""

    def __init__(self, door: Door, task: Mapping[str, Any]) -> None:
        super().__init__(door, "writer")
        self._task, self._chance = task, random.Random(task["seed"])

    def written(self, messages: Any, n: int, temperature: float) -> list[str]:
        drawn = n // 2
        try:
            said = super().written(messages, n - drawn, temperature)
        except Spent:
            said = []
        asked = messages[-1]["content"]
        usable = [one for one in said if "proposed_instruction ## ]]" in one]
        return usable + [self._drawn(asked) for _ in range(n - len(usable))]

    def _drawn(self, asked: str) -> str:
        # DSPy lists what was tried between guillemets, later lines of one indented.
        listed = re.findall(r"Instruction #\d+: (.*?)\s*»", asked, re.S)
        tried = ["\n".join(line.strip() for line in one.splitlines()) for one in listed]
        text = self._task["start"]
        if tried:  # they are listed from the worst to the best
            text = tried[-1] if self._chance.random() < 0.5 else self._chance.choice(tried)
        fresh = [one["text"] for one in self._task["lines"] if one["text"] not in text]
        text = "\n".join([text, *([self._chance.choice(fresh)] if fresh else [])])
        return (
            f"[[ ## proposed_instruction ## ]]\n{text}\n\n"
            "[[ ## proposed_prefix_for_output_field ## ]]\nResponse:\n\n[[ ## completed ## ]]"
        )


class Program(dspy.Module):
    """The policy is asked as users ask it, and all it says is the reply."""

    door: Door

    def __init__(self, instruction: str) -> None:
        super().__init__()
        self.predict = dspy.Predict(dspy.Signature("query -> response", instruction))

    def forward(self, query: str) -> Any:
        found = self.predict
        asked = laid_out(found.signature.instructions, shown_by(found), query)
        said = dspy.Prediction(response="" if self.door.spent else self.door.policy(asked))
        # What `Predict` does itself: demonstrations are bootstrapped from the trace.
        if dspy.settings.trace is not None:
            dspy.settings.trace.append((found, {"query": query}, said))
        return said


def shown_by(predictor: Any) -> list[dict[str, str]]:
    return [
        {"query": one["query"], "reply": one["response"]}
        for one in predictor.demos
        if "response" in one
    ]


class FromPool(MIPROv2):
    """MIPROv2 with instruction candidates made of the pool's lines beside its own."""

    lines: tuple[str, ...] = ()

    def _propose_instructions(self, program: Any, *args: Any, **kwargs: Any) -> Any:
        start = program.predictors()[0].signature.instructions
        try:
            found = super()._propose_instructions(program, *args, **kwargs)
        except Exception:
            found = {0: [start]}  # a writer that says nothing readable leaves the pool
        assert self.rng is not None
        for _ in range(CANDIDATES if self.lines else 0):
            two = self.rng.sample(self.lines, min(2, len(self.lines)))
            found[0].append("\n".join([start, *two]))
        return found


def run(task: Mapping[str, Any], door: Door) -> dict[str, Any]:
    """The best program's instruction and demonstrations; what went wrong is told in the note."""
    policy, writer = Through(door, "policy"), Through(door, "writer")
    Program.door = door  # not the program's own: programs are copied all the time

    def metric(example: Any, said: Any, trace: Any = None) -> float:
        return door.judge(example.query, said.response).score

    optimize = mipro if task["tool"] == "miprov2" else copro
    with dspy.context(lm=policy, num_threads=THREADS, max_errors=ENDLESS):
        found, note = optimize(task, door, metric, policy, writer)
    (predictor,) = found.predictors()
    return {
        "instruction": predictor.signature.instructions,
        "demonstrations": shown_by(predictor),
        "note": note,
    }


def _examples(queries: Any) -> list[Any]:
    return [dspy.Example(query=one).with_inputs("query") for one in queries]


def _labelled(pool: Any) -> list[Any]:
    return [
        dspy.Example(query=one["query"], response=one["reply"]).with_inputs("query") for one in pool
    ]


def mipro(
    task: Mapping[str, Any], door: Door, metric: Any, policy: Any, writer: Any
) -> tuple[Any, str]:
    budget, pool = task["budget"], task["material"] == "pool"
    size = max(6, budget // 12)
    enough = max(6, budget // 6)
    program = Program(task["start"])
    if pool:
        drawn = random.Random(task["seed"]).sample(
            task["demonstrations"], min(enough, len(task["demonstrations"]))
        )
        training = _labelled(drawn)
    else:
        training = _examples(task["search"][:enough])
    tool = FromPool(
        metric,
        prompt_model=writer,
        task_model=policy,
        auto=None,
        num_candidates=CANDIDATES,
        max_bootstrapped_demos=SHOWN,
        max_labeled_demos=SHOWN if pool else 0,
        metric_threshold=GOOD,
        num_threads=THREADS,
        max_errors=ENDLESS,
        seed=task["seed"] + 1,  # it takes 0 for "none given"
        track_stats=False,
    )
    if pool:
        tool.lines = tuple(one["text"] for one in task["lines"])
    found = tool.compile(
        program,
        trainset=training,
        valset=_examples(task["validation"][:size]),
        num_trials=3 * budget // (2 * size),
        minibatch=False,
    )
    return found, ""


def copro(
    task: Mapping[str, Any], door: Door, metric: Any, policy: Any, writer: Any
) -> tuple[Any, str]:
    budget, pool = task["budget"], task["material"] == "pool"
    size = max(6, budget // 20)
    program: Any = Program(task["start"])
    if pool:
        labelled = _labelled(task["demonstrations"])
        random.Random(task["seed"]).shuffle(labelled)
        program = LabeledFewShot(k=SHOWN).compile(program, trainset=labelled[:SHOWN])
        writer = WithLines(door, task)
    tool = COPRO(
        prompt_model=writer,
        metric=metric,
        breadth=max(3, round(budget / size / 3)),
        depth=3,
    )
    training = _examples([*task["validation"], *task["search"]][:size])
    try:
        found = tool.compile(
            program,
            trainset=training,
            eval_kwargs={"num_threads": THREADS, "display_progress": False},
        )
    except Exception as error:
        # One completion that cannot be read ends a run of COPRO.
        return program, f"{type(error).__name__}: {str(error)[:120]}"
    return found, ""
