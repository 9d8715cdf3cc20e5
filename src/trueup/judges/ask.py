"""One question to a model, read or failed with a reason.

    answer = await ask(model, messages, schema, read)
    if isinstance(answer, Failure):
        return Verdict(failed=answer.reason)

`ask` requests JSON that obeys the schema, reads it and hands it to `read`, which turns it into a
value or raises `Unreadable`. What cannot be read is asked again with another seed, some
temperature and a note of what was wrong; where the model failed there is nothing to complain of and
the same is asked again. After the last attempt there is a `Failure`: data, never an exception and
never a score. What ends a job (a spent budget, an unreachable server) is let through.

Models without schema support wrap their JSON in prose, fences or thoughts; all of that is
read through. Two answers in one reply are not: choosing between them would be guessing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ValidationError

from trueup.errors import ModelError, ModelRefused, ModelUnavailable
from trueup.judges.template import neutralised
from trueup.models.model import Model
from trueup.models.shape import LONGEST_ANSWER, repaired
from trueup.types import HIGHEST_SCORE, LOWEST_SCORE, Message, Request, Sampling

T = TypeVar("T")

Said = Annotated[
    str, BeforeValidator(lambda value: value if isinstance(value, str) else str(value))
]
"""Text in an answer. A number or a list where text was asked for is no reason to ask again."""

SECOND_TEMPERATURE = 0.3
"""After an answer that cannot be read: enough to leave a rut, too little to change an opinion."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a question has no answer."""

    reason: str
    attempts: int
    """How often it was asked."""


class Unreadable(ValueError):
    """What came back is not an answer. The message is shown to the model that is asked again."""


async def ask(
    model: Model,
    messages: Sequence[Message],
    schema: Mapping[str, Any] | None,
    read: Callable[[Any], T],
    *,
    attempts: int = 3,
    sampling: Sampling = Sampling(max_tokens=1024),
    whole: bool = False,
) -> T | Failure:
    """Ask until `read` accepts the JSON, at most `attempts` times.

    With `whole`, an answer that breaks off is not an answer: half a text must not pass for one.
    `read` gets parsed JSON and raises `Unreadable` or pydantic's `ValidationError`. Raises
    `BudgetSpent` and `ModelUnavailable`; every other trouble becomes a `Failure`.
    """
    reason = "it was never asked"
    request = Request(tuple(messages), sampling, schema)
    for attempt in range(attempts):
        try:
            reply = await model.reply(request)
            return read(parsed(reply.text, whole=whole))
        except ModelUnavailable:
            raise
        except ModelRefused as error:
            # The same request will be refused again.
            return Failure(f"the model refused the question: {error}", attempt + 1)
        except ModelError as error:
            # The same is asked again: an error may name a port or a time, and these must not
            # get into a question by which replies are found again.
            reason = f"the model failed: {error}"
            continue
        except ValidationError as error:
            reason = _told(error)
        except Unreadable as error:
            reason = str(error)
        request = Request(_complaining(messages, reason), _warmer(request.sampling), schema)
    times = "once" if attempts == 1 else f"{attempts} times"
    return Failure(f"unreadable, asked {times}: {reason}", attempts)


def parsed(text: str, *, whole: bool = False) -> Any:
    """The one JSON object in a model's reply. Raises `Unreadable`.

    Broken JSON is repaired; with `whole`, not such as breaks off before its end.
    """
    text = text.strip()
    if not text.startswith("{") and "</think>" in text:
        text = text.partition("</think>")[2].strip()
    if not text:
        raise Unreadable("the answer was empty")
    head = text[:LONGEST_ANSWER]
    start = head.find("{")
    if start < 0:
        raise Unreadable("there was no JSON object in the answer")
    try:
        value, end = _DECODER.raw_decode(head, start)
    except (ValueError, RecursionError):
        if whole and not head.rstrip("` \t\r\n").endswith("}"):
            raise Unreadable("the answer breaks off before its end") from None
        return _repaired(head[start:])
    if _another(head[end:]):
        raise Unreadable("there were several JSON objects in the answer")
    return value


_DECODER = json.JSONDecoder()


def _another(rest: str) -> bool:
    start = rest.find("{")
    if start < 0:
        return False
    try:
        return bool(_DECODER.raw_decode(rest, start)[0])
    except (ValueError, RecursionError):
        return False


def _repaired(text: str) -> Any:
    try:
        value = repaired(text)
    except ValueError as error:
        raise Unreadable(str(error)) from error
    if isinstance(value, list):
        objects = [item for item in value if isinstance(item, dict)]
        if len(objects) > 1:
            raise Unreadable("there were several JSON objects in the answer")
        value = objects[0] if objects else None
    if not isinstance(value, dict) or not value:
        raise Unreadable("there was no JSON object in the answer")
    return value


def _warmer(sampling: Sampling) -> Sampling:
    return replace(sampling, seed=sampling.seed + 1, temperature=SECOND_TEMPERATURE)


def _complaining(messages: Sequence[Message], reason: str) -> tuple[Message, ...]:
    """The question with what was wrong appended to its last turn, so that its start is reused."""
    *before, last = messages
    note = (
        f"\n\n(An earlier answer could not be used: {neutralised(reason[:200])}. "
        "Answer with one JSON object as described, and nothing else.)"
    )
    return (*before, Message(last.role, last.content + note))


def _told(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the answer"
    return f"{where[:60]}: {first['msg'][:120]}"


_WORDS = {"one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0}
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?")
_OUT_OF_FIVE = re.compile(
    r"(?:/|\bout\s+of\b"
    r"|(?P<number>(?:\d|\b(?:one|two|three|four|five))(?:\s+(?:stars?|points?))?)\s+of\b)"
    r"\s*(?:5(?:[.,]0+)?|five)(?![.,]?\d)",
    re.IGNORECASE,
)
"""The scale that a score is given on. "Of" needs a number before it: a score of 5 is no scale."""


def read_score(value: object) -> float:
    """A score of 1 to 5 as models write it: `4`, `4.5`, `"4/5"`, `"four"`, `"4 (good)"`.

    Raises `Unreadable` for what is off the scale or ambiguous: it is never bent to fit.
    """
    number = _number(value)
    if not LOWEST_SCORE <= number <= HIGHEST_SCORE:
        raise Unreadable(f"the score {number:g} is not on the scale from 1 to 5")
    return number


def _number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if -1e6 < value < 1e6:  # neither NaN nor too large to be a float
            return float(value)
    elif isinstance(value, str):
        text = _OUT_OF_FIVE.sub(r"\g<number>", value[:200])
        found = [float(number.replace(",", ".")) for number in _NUMBER.findall(text)]
        if not found:
            found = [_WORDS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _WORDS]
        if len(found) == 1:
            return found[0]
    raise Unreadable(f"{str(value)[:40]!r} is not a score")
