"""The public sets people evaluate on, by name, from wherever they were put.

    read_queries("xstest@~/data/xstest")                    # a folder that holds the set's file
    read_queries("advbench@harmful_behaviors.csv")          # or the file
    read_queries("just_eval@hub:re-align/just-eval-instruct")

A set is its usual file names and a function from one of its rows to a query: what it calls the
text, which category a row belongs to, and whether it should be answered. Where the set does not
say (red-team questions range from the vile to the innocent), that stays unknown. Nothing is
shipped or downloaded here; licences differ, look at each set's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trueup.data.columns import Columns, first, optional, text_of, to_query
from trueup.data.rows import HUB, Row, iterate_rows
from trueup.errors import DataError
from trueup.paths import expanded
from trueup.types import Query


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A named set: where it is usually kept and how one of its rows reads."""

    stems: tuple[str, ...]
    """Names of its files without their kind; all those found in a folder are read."""
    query: Callable[[Row], Query | None]
    """None for a row that is not part of the set."""
    folders: tuple[str, ...] = ()
    """Names of the folder it may be in below the one given, beside the set's own name."""


def read_public(name: str, place: str) -> Iterator[Query]:
    """The queries of a public set kept at `place`: a file, a folder or a hub data set."""
    for _, query in read_rows(name, place):
        yield query


def read_rows(name: str, place: str) -> Iterator[tuple[Row, Query]]:
    """The same with the rows they were read from, for whoever needs more of a row than its query:
    the answers that are right, later turns, the reply of a reference model."""
    chosen = PUBLIC_SETS[name]
    for source in _sources(name, chosen, place):
        for row in iterate_rows(source):
            query = chosen.query(row)
            if query is not None:
                yield row, query


def _sources(name: str, chosen: PublicSet, place: str) -> list[str | Path]:
    if place.startswith(HUB):
        return [place]
    path = expanded(place)
    if not os.path.isdir(path):
        return [path]
    for folder in (path, *(path / below for below in (name, *chosen.folders))):
        found = [
            file
            for stem in chosen.stems
            for file in sorted(folder.glob(f"{stem}.*"))[:1]
            if file.is_file()
        ]
        if found:
            return list(found)
    raise DataError(
        f"{path} holds no file of {name}: it would be called "
        f"{' or '.join(f'{stem}.jsonl' for stem in chosen.stems)}. Give the file itself."
    )


def _texts(
    source: str,
    column: str,
    should_answer: bool | None,
    category: str = "",
    category_column: str | None = None,
    reference_column: str | None = None,
) -> Callable[[Row], Query]:
    """Rows whose text is in one column, all to be answered or all to be refused."""

    def query(row: Row) -> Query:
        text = row.fields.get("text") if column not in row.fields else None
        return Query(
            text=text_of(row, "text" if text is not None else column),
            category=optional(row, category_column) or category,
            should_answer=should_answer,
            reference=optional(row, reference_column),
            source=source,
        )

    return query


def _xstest(row: Row) -> Query:
    kind = optional(row, "type") or ""
    label = optional(row, "label") or ("unsafe" if kind.startswith("contrast_") else "safe")
    says = label.strip().lower()
    if says not in {"safe", "unsafe"}:
        raise DataError(
            f"{row.where}: 'label' is {label[:40]!r}. Write safe or unsafe, or leave it empty."
        )
    return Query(
        text=text_of(row, "prompt"),
        category=kind,
        should_answer=says == "safe",
        source="xstest",
    )


def _alpaca(row: Row) -> Query:
    columns = Columns("instruction", continued="input", reference="output")
    query = to_query(row, columns)
    return Query(query.text, "instruction", True, reference=query.reference, source="alpaca")


def _just_eval(row: Row) -> Query:
    """Aspects rows are to be answered; of the safety rows only MaliciousInstruct is clear."""
    category = optional(row, "category") or "regular"
    origin = optional(row, "dataset") or ""
    malicious = origin.lower().startswith("malicious")
    return Query(
        text=text_of(row, "instruction"),
        category=category,
        should_answer=True if category.lower() == "regular" else False if malicious else None,
        source=f"just_eval/{origin}" if origin else "just_eval",
    )


def _lima(row: Row) -> Query | None:
    if optional(row, "dataset") != "lima":
        return None
    query = _just_eval(row)
    return Query(query.text, "regular", query.should_answer, source="lima")


def _mt_bench(row: Row) -> Query:
    """The first turn; what follows depends on the reply to it."""
    turns = row.fields.get("turns")
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{row.where} has no 'turns'. Give MT-bench's question.jsonl.")
    references = row.fields.get("reference")
    return Query(
        text=text_of(Row(row.where, {"turns": turns[0]}), "turns"),
        category=optional(row, "category") or "",
        should_answer=True,
        reference=str(references[0]) if isinstance(references, list) and references else None,
        source="mt_bench",
    )


def _gsm8k(row: Row) -> Query:
    """The reference is the final number, as it stands after the marker, without commas."""
    _, marker, final = (optional(row, "answer") or "").rpartition("####")
    return Query(
        text=text_of(row, "question"),
        category="maths",
        should_answer=True,
        reference=final.strip().replace(",", "") if marker else None,
        source="gsm8k",
    )


def _drpo_seeds(row: Row) -> Query:
    """Alpaca's and LIMA's are to be answered, the malicious ones are not: the file's name says."""
    malicious = "seed_malicious" in row.where
    columns = {name: name for name in row.fields}
    return Query(
        text=text_of(row, first(columns, ("query", "instruction")) or "query"),
        category="malicious" if malicious else optional(row, "category") or "instruction",
        should_answer=not malicious,
        source="drpo_seeds",
    )


PUBLIC_SETS: dict[str, PublicSet] = {
    "advbench": PublicSet(
        ("harmful_behaviors", "advbench"), _texts("advbench", "goal", False, "harmful")
    ),
    "alpaca": PublicSet(("alpaca_data", "alpaca_5k", "alpaca"), _alpaca),
    "alpaca_eval": PublicSet(
        ("alpaca_eval",),
        _texts("alpaca_eval", "instruction", True, "instruction", "dataset"),
    ),
    "drpo_seeds": PublicSet(("seed_alpaca", "seed_lima", "seed_malicious"), _drpo_seeds, ("drpo",)),
    "gsm8k": PublicSet(("test", "gsm8k"), _gsm8k),
    "hh_redteam": PublicSet(
        ("redteam_questions",),
        _texts("hh_redteam", "question", None, "red team"),
        ("hh_rlhf",),
    ),
    "imdb": PublicSet(("imdb_2k", "imdb"), _texts("imdb", "review", True)),
    "just_eval": PublicSet(("just_eval_instruct", "just_eval"), _just_eval),
    "lima": PublicSet(("just_eval_instruct", "just_eval"), _lima, ("just_eval",)),
    "malicious_instruct": PublicSet(
        ("malicious_instruct", "MaliciousInstruct"),
        _texts("malicious_instruct", "instruction", False, "harmful"),
    ),
    "mt_bench": PublicSet(("question",), _mt_bench),
    "truthfulqa": PublicSet(
        ("truthfulqa_v1", "TruthfulQA", "truthfulqa"),
        _texts("truthfulqa", "question", True, "", "category", "best_answer"),
    ),
    "xstest": PublicSet(("xstest", "xstest_prompts"), _xstest),
}
