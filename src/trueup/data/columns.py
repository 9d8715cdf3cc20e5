"""Which column means what: a row becomes a query or a demonstration.

    query = to_query(row, Columns.of(row))        # text found under "question", say
    query = to_query(row, Columns.of(row, "body"))

People call the same thing by many names, so each field is looked for under several in any case,
first come first served; the column of the text can also be named. Alpaca's split request is put
together again: where `instruction` holds the text, `input` is appended. A `label` that says safe or
unsafe is whether to answer; any other is a category.

Every text is checked here, once, so that nothing behind this door meets an empty query, a NUL byte
or half a surrogate pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trueup.data.rows import Row
from trueup.errors import DataError
from trueup.types import Demonstration, Message, Query

TEXT = ("text", "query", "prompt", "instruction", "question", "input", "goal")
REPLY = ("reply", "response", "output", "answer", "completion")
CATEGORY = ("category", "type", "topic")
REFERENCE = ("reference", *REPLY)
LONGEST_TEXT = 100_000
"""Characters. Longer than any query a person asks; more is a file in the wrong column."""

_YES = frozenset({"true", "yes", "1", "safe", "harmless", "answer", "comply"})
_NO = frozenset({"false", "no", "0", "unsafe", "harmful", "refuse"})


@dataclass(frozen=True, slots=True)
class Columns:
    """The names under which this source keeps what is needed."""

    text: str
    continued: str | None = None
    """Appended to the text where it is not empty."""
    reply: str | None = None
    category: str | None = None
    reference: str | None = None

    @classmethod
    def of(cls, row: Row, column: str | None = None) -> Columns:
        """The columns of a source, from its first row; `column` names that of the text."""
        names = spelt(row.fields)
        if column is not None and column not in row.fields:
            raise DataError(f"{row.where} has no column {column!r}. It has {listed(row.fields)}.")
        text = column or first(names, TEXT)
        if text is None:
            raise DataError(
                f"{row.where} has no column that holds queries: it has {listed(row.fields)}. "
                f"Call it one of {', '.join(TEXT)}; `trueup align` can be told another name with "
                "--column."
            )
        continued = names.get("input") if text.lower() == "instruction" else None
        return cls(
            text=text,
            continued=continued,
            reply=first(names, REPLY),
            category=first(names, CATEGORY),
            reference=first({n: v for n, v in names.items() if v != text}, REFERENCE),
        )


def spelt(fields: Iterable[Any]) -> dict[str, str]:
    """Column names as they are spelt, by their lower case; of two that differ in case the first."""
    return {str(name).lower(): str(name) for name in reversed(list(fields))}


def first(names: Mapping[str, str], wanted: Iterable[str]) -> str | None:
    """The first of the wanted names that is there, as it is spelt there."""
    return next((names[name] for name in wanted if name in names), None)


def listed(fields: Iterable[Any]) -> str:
    """Column names for a message."""
    names = [repr(str(name)[:60]) for name in fields]
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"the columns {shown}" if names else "no columns"


def to_query(row: Row, columns: Columns, source: str = "") -> Query:
    """The row as a query."""
    label = _value(row, "label")
    says = label.strip().lower() if isinstance(label, str) else ""
    should_answer = _truth(row, "should_answer")
    category = optional(row, columns.category)
    if should_answer is None and says in {"safe", "unsafe", "harmless", "harmful"}:
        should_answer = says in _YES
    elif category is None:
        category = optional(row, "label")
    return Query(
        text=_whole_text(row, columns),
        category=category or "",
        should_answer=should_answer,
        history=_history(row),
        reference=optional(row, columns.reference),
        source=_source(row, source),
    )


def to_demonstration(row: Row, columns: Columns) -> Demonstration:
    """The row as a demonstration; one without `shows_answer` is taken to show an answer."""
    if columns.reply is None:
        raise DataError(
            f"{row.where} has no column that holds replies: it has {listed(row.fields)}. "
            f"Call it one of {', '.join(REPLY)}."
        )
    shows = _truth(row, "shows_answer")
    return Demonstration(
        query=_whole_text(row, columns),
        reply=text_of(row, columns.reply),
        category=optional(row, columns.category) or "",
        shows_answer=True if shows is None else shows,
    )


def _whole_text(row: Row, columns: Columns) -> str:
    """The text, with what a second column adds to it."""
    text = text_of(row, columns.text)
    more = row.fields.get(columns.continued) if columns.continued else None
    if columns.continued is None or not isinstance(more, str) or not more.strip():
        return text
    return f"{text}\n\n{checked(row, columns.continued, more)}"


def text_of(row: Row, column: str) -> str:
    """A text that must be there."""
    if column not in row.fields:
        raise DataError(
            f"{row.where} has no {column!r}. It has {listed(row.fields)}: every record needs it."
        )
    value = row.fields[column]
    if not isinstance(value, str):
        raise DataError(
            f"{row.where}: {column!r} holds {type(value).__name__}, not text. Write it as a string."
        )
    return checked(row, column, value, may_be_empty=False)


def checked(row: Row, column: str, text: str, *, may_be_empty: bool = True) -> str:
    """The text, or `DataError` where no model could be given it."""
    if len(text) > LONGEST_TEXT:
        raise DataError(
            f"{row.where}: {column!r} is {len(text)} characters long, more than the {LONGEST_TEXT} "
            "that are read. Shorten it."
        )
    if "\0" in text:
        raise DataError(
            f"{row.where}: {column!r} holds a NUL byte, so this is hardly text. Remove it."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{row.where}: {column!r} holds half a surrogate pair, which is no character. "
            "Save the source as UTF-8 again."
        ) from error
    if not may_be_empty and not any(c.isprintable() and not c.isspace() for c in text):
        raise DataError(f"{row.where}: {column!r} is empty. Fill it in, or remove the record.")
    return text


def optional(row: Row, column: str | None) -> str | None:
    """A text that may be missing; numbers are spelt out, lists of texts become lines."""
    value = _value(row, column) if column else None
    if value is None or value == "":
        return None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "\n".join(value)
    if isinstance(value, dict | list):
        raise DataError(
            f"{row.where}: {column!r} holds {type(value).__name__}, not text. "
            "Write it as a string, or remove the column."
        )
    return checked(row, str(column), str(value))


def _value(row: Row, column: str) -> Any:
    """What is under a name, in whatever case. NaN, which tables hold for nothing, is None."""
    name = column if column in row.fields else spelt(row.fields).get(column, column)
    value = row.fields.get(name)
    return None if isinstance(value, float) and math.isnan(value) else value


def _truth(row: Row, column: str) -> bool | None:
    value = _value(row, column)
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("", "none", "null", "unknown"):
        return None
    if word in _YES or word in _NO:
        return word in _YES
    raise DataError(
        f"{row.where}: {column!r} is {str(value)[:40]!r}. Write true or false, or leave it empty."
    )


def _source(row: Row, usual: str) -> str:
    if "source" in row.fields:
        return optional(row, "source") or ""
    # Another spelling may be a column of another meaning.
    value = _value(row, "source")
    return checked(row, "source", value, may_be_empty=True) if isinstance(value, str) else usual


def _history(row: Row) -> tuple[Message, ...]:
    turns = _value(row, "history")
    if turns is None or turns == "" or turns == [] or turns == ():
        return ()
    if "history" not in row.fields and not isinstance(turns, list | tuple):
        return ()  # another spelling may be a column of another meaning
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise DataError(
            f"{row.where}: 'history' is no list of turns. "
            'Write [{"role": "user", "content": ...}, ...], or remove it.'
        )
    return tuple(_turn(row, turn) for turn in turns)


def _turn(row: Row, turn: Any) -> Message:
    if isinstance(turn, Mapping) and isinstance(turn.get("content"), str):
        content = checked(row, "history", turn["content"])
        match turn.get("role"):
            case "system" | "user" | "assistant" as role:
                return Message(role, content)
    raise DataError(
        f"{row.where}: a turn of 'history' has no content, or a role that is not system, user or "
        "assistant. Correct it, or remove 'history'."
    )
