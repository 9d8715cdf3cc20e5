"""Queries and demonstrations in, records out.

    queries = read_queries("my.csv", column="body")
    queries = read_queries("xstest@~/data")              # public sets: see `public_sets`
    queries = read_queries("hub:OWNER/NAME:test")        # needs trueup[hub]
    queries = read_queries("seeds")                      # the ones that come with trueup
    queries = read_queries(["Why is the sky blue?", Query("What is a lever?")])
    write_jsonl("queries.jsonl", queries)                # and back again, unchanged

Whatever cannot be used ends with a `DataError` that says which record and what to do about it:
one bad line is a mistake to be seen, not a query to be dropped quietly.
"""

from __future__ import annotations

import gzip
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, is_dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from trueup.data.columns import Columns, checked, to_demonstration, to_query
from trueup.data.public_sets import PUBLIC_SETS, read_public
from trueup.data.rows import HUB, Row, iterate_rows
from trueup.errors import DataError
from trueup.paths import expanded
from trueup.types import Demonstration, Query

SEEDS = "seeds"
Item = TypeVar("Item")
Queries = str | os.PathLike[str] | Iterable[Query | str | Mapping[str, Any]]


def read_queries(
    source: Queries, *, column: str | None = None, limit: int | None = None
) -> list[Query]:
    """All queries of a source, or its first `limit`. Raises `DataError` where there are none."""
    return _all(iterate_queries(source, column=column), source, "queries", limit)


def iterate_queries(source: Queries, *, column: str | None = None) -> Iterator[Query]:
    """The same one at a time, for sources that do not fit into memory."""
    if not isinstance(source, str | os.PathLike):
        yield from _given(source, column)
        return
    name = os.fspath(source)
    if name == SEEDS:
        yield from bundled_queries()
        return
    public, at, place = name.partition("@")
    if at and public in PUBLIC_SETS and place:
        yield from read_public(public, place)
        return
    _refuse_unknown_set(name, public, at)
    label = name if name.startswith(HUB) else Path(name).name
    columns: Columns | None = None
    for row in iterate_rows(name):
        columns = columns or Columns.of(row, column)
        yield to_query(row, columns, source=label)


def read_demonstrations(
    source: str | os.PathLike[str], *, column: str | None = None, limit: int | None = None
) -> list[Demonstration]:
    """All demonstrations of a file or hub set; "seeds" and "seeds:long" are ours."""
    return _all(_demonstrations(os.fspath(source), column), source, "demonstrations", limit)


def bundled_queries() -> list[Query]:
    """The seed queries that come with trueup."""
    return _bundled("queries.jsonl", lambda row: to_query(row, Columns.of(row), source=SEEDS))


def bundled_demonstrations(*, long: bool = False) -> list[Demonstration]:
    """The seed demonstrations that come with trueup: many short ones, or a few long ones."""
    name = "long_demonstrations.jsonl" if long else "demonstrations.jsonl"
    return _bundled(name, lambda row: to_demonstration(row, Columns.of(row)))


def constant_demonstrations() -> list[Demonstration]:
    """Three in the form of URIAL's: shown to every query alike."""
    return _bundled("constant.jsonl", lambda row: to_demonstration(row, Columns.of(row)))


def write_jsonl(path: str | os.PathLike[str], records: Iterable[Any]) -> int:
    """Write one record a line (`.gz` compressed), all or nothing; returns how many.

    Records are dataclasses or mappings. The file appears under its name when it is whole and on
    disk; until then, and if writing fails, what stood there before is untouched.
    """
    target = expanded(path)
    written = 0
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as raw:
            zipped = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if _is_gzip(target) else None
            with zipped or nullcontext(raw) as file:
                for written, record in enumerate(records, 1):
                    file.write(_line(record, written))
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(target)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}. "
            "Give a folder that is there, yours and not full."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return written


def storable(value: Any) -> Any:
    """The same with nothing in it that UTF-8 cannot hold: half a surrogate pair becomes "?"."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {storable(key): storable(one) for key, one in value.items()}
    return [storable(one) for one in value] if isinstance(value, list | tuple) else value


def _all(items: Iterator[Item], source: object, what: str, limit: int | None = None) -> list[Item]:
    found = list(islice(items, limit))
    if not found:
        shown = f" {os.fspath(source)}" if isinstance(source, str | os.PathLike) else ""
        raise DataError(f"The source{shown} holds no {what}. Put at least one into it.")
    return found


def _given(source: Iterable[Any], column: str | None) -> Iterator[Query]:
    """Queries handed over in Python, checked like those of a file."""
    for number, item in enumerate(source, 1):
        where = f"query {number} of those given"
        match item:
            case Query():
                checked(Row(where, {}), "text", item.text, may_be_empty=False)
                yield item
            case str():
                text = checked(Row(where, {}), "text", item, may_be_empty=False)
                yield Query(text)
            case Mapping():
                row = Row(where, item)
                yield to_query(row, Columns.of(row, column))
            case _:
                raise DataError(
                    f"{where[0].upper()}{where[1:]} is {type(item).__name__}. "
                    "Give texts, Query values or mappings."
                )


def _refuse_unknown_set(name: str, public: str, at: str) -> None:
    """A name that is neither a file nor a set, said before the file is looked for."""
    if name.startswith(HUB) or os.path.exists(expanded(name)):
        return
    if public in PUBLIC_SETS:
        raise DataError(f"{name!r} says which public set but not where it is. Write {public}@PATH.")
    if at and public.replace("_", "").isalnum():
        raise DataError(
            f"{public!r} is no public set. Known are {', '.join(sorted(PUBLIC_SETS))}; "
            "or give a path."
        )


def _demonstrations(name: str, column: str | None) -> Iterator[Demonstration]:
    if name in (SEEDS, f"{SEEDS}:long"):
        yield from bundled_demonstrations(long=name != SEEDS)
        return
    columns: Columns | None = None
    for row in iterate_rows(name):
        columns = columns or Columns.of(row, column)
        yield to_demonstration(row, columns)


def _bundled(name: str, read: Callable[[Row], Item]) -> list[Item]:
    with resources.as_file(resources.files("trueup") / "seeds" / name) as path:
        if not path.is_file():
            raise DataError(f"trueup's own {name} is missing. Install trueup again.")
        return _all((read(row) for row in iterate_rows(path)), path, "seeds")


def _line(record: Any, number: int) -> bytes:
    fields = asdict(record) if is_dataclass(record) and not isinstance(record, type) else record
    try:
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"Record {number} cannot be written as JSON: {error}. Give texts, finite numbers, "
            "True, False, None, and lists and mappings of these."
        ) from error
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which a model may well emit
        return json.dumps(fields).encode() + b"\n"


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"
