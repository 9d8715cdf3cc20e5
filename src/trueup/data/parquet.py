"""Records out as Parquet, a block at a time, for tools that read tables.

    write_parquet("runs/evaluate-1a2b3c4d/xstest.parquet", "runs/evaluate-1a2b3c4d/xstest.jsonl")

From a file of one JSON record a line, which may be longer than memory. Nested records stay nested;
what differs from record to record (marks that do not apply) is null. Reading is in `rows`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from trueup.data.rows import iterate_rows
from trueup.errors import DataError

BLOCK = 2000
"""Records held at a time."""


def write_parquet(target: str | os.PathLike[str], source: str | os.PathLike[str]) -> Path:
    """Write the records of a JSONL file. Raises `DataError` where Parquet is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            "Writing Parquet needs pyarrow: pip install 'trueup[parquet]', or leave it out."
        ) from error
    schema = None
    for block in _blocks(source):
        # A column may be null all through one block and hold numbers in the next.
        found = pyarrow.Table.from_pylist(block).schema
        schema = found if schema is None else pyarrow.unify_schemas(
            [schema, found], promote_options="permissive"
        )  # fmt: skip
    if schema is None:
        raise DataError(f"{source} holds no records to write as Parquet.")
    path = Path(target)
    with parquet.ParquetWriter(path, schema) as writer:
        for block in _blocks(source):
            writer.write_table(pyarrow.Table.from_pylist(block, schema=schema))
    return path


def _blocks(source: str | os.PathLike[str]) -> Iterator[list[Mapping[str, Any]]]:
    records = (row.fields for row in iterate_rows(Path(source)))
    while block := list(islice(records, BLOCK)):
        yield block
