"""GEPA 0.1.4 on a task, with its own proposer or with proposals drawn from our pool as well.

    found = run(task, Door(task["url"]))     # {"instruction", "demonstrations", "note"}

Own material: one component, the system prompt; reflection by the writer with GEPA's own wording;
defaults of `gepa.optimize` (Pareto sampling, reflection minibatch 3, strict improvement).

Same pool: a second component holds up to four demonstrations of the pool, the same for every
query, because GEPA knows no retrieval. When it is an instruction's turn, a fair coin decides
between the writer's reflection and an edit from the pool: a line added that is said to help a
criterion on which the minibatch's replies fell short, or one taken out. When it is the
demonstrations' turn, one of them is added, replaced or taken out. Search, acceptance and selection
stay GEPA's.

The validation set is a twelfth of the budget; GEPA measures it once for the seed and once for every
accepted candidate. A stopper ends the run when the budget is spent.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import gepa
from door import Door, measured
from gepa.core.adapter import EvaluationBatch
from gepa.strategies.instruction_proposal import InstructionProposalSignature

PROMPT, SHOWN = "system_prompt", "demonstrations"
MOST_SHOWN = 4
TEMPERATURE = 1.0


class Adapter:
    """Runs candidates through the door; asks many at once, unlike GEPA's default adapter."""

    propose_new_texts = None

    def __init__(self, door: Door, pool: Sequence[dict[str, str]]) -> None:
        self._door, self._pool = door, pool

    def evaluate(
        self, batch: list[str], candidate: dict[str, str], capture_traces: bool = False
    ) -> EvaluationBatch[Any, Any]:
        found = measured(self._door, candidate[PROMPT], shown_by(candidate, self._pool), batch)
        traces = [
            {"query": query, "reply": reply, "opinion": opinion}
            for query, (reply, opinion) in zip(batch, found, strict=True)
        ]
        return EvaluationBatch(
            outputs=[one["reply"] for one in traces],
            scores=[one["opinion"].score for one in traces],
            trajectories=traces if capture_traces else None,
        )

    def make_reflective_dataset(
        self,
        candidate: dict[str, str],
        eval_batch: EvaluationBatch[Any, Any],
        components_to_update: list[str],
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        rows = [
            {
                "Inputs": one["query"],
                "Generated Outputs": one["reply"],
                "Feedback": one["opinion"].feedback,
                # Read by the pool's proposals only; GEPA's wording is given what is above.
                "criteria": one["opinion"].criteria,
            }
            for one in eval_batch.trajectories or ()
        ]
        return dict.fromkeys(components_to_update, rows)


def shown_by(candidate: Mapping[str, str], pool: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [pool[place] for place in json.loads(candidate.get(SHOWN, "[]"))]


class Proposals:
    """GEPA's `custom_candidate_proposer`: its own reflection, and with a pool edits from it."""

    def __init__(self, task: Mapping[str, Any], door: Door, *, pool: bool) -> None:
        self._door = door
        self._lines = task["lines"] if pool else []
        self._pool = task["demonstrations"] if pool else []
        self._chance = random.Random(task["seed"])
        self._asked = 0

    def __call__(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        return {
            name: self._shown(candidate[name])
            if name == SHOWN
            else self._instruction(candidate[name], reflective_dataset[name])
            for name in components_to_update
        }

    def _instruction(self, text: str, rows: Sequence[Mapping[str, Any]]) -> str:
        if not self._lines or self._chance.random() < 0.5:
            return self._reflected(text, rows)
        lines = text.splitlines()
        if len(lines) > 1 and self._chance.random() < 0.25:
            del lines[self._chance.randrange(1, len(lines))]
            return "\n".join(lines)
        weak = {name for row in rows for name, value in row["criteria"].items() if value < 5}
        fresh = [one for one in self._lines if one["text"] not in lines]
        fitting = [one for one in fresh if one["criterion"] in weak] or fresh
        return "\n".join([*lines, self._chance.choice(fitting)["text"]]) if fitting else text

    def _reflected(self, text: str, rows: Sequence[Mapping[str, Any]]) -> str:
        told = [{key: value for key, value in row.items() if key != "criteria"} for row in rows]
        given = {"current_instruction_doc": text, "dataset_with_feedback": told}
        found = InstructionProposalSignature.run(lm=self._reflect, input_dict=given)
        return str(found["new_instruction"])

    def _reflect(self, prompt: Any) -> str:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        self._asked += 1
        return self._door.writer(messages, temperature=TEMPERATURE, seed=self._asked)[0]

    def _shown(self, text: str) -> str:
        places = json.loads(text)
        others = [place for place in range(len(self._pool)) if place not in places]
        how = self._chance.choice(["add", "add", "replace", "remove"])
        if places and (how == "remove" or (how == "replace" and others)):
            del places[self._chance.randrange(len(places))]
        if how != "remove" and others and len(places) < MOST_SHOWN:
            places.append(self._chance.choice(others))
        return json.dumps(places)


class Quiet:
    def log(self, message: str) -> None:
        """GEPA tells every step; nobody reads it here."""


def run(task: Mapping[str, Any], door: Door) -> dict[str, Any]:
    """The best candidate on GEPA's own validation set."""
    pool = task["material"] == "pool"
    demonstrations = task["demonstrations"] if pool else []
    validation = task["validation"][: max(6, task["budget"] // 12)]
    seed = {PROMPT: task["start"]} | ({SHOWN: "[]"} if pool else {})
    most = 20 * task["budget"]  # rounds: a tool that repeats itself is answered for nothing

    found = gepa.optimize(
        seed_candidate=seed,
        trainset=task["search"],
        valset=validation,
        adapter=Adapter(door, demonstrations),
        custom_candidate_proposer=Proposals(task, door, pool=pool),
        stop_callbacks=[lambda state: door.spent or door.left() == 0 or state.i > most],
        logger=Quiet(),
        seed=task["seed"],
        raise_on_exception=False,
        track_best_outputs=False,
    )
    best = found.best_candidate
    assert isinstance(best, dict)
    note = f"{found.num_candidates} candidates accepted"
    shown = shown_by(best, demonstrations)
    return {"instruction": best[PROMPT], "demonstrations": shown, "note": note}
