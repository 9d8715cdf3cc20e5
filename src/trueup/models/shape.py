"""JSON in a given shape from a server that cannot be made to write it.

    read = fitting('```json\n{"score": 4}\n```', schema)
    read.text, read.problem                        # '{"score": 4}', None
    reply = await asked_in_words(request, ask)     # the schema in words, re-asked until it fits

The text is repaired (fences, trailing commas, missing brackets) and compared with the schema's
types, required keys and choices. It is no full validator: ranges, lengths and patterns are left
to whoever reads the value, who must check it anyway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from trueup.models.several import Ask, part
from trueup.types import Message, Reply, Request, Usage

_DEEPEST = 64
"""Levels of nesting that are compared; schemas may refer to themselves."""

LONGEST_ANSWER = 8_000
"""Characters of a reply that is broken and still repaired; fourteen criteria with long reasons fit
in."""
MOST_BRACKETS, DEEPEST = 60, 8
"""Opening brackets, and their nesting, in such a reply: answers have at most sixteen, nested three
deep. The repair's time grows steeply with both and with the length (200 open braces before 15,000
letters took half a minute, and nothing else runs meanwhile); within these limits the worst text
found takes about a second."""

REASKS = 2
"""How often a reply that is not in the asked shape is asked for again."""
_SEED_STEP = 1_000_003
"""Keeps the seeds of re-asked replies away from those of sibling choices."""

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text after reading: canonical JSON when it fits, else as it was with the problem."""

    text: str
    problem: str | None


def fitting(text: str, schema: Mapping[str, Any]) -> Fitted:
    """Read JSON out of a model's text, mending what can be mended."""
    value = _read(text)
    problem = misfit(value, schema, schema)
    if problem is not None:
        return Fitted(text, problem)
    return Fitted(json.dumps(value, ensure_ascii=False), None)


def obeyed(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether the text as it stands is JSON in the schema's shape."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return misfit(value, schema, schema) is None


async def asked_in_words(request: Request, ask: Ask) -> Reply:
    """One choice in the shape, from a server that is told of the shape in the prompt.

    After `REASKS` more tries the last text is given as it is: reading it is the judge's business.
    """
    schema = request.schema or {}
    told = now = with_instruction(request)
    usage, seconds, tries = Usage(), 0.0, 0
    while True:
        reply = await ask(now)
        usage, seconds, tries = usage + reply.usage, seconds + reply.seconds, tries + 1
        fitted = fitting(reply.text, schema)
        if fitted.problem is None or tries > REASKS:
            return Reply((replace(reply.choices[0], text=fitted.text),), usage, seconds)
        complained = with_complaint(told, reply.text, fitted.problem)
        # Another seed: a raw continuation carries no complaint and would come out the same.
        seed = request.sampling.seed + tries * _SEED_STEP
        now = replace(complained, sampling=replace(request.sampling, seed=seed))


async def mended(request: Request, reply: Reply, bad: Sequence[int], ask: Ask) -> Reply:
    """The reply with the choices at these places repaired, or asked for again in words."""
    choices, usage, seconds = list(reply.choices), reply.usage, reply.seconds
    for place in bad:
        fitted = fitting(choices[place].text, request.schema or {})
        if fitted.problem is None:
            choices[place] = replace(choices[place], text=fitted.text)
            continue
        again = await asked_in_words(part(request, place), ask)
        choices[place] = again.choices[0]
        usage, seconds = usage + again.usage, seconds + again.seconds
    return Reply(tuple(choices), usage, seconds)


def with_instruction(request: Request) -> Request:
    """The same request with its schema in words instead."""
    schema = json.dumps(request.schema, ensure_ascii=False, sort_keys=True)
    words = f"{_wording('schema.txt')}\n{schema}"
    return replace(request, prompt=_told(request.prompt, words), schema=None)


def with_complaint(request: Request, answer: str, problem: str) -> Request:
    """The request after an answer that did not fit: what was said, and what was wrong with it."""
    if isinstance(request.prompt, str):
        return request
    words = f"{_wording('schema_again.txt')} {problem}"
    turns = (*request.prompt, Message("assistant", answer), Message("user", words))
    return replace(request, prompt=turns)


def misfit(
    value: Any, schema: Any, root: Mapping[str, Any], at: str = "$", depth: int = 0
) -> str | None:
    """The first way in which a value is not of the schema's shape, as a phrase; None if it fits."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return misfit(value, _referred(schema["$ref"], root), root, at, depth + 1)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            found = [misfit(value, one, root, at, depth + 1) for one in schema[several]]
            if found and None not in found:
                return found[0]
    return (
        _wrong_kind(value, schema, at)
        or _wrong_choice(value, schema, at)
        or _wrong_inside(value, schema, root, at, depth)
    )


def _wrong_kind(value: Any, schema: Mapping[str, Any], at: str) -> str | None:
    kinds = schema.get("type")
    if kinds is None:
        return None
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if any(_is(value, name) for name in names):
        return None
    return f"{at} is not of type {' or '.join(map(str, names))}"


def _is(value: Any, name: str) -> bool:
    if name not in _KINDS:
        return True
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _KINDS[name])


def _wrong_choice(value: Any, schema: Mapping[str, Any], at: str) -> str | None:
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} is not one of {json.dumps(schema['enum'], ensure_ascii=False)}"
    if "const" in schema and value != schema["const"]:
        return f"{at} is not {json.dumps(schema['const'], ensure_ascii=False)}"
    return None


def _wrong_inside(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str, depth: int
) -> str | None:
    if isinstance(value, dict):
        for key in schema.get("required", ()):
            if key not in value:
                return f"{at} has no key {key!r}"
        for key, inner in schema.get("properties", {}).items():
            if key in value and (bad := misfit(value[key], inner, root, f"{at}.{key}", depth + 1)):
                return bad
    if isinstance(value, list) and "items" in schema:
        for place, one in enumerate(value):
            if bad := misfit(one, schema["items"], root, f"{at}[{place}]", depth + 1):
                return bad
    return None


def _referred(reference: object, root: Mapping[str, Any]) -> Any:
    """The part of the schema that `#/a/b` names; nothing for references to elsewhere."""
    place: Any = root
    for step in str(reference).removeprefix("#").strip("/").split("/"):
        if not isinstance(place, Mapping) or step not in place:
            return None
        place = place[step]
    return place


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return repaired(text)
    except ValueError:
        return None


def repaired(text: str) -> Any:
    """What text that is no JSON was meant to be. Raises `ValueError` where that is past finding."""
    brackets = text.count("{") + text.count("[")
    if len(text) > LONGEST_ANSWER or brackets > MOST_BRACKETS or _depth(text) > DEEPEST:
        raise ValueError(_BEYOND)
    import json_repair  # here, because most servers obey and it is never needed

    try:
        return json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError, AssertionError, TypeError, LookupError) as error:
        # What the repair raises where it loses its way; all of these were seen or are near.
        raise ValueError(_BEYOND) from error


_BEYOND = "the JSON was broken beyond repair"


def _depth(text: str) -> int:
    depth = deepest = 0
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        deepest = max(deepest, depth)
    return deepest


def _told(prompt: tuple[Message, ...] | str, words: str) -> tuple[Message, ...] | str:
    if isinstance(prompt, str):
        return f"{words}\n\n{prompt}"
    # After the last user turn: nearest to the answer, and the constant part before stays cached.
    for place in range(len(prompt) - 1, -1, -1):
        if prompt[place].role == "user":
            turn = replace(prompt[place], content=f"{prompt[place].content}\n\n{words}")
            return (*prompt[:place], turn, *prompt[place + 1 :])
    return (*prompt, Message("user", words))


@cache
def _wording(name: str) -> str:
    return files("trueup.models").joinpath("wording", name).read_text("utf-8").strip()
