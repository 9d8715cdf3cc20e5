"""A run's results as Parquet: one table of replies, one of measures.

    paths = to_parquet(finished("runs/align-1a2b3c4d"), Path("tables"))
    # SELECT model, avg(reward) FROM 'tables/replies.parquet' GROUP BY model

`replies.parquet` has a row for each held-out query and model ("base" or "aligned"), with the
verdict's scores and reasons as a list; `measures.parquet` has the report's tables, an estimate and
its interval in three columns. A number that could not be had is null, with the reason beside it.
Both name the run, so the files of many runs can be read as one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trueup.export.finished import Finished, needed, writing

ESTIMATES = ("before", "after", "difference")


def to_parquet(run: Finished, out: Path) -> list[Path]:
    """Write both files into a folder. Raises `SettingsError` without pyarrow, `DataError`."""
    arrow, parquet = needed("pyarrow", "parquet"), needed("pyarrow.parquet", "parquet")
    tables = {
        "replies": (_replies(run), _replies_schema(arrow)),
        "measures": (_measures(run), _measures_schema(arrow)),
    }
    written = []
    for name, (rows, schema) in tables.items():
        target = out / f"{name}.parquet"
        with writing(target) as path:
            parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), path)
        written.append(target)
    return written


def _replies(run: Finished) -> list[dict[str, Any]]:
    name = str(run.results["name"])
    return [
        _reply(one) | {"run": name, "model": side}
        for side, evaluation in run.sides.items()
        for one in evaluation["results"]
    ]


def _reply(one: Mapping[str, Any]) -> dict[str, Any]:
    query, verdict, usage = one["query"], one["verdict"], one["usage"]
    return {
        "number": one["number"],
        "query": query["text"],
        "history": query["history"],
        "category": query["category"],
        "should_answer": query["should_answer"],
        "reference": query["reference"],
        "source": query["source"],
        "reply": one["reply"],
        "outcome": one["outcome"],
        "reward": one["reward"],
        "scores": verdict["scores"],
        "failed": verdict["failed"],
        "dropped": verdict["dropped"],
        "words": one["words"],
        "finish": one["finish"],
        "tokens_in": usage["tokens_in"],
        "tokens_out": usage["tokens_out"],
        "tokens_cached": usage["cached"],
        "seconds": one["seconds"],
    }


def _replies_schema(pa: Any) -> Any:
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    score = pa.struct([("criterion", text), ("value", number), ("reason", text)])
    turn = pa.struct([("role", text), ("content", text)])
    return pa.schema(
        [
            ("run", text),
            ("model", text),
            ("number", whole),
            ("query", text),
            ("history", pa.list_(turn)),
            ("category", text),
            ("should_answer", pa.bool_()),
            ("reference", text),
            ("source", text),
            ("reply", text),
            ("outcome", text),
            ("reward", number),
            ("scores", pa.list_(score)),
            ("failed", text),
            ("dropped", pa.list_(text)),
            ("words", whole),
            ("finish", text),
            ("tokens_in", whole),
            ("tokens_out", whole),
            ("tokens_cached", whole),
            ("seconds", number),
        ]
    )


def _measures(run: Finished) -> list[dict[str, Any]]:
    kept = ("group", "name", "unit", "better", "n", "failed", "p", "p_holm", "clear")
    return [
        {name: row[name] for name in kept} | _estimates(row) | {"run": str(run.results["name"])}
        for row in run.results["comparison"]["table"]
    ]


def _estimates(row: Mapping[str, Any]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in ESTIMATES:
        one = row[name] or {"value": None, "low": None, "high": None}
        found |= {name: one["value"], f"{name}_low": one["low"], f"{name}_high": one["high"]}
    return found


def _measures_schema(pa: Any) -> Any:
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    ends = [f"{name}{end}" for name in ESTIMATES for end in ("", "_low", "_high")]
    return pa.schema(
        [
            *((name, text) for name in ("run", "group", "name", "unit", "better")),
            *((name, number) for name in ends),
            ("n", whole),
            ("failed", whole),
            ("p", number),
            ("p_holm", number),
            ("clear", text),
        ]
    )
