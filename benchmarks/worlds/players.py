"""The three models of a world: a chat request in, texts out. No I/O.

    players = Players(World("easy", 0))
    players.answer("policy", messages, n=1, seed=0)         # ["In short, the kettle ..."]

* policy: answers the last user turn; the system turn and earlier turns are its context.
* judge: scores one reply to one query, in the form it is asked in: DRPO's two questions (choose
  criteria; score on each), a JSON object, or a number.
* writer: finds the present instruction and what was said against its replies, and revises it.

Messages laid out by DSPy (`[[ ## field ## ]]`), by GEPA (text between triple backticks) and by
trueup (`BEGIN NAME code`) are read and answered in kind. Nobody's messages are told from anybody
else's in any other way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Any

from worlds.behaviours import (
    BEHAVIOURS,
    BY_NAME,
    CRITERIA,
    NAMES,
    PLACEBOS,
    asked_by,
    exhibited,
    induced,
    sentences,
)
from worlds.world import World

Turn = Mapping[str, str]
MOST_LINES = 9

_FIELD = re.compile(r"\[\[ ## (\w+) ## \]\]")
_FENCED = re.compile(r"^BEGIN ([A-Z ]+) (\w+)\n(.*?)\nEND \1 \2$", re.M | re.S)
_SCORED = re.compile(rf"\b({'|'.join(CRITERIA)})\b\W{{0,12}}(?:score\W{{0,4}})?([1-5](?:\.\d+)?)")
_OBJECTIVE = re.compile(r"your objective is:\s*(.*)\Z", re.S)


class Players:
    """Policy, judge and writer of one world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def answer(
        self,
        model: str,
        messages: Sequence[Turn],
        *,
        n: int = 1,
        seed: int = 0,
        schema: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """`n` texts. The role is whichever of policy, judge and writer the model's name holds."""
        role = next((one for one in ("judge", "writer") if one in model), "policy")
        player = {"policy": self._policy, "judge": self._judge, "writer": self._writer}[role]
        return [player(messages, seed + place, schema) for place in range(n)]

    # Policy

    def _policy(self, messages: Sequence[Turn], seed: int, schema: Any) -> str:
        system = "\n".join(one["content"] for one in messages if one["role"] == "system")
        turns = [one for one in messages if one["role"] != "system"]
        asked = turns[-1]["content"] if turns else ""
        pairs = [
            (one["content"], two["content"])
            for one, two in pairwise(turns)
            if one["role"] == "user" and two["role"] == "assistant"
        ]
        if "# Answer\n" in system:  # demonstrations inside the system turn
            system, *blocks = re.split(r"^# Query\n", system, flags=re.M)
            found = [tuple(block.split("# Answer\n", 1)) for block in blocks]
            pairs = [(one[0], one[1]) for one in found if len(one) == 2] + pairs
        objective = _OBJECTIVE.search(system)
        instruction = objective[1] if objective else system
        instruction, asked = instruction.strip(), self._query_in(asked)
        reply = self.world.reply_text(instruction, pairs, asked, seed)
        return _in_kind(messages, schema, {}, reply)

    def _query_in(self, text: str) -> str:
        return self.world.asked(text).text

    # Judge

    def scores(self, query: str, reply: str, among: Sequence[str] = ()) -> dict[str, int]:
        """What the judge gives a reply on each criterion, 1 to 5: with its error and its bias."""
        world, rules = self.world, self.world.rules
        does = exhibited(reply)
        levels = world.levels(query, does)
        overall = sum(levels.values()) / len(levels)
        bias = rules.bias + (rules.flattered if "flatter" in does else 0.0)
        found = {}
        for name in among or levels:
            error = rules.noise * _NORMAL.inv_cdf(world.chance("judged", name, query, reply))
            value = 1 + 4 * levels.get(name, overall) + bias + error
            found[name] = min(5, max(1, round(value)))
        return found

    def _judge(self, messages: Sequence[Turn], seed: int, schema: Any) -> str:
        text = "\n".join(one["content"] for one in messages)
        fences = {name: inside for name, _, inside in _FENCED.findall(text)}
        query = self._query_in(fences.get("QUERY", messages[-1]["content"]))
        if self.world.chance("unreadable", text, seed) < self.world.rules.failures:
            return "I would say that this answer is quite good, though it depends."
        if "which criteria should" in text.lower() or _asks_for(schema, "criteria"):
            return self._selection(query)
        reply = (
            fences.get("REPLY") or fences.get("ANSWER") or _after(messages[-1]["content"], query)
        )
        asked = re.search(r"Mark this answer on: (.*)\. Answer with", text)
        if asked:
            names = [name.strip() for name in asked[1].split(",")]
        else:
            said = "|".join(re.findall(r"(?:\bon|criteria)\b.*", text))
            names = [name for name in CRITERIA if name in said] or list(self.world.wanted(query))
        scores = self.scores(query, reply, names)
        mean = sum(scores.values()) / len(scores)
        reasons = {name: _reason(name, value) for name, value in scores.items()}
        if asked:
            return json.dumps(
                {name: {"reason": reasons[name], "score": scores[name]} for name in scores}
            )
        told = "; ".join(f"{name} {value} of 5 ({reasons[name]})" for name, value in scores.items())
        fields = {"score": f"{mean:.2f}", "rating": f"{mean:.2f}", "feedback": told}
        if re.search(r"\b(only|just|single) (a |the )?(number|score|digit)", text, re.I):
            return f"{mean:.2f}"
        plain = json.dumps({"score": round(mean, 2), "criteria": scores, "feedback": told})
        return _in_kind(messages, schema, fields, plain)

    def _selection(self, query: str) -> str:
        named = list(self.world.wanted(query))
        if len(named) < 2:
            named.append("Helpfulness" if "Helpfulness" not in named else "Clarity")
        empty = dict.fromkeys(("topic", "intent", "ambiguities", "format", "challenges"), "")
        said = f"An excellent answer does well on {', '.join(named)}."
        return json.dumps({"analysis": empty, "reasoning": said, "criteria": named})

    # Writer

    def _writer(self, messages: Sequence[Turn], seed: int, schema: Any) -> str:
        text = "\n".join(one["content"] for one in messages)
        present = _present_instruction(messages)
        chance = _Chance(self.world, text, seed)
        # What asks for other words is told by its system turn: replies may hold such a phrase too.
        head = messages[0]["content"]
        if re.search(r"in other,? |paraphras|other words", head, re.I) and "judge" not in head:
            revised = self._reworded(present, chance)
        else:
            revised = self._revised(present, _complaints(text), chance)
        fields = {"reasoning": "The answers were weak where the instruction says nothing.",
                  "analysis": "Some criteria score low.", "plan": "Ask for what is missing.",
                  "summary": "Everyday questions about things of the house.",
                  "observations": "Everyday questions about things of the house."}  # fmt: skip
        if "```" in text:
            return _in_kind(messages, schema, fields, f"```\n{revised}\n```", revised)
        return _in_kind(messages, schema, fields, revised, revised)

    def _revised(self, present: str, weak: Mapping[str, float], chance: _Chance) -> str:
        lines = [one for one in present.splitlines() if one.strip()] or ["You help users."]
        head, rest = lines[0], lines[1:]
        if rest and chance() < 0.2:
            del rest[int(chance() * len(rest))]
        for _ in range(1 + (chance() < 0.4)):
            line = self._new_line("\n".join([head, *rest]), weak, chance)
            if line is not None:
                rest.append(line)
        return "\n".join([head, *rest[-MOST_LINES + 1 :]])

    def _new_line(self, present: str, weak: Mapping[str, float], chance: _Chance) -> str | None:
        rules, effects = self.world.rules, self.world.effects
        has = induced(present)
        focus = chance.weighted(weak) if weak else chance.of(CRITERIA)
        draw = chance()
        if draw < rules.sound:
            helps = {n: e for n in NAMES if n not in has and (e := effects[n].get(focus, 0.0)) > 0}
            if focus == "Safety" and "decline" not in has:
                helps = {"decline": 1.0}
            if helps:
                return chance.of(BY_NAME[chance.weighted(helps)].lines)
        elif draw < rules.sound + rules.unsound:
            harms = [n for n in NAMES if n not in has and sum(effects[n].values()) < 0]
            harms = [n for n in harms if n != "flatter" or rules.flattered]
            if harms:
                return chance.of(BY_NAME[chance.of(harms)].lines)
        every = [*PLACEBOS, *(line for one in BEHAVIOURS for line in one.lines)]
        fresh = [line for line in every if line not in present]
        return chance.of(fresh) if fresh else None

    def _reworded(self, present: str, chance: _Chance) -> str:
        said = []
        for sentence in sentences(present):
            names = asked_by(sentence)
            said.append(chance.of(BY_NAME[names[0]].lines) if names else sentence)
        return "\n".join(dict.fromkeys(said)) or present


class _Chance:
    """Numbers in 0 to 1, one after another, decided by the request."""

    def __init__(self, world: World, text: str, seed: int) -> None:
        self._start = world.chance("writer", text, seed)
        self._world, self._count = world, 0

    def __call__(self) -> float:
        self._count += 1
        return self._world.chance("draw", self._start, self._count)

    def of(self, several: Sequence[str]) -> str:
        return several[int(self() * len(several))]

    def weighted(self, weights: Mapping[str, float]) -> str:
        left = self() * sum(weights.values())
        for name, weight in weights.items():
            left -= weight
            if left <= 0:
                return name
        return next(reversed(list(weights)))


def _complaints(text: str) -> dict[str, float]:
    """How far below the best each criterion was said to be, over all that was shown."""
    found: dict[str, float] = {}
    for name, value in _SCORED.findall(text):
        found[name] = found.get(name, 0.0) + (5 - float(value)) ** 2
    focus = re.search(r"[Aa]bove all, improve this: ([\w-]+)", text)
    if focus and focus[1] in CRITERIA:
        return {focus[1]: 1.0}
    return {name: value for name, value in found.items() if value > 0}


def _present_instruction(messages: Sequence[Turn]) -> str:
    text = "\n".join(one["content"] for one in messages)
    fences = [(name, inside) for name, _, inside in _FENCED.findall(text)]
    for name, inside in fences:
        if name == "INSTRUCTION":
            return str(inside).strip()
    fields = _fields(messages[-1]["content"])
    for name, inside in fields.items():
        if inside and (
            "basic_instruction" in name or name in ("instruction", "current_instruction")
        ):
            return inside
    block = re.search(r"```[a-z]*\n(.*?)```", text, re.S)
    if block:
        return block[1].strip()
    return "You are a helpful assistant."


def _fields(text: str) -> dict[str, str]:
    parts = _FIELD.split(text)
    return {
        name: re.sub(r"\n*Respond with the corresponding.*\Z", "", inside, flags=re.S).strip()
        for name, inside in zip(parts[1::2], parts[2::2], strict=True)
    }


def _after(text: str, query: str) -> str:
    """What stands behind the query in a question to a judge: the reply, with whatever is around."""
    return text.partition(query)[2] or text


def _reason(name: str, value: int) -> str:
    return "nothing is missing" if value >= 5 else f"more could be done for {name.lower()}"


def _asks_for(schema: Any, name: str) -> bool:
    return isinstance(schema, Mapping) and name in schema.get("properties", {})


def _in_kind(
    messages: Sequence[Turn],
    schema: Any,
    fields: Mapping[str, str],
    plain: str,
    instruction: str | None = None,
) -> str:
    """The answer in the form that was asked for: DSPy's fields, a JSON object, or as it is."""
    asked = messages[-1]["content"]

    def value(name: str) -> str:
        if instruction is not None and "instruction" in name:
            return instruction
        if name in fields:
            return fields[name]
        if "prefix" in name:
            return "Answer:"
        if name in ("reasoning", "rationale"):
            return "This is what is asked for."
        return next(iter(fields.values()), plain) if instruction is not None else plain

    wanted = re.search(r"Respond with the corresponding output fields.*", asked, re.S)
    if wanted:
        names = [one for one in _FIELD.findall(wanted[0]) if one != "completed"]
        said = [f"[[ ## {name} ## ]]\n{value(name)}" for name in names]
        return "\n\n".join([*said, "[[ ## completed ## ]]"])
    names = list(schema.get("properties", {})) if isinstance(schema, Mapping) else []
    if not names and instruction is not None and '{"' in messages[0]["content"]:
        names = re.findall(
            r'"(\w+)":',
            messages[0]["content"].rpartition('{"')[1] + messages[0]["content"].rpartition('{"')[2],
        )
    if names:
        return json.dumps({name: value(name) for name in names})
    return plain


_NORMAL = NormalDist()
