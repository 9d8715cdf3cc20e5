"""Records out as Parquet, a block at a time, for tools that read tables.

    write_parquet("runs/evaluate-1a2b3c4d/xstest.parquet", "runs/evaluate-1a2b3c4d/xstest.jsonl")

From a file of one JSON record a line, which may be longer than memory. Nested records stay nested;
what differs from record to record (marks that do not apply) is null. What Parquet cannot hold is
made storable: half a surrogate pair becomes a question mark, an empty record null. Reading is in
`rows`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from trueup.data.reading import storable
from trueup.data.rows import iterate_rows
from trueup.errors import DataError

BLOCK = 2000
"""Records held at a time."""


def write_parquet(target: str | os.PathLike[str], source: str | os.PathLike[str]) -> Path:
    """Write the records of a JSONL file, all or nothing.

    Raises `DataError` where Parquet is not installed or cannot hold the records.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            "Writing Parquet needs pyarrow: pip install 'trueup[parquet]', or leave it out."
        ) from error
    path = Path(target)
    partial = path.with_name(f".{path.name}.writing")
    try:
        schema = pyarrow.schema([])
        for block in _blocks(source):
            # A column may be null all through one block and hold numbers in the next.
            found = pyarrow.schema(pyarrow.array(block).type)
            schema = pyarrow.unify_schemas([schema, found], promote_options="permissive")
        if not schema.names:
            raise DataError(f"{source} holds no records to write as Parquet.")
        with parquet.ParquetWriter(partial, schema) as writer:
            for block in _blocks(source):
                writer.write_table(pyarrow.Table.from_pylist(block, schema=schema))
        partial.replace(path)
    except (pyarrow.ArrowException, OverflowError) as error:
        raise DataError(
            f"{source} cannot be written as Parquet: {error}. Give every record the same kind of "
            "value under a name, or leave Parquet out."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. "
            "Give a folder that is there, yours and not full."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _blocks(source: str | os.PathLike[str]) -> Iterator[list[dict[str, Any]]]:
    records = (
        {name: _filled(value) for name, value in storable(row.fields).items()}
        for row in iterate_rows(Path(source))
    )
    while block := list(islice(records, BLOCK)):
        yield block


def _filled(value: Any) -> Any:
    """The same with null for every record that has no fields."""
    if isinstance(value, Mapping):
        return {name: _filled(one) for name, one in value.items()} or None
    return [_filled(one) for one in value] if isinstance(value, list) else value
