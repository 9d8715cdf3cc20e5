"""Rows of a table, one after another, from any file people keep tables in.

    for row in iterate_rows("queries.csv"):
        row.where, row.fields["question"]      # "queries.csv, line 2", "Why is the sky blue?"

JSONL, JSON, CSV, TSV, text (one row a line) and Parquet, each also as `.gz`, and data sets of the
hub as `hub:OWNER/NAME`, `hub:OWNER/NAME/CONFIG` with `:SPLIT` behind either. A row is a mapping and
the place it came from, so that whoever finds fault with it can say where. Rows are read as they are
asked for; only JSON arrays and compressed Parquet are loaded whole, because they cannot be cut.

It does not know what a query is: see `reading`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from trueup.errors import DataError
from trueup.paths import expanded

HUB = "hub:"
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes. A longer line is a file of another kind, and would fill the memory."""
LONGEST_SHOWN = 300
"""Characters of a path in a message: it may be a whole text that somebody took for one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record and where it stands."""

    where: str
    """For messages: the source, and the line or record in it, counted from 1."""
    fields: Mapping[str, Any]


def iterate_rows(source: str | Path) -> Iterator[Row]:
    """The rows of a file or hub data set. Raises `DataError` at the row that cannot be read."""
    if isinstance(source, str) and source.startswith(HUB):
        yield from _hub_rows(source)
        return
    path = expanded(source)
    reader = _reader(path)
    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start} of what was being read). "
            "Save it as UTF-8 and try again."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is not a whole gzip file: {error}. Compress it again, or give it unpacked."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}. Check that it is yours to read."
        ) from error


def _reader(path: Path) -> Callable[[Path], Iterator[Row]]:
    if os.path.isdir(path):
        raise DataError(
            f"{path} is a folder. Give the file in it, or NAME@{path} for a public set."
        )
    if not os.path.exists(path):
        shown = f"{path}"[:LONGEST_SHOWN]
        raise DataError(f"There is no file {shown}. Check the path.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if kind not in _READERS:
        raise DataError(
            f"{path} is of no kind that can be read. Give one of "
            f"{', '.join(sorted(_READERS))}, each also as .gz."
        )
    return _READERS[kind]


def _open_binary(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line that is not blank, with its place."""
    with _open_binary(path) as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(line) > LONGEST_LINE:
                raise DataError(f"{where} is longer than 64 MiB. Is this one record a line?")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{where} is not UTF-8 text (byte {error.start + 1}). Save the file as UTF-8."
                ) from error
            if text.strip():
                yield where, text.rstrip("\r\n")


def _text_rows(path: Path) -> Iterator[Row]:
    for where, line in _lines(path):
        yield Row(where, {"text": line})


def _jsonl_rows(path: Path) -> Iterator[Row]:
    for where, line in _lines(path):
        yield _row(where, _parse(where, line))


def _json_rows(path: Path) -> Iterator[Row]:
    with _open_binary(path) as file:
        text = file.read().decode("utf-8-sig")
    if not text.strip():
        return
    content = _parse(str(path), text)
    if isinstance(content, dict):
        lists = [name for name, value in content.items() if isinstance(value, list)]
        if len(lists) != 1:
            raise DataError(
                f"{path} holds one object with {len(lists)} lists in it. "
                "Give an array of records, or an object with exactly one."
            )
        content = content[lists[0]]
    if not isinstance(content, list):
        raise DataError(f"{path} holds a single value. Give an array of records.")
    for number, value in enumerate(content, 1):
        yield _row(f"{path}, record {number}", value)


def _parse(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{where} is not JSON: {reason}. Correct it, or remove it.") from error


def _row(where: str, value: Any) -> Row:
    if isinstance(value, str):
        return Row(where, {"text": value})
    if not isinstance(value, dict):
        raise DataError(
            f"{where} is neither a text nor an object. "
            'Write each record as {"text": ...} or as a string.'
        )
    return Row(where, value)


def _csv_rows(path: Path, delimiter: str = ",") -> Iterator[Row]:
    with (
        _open_binary(path) as binary,
        io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file,
    ):
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header: list[str] = []
        try:
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if not any(cell.strip() for cell in cells):
                    continue
                if not header:
                    header = _header(where, cells)
                    continue
                if len(cells) != len(header):
                    raise DataError(
                        f"{where} has {len(cells)} cells but the header names {len(header)}. "
                        "Put quotes around texts that hold the separator or a line break."
                    )
                yield Row(where, dict(zip(header, cells, strict=True)))
        except csv.Error as error:
            raise DataError(
                f"{path}, line {reader.line_num} cannot be read as a table: {error}. "
                "Check its quotes, and that no cell is longer than 131072 characters."
            ) from error


def _header(where: str, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{where}, the header, names {twice[0]!r} twice. Give every column its own name."
        )
    return names


def _tsv_rows(path: Path) -> Iterator[Row]:
    return _csv_rows(path, "\t")


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path} is Parquet, which needs pyarrow. Install it: pip install 'trueup[parquet]'."
        ) from error
    try:
        with _open_binary(path) as file:
            whole = io.BytesIO(file.read()) if path.suffix.lower() == ".gz" else file
            number = 0
            for batch in parquet.ParquetFile(whole).iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}, row {number}", fields)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is not a Parquet file that can be read: {error}.") from error


_READERS = {
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
    ".tsv": _tsv_rows,
    ".txt": _text_rows,
    ".parquet": _parquet_rows,
}


def _hub_rows(source: str) -> Iterator[Row]:
    name, _, split = source.removeprefix(HUB).partition(":")
    parts = name.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise DataError(
            f"{source!r} names no data set. Write hub:OWNER/NAME, hub:OWNER/NAME/CONFIG, "
            "and :SPLIT behind it for another split than train."
        )
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{source} is on the hub, which needs datasets. Install it: pip install 'trueup[hub]'."
        ) from error
    try:
        rows = datasets.load_dataset(
            "/".join(parts[:2]), *parts[2:], split=split or "train", streaming=True
        )
        for number, fields in enumerate(rows, 1):
            yield Row(f"{source}, row {number}", fields)
    except DataError:
        raise
    except Exception as error:  # the library raises whatever its storage back-ends raise
        reason = str(error).strip().split("\n")[0][:200]
        raise DataError(
            f"{source} could not be loaded ({type(error).__name__}: {reason}). "
            "Check the name, the split and the network, or give a file."
        ) from error
