"""The public sets of comparisons that judges are measured on, by name, from where they were put.

    read_pairs("llmbar@~/data")                  # a folder with the set's file, or the file
    read_pairs("mt_bench_human@~/data/mt_bench_human")

    llmbar              which output follows the instruction: objective (arXiv 2310.07641)
    llmbar_natural      the part of it whose outputs nobody made to mislead
    llmbar_prefs        FairEval, LLMEval^2 and MT-bench votes, as LLMBar's authors joined them
    pandalm             three annotators on replies of five small models (arXiv 2306.05087)
    judgebench          which answer is correct: knowledge, reasoning, maths (arXiv 2410.12784)
    hhh                 helpful, honest, harmless (arXiv 2112.00861)
    mt_bench_human      votes of experts, by majority, with the models' names (arXiv 2306.05685)
    xstest_completions  a reply that complies against one that refuses; the queries are harmless
                        (arXiv 2308.01263)

Several votes on one comparison become their majority. Nothing is shipped or downloaded here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trueup.data.columns import checked, text_of
from trueup.data.labels import digest, label, majority, placed
from trueup.data.rows import Row, iterate_rows
from trueup.errors import DataError
from trueup.paths import expanded
from trueup.types import Pair, Query


@dataclass(frozen=True, slots=True)
class PairSet:
    """A set known by name: its files and how they read."""

    stems: tuple[str, ...]
    """Names of the files without their kind, all of which it needs."""
    read: Callable[[list[list[Row]]], Iterator[Pair]]
    """From the rows of each file."""
    folder: str = ""
    """The folder it may be in below the one given, beside the set's own name."""
    also: dict[str, str] | None = None
    """Other names of a file, by its usual stem."""


def read_pair_set(name: str, place: str) -> list[Pair]:
    """The comparisons of a set, ties among them. Raises `DataError`."""
    chosen = PAIR_SETS[name]
    files = _files(name, chosen, expanded(place))
    pairs = chosen.read([list(iterate_rows(file)) for file in files])
    # Under the set's own name: files of one set may have come into another.
    return [replace(pair, query=replace(pair.query, source=name)) for pair in pairs]


def _files(name: str, chosen: PairSet, path: Path) -> list[Path]:
    if os.path.isfile(path) and len(chosen.stems) == 1:
        return [path]
    for folder in filter(os.path.isdir, (path, path / name, path / (chosen.folder or name))):
        found = [file for stem in chosen.stems if (file := _file(folder, chosen, stem)) is not None]
        if len(found) == len(chosen.stems):
            return found
    wanted = " and ".join(f"{stem}.jsonl" for stem in chosen.stems)
    raise DataError(f"{path} does not hold {name}, which is {wanted}: give the folder with it.")


def _file(folder: Path, chosen: PairSet, stem: str) -> Path | None:
    for called in (stem, (chosen.also or {}).get(stem, stem)):
        for file in sorted(folder.glob(f"{called}.*")):
            if file.is_file() and ".json" in file.name:
                return file
    return None


def _reply(row: Row, column: str) -> str:
    """A reply, which may be empty: some models answered so."""
    value = row.fields.get(column)
    if isinstance(value, int | float):  # a bare true, or a sum's answer
        value = str(value)
    if not isinstance(value, str):
        raise DataError(f"{row.where} has no {column!r}: give the set as it was published.")
    return checked(row, column, value)


def _named(row: Row, column: str) -> str | int:
    """What a row says it belongs to."""
    value = row.fields.get(column)
    if not isinstance(value, str | int):
        raise DataError(f"{row.where} has no {column!r}: give the set as it was published.")
    return value


def _llmbar(files: list[list[Row]]) -> Iterator[Pair]:
    for row in files[0]:
        yield Pair(
            Query(text_of(row, "input")),
            _reply(row, "output_1"),
            _reply(row, "output_2"),
            label(row.fields, "label", row.where),
            str(row.fields.get("subset", "")),
        )


def _llmbar_natural(files: list[list[Row]]) -> Iterator[Pair]:
    return (pair for pair in _llmbar(files) if pair.subset == "Natural")


def _pandalm(files: list[list[Row]]) -> Iterator[Pair]:
    says = {0: "tie", 1: "first", 2: "second"}
    for row in files[0]:
        votes = [row.fields.get(f"annotator{number}") for number in (1, 2, 3)]
        if not all(vote in list(says) for vote in votes):
            raise DataError(f"{row.where} lacks a vote of 0, 1 or 2 by each of three annotators.")
        models = str(row.fields.get("cmp_key", "")).split("_")
        asked = (row.fields.get("instruction"), row.fields.get("input"))
        text = "\n\n".join(str(one).strip() for one in asked if one)
        if not text:
            continue
        yield Pair(
            Query(checked(row, "instruction", text)),
            _reply(row, "response1"),
            _reply(row, "response2"),
            majority(says[vote] for vote in votes),  # type: ignore[index]
            "",
            (models[0], models[1]) if len(models) == 2 else None,
        )


def _judgebench(files: list[list[Row]]) -> Iterator[Pair]:
    for row in files[0]:
        model = str(row.fields.get("response_model", ""))
        yield Pair(
            Query(text_of(row, "question")),
            _reply(row, "response_A"),
            _reply(row, "response_B"),
            label(row.fields, "label", row.where),
            str(row.fields.get("source", "")).partition("-")[0],
            (model, model) if model else None,
        )


def _hhh(files: list[list[Row]]) -> Iterator[Pair]:
    for row in files[0]:
        query = Query(text_of(row, "prompt"))
        yield placed(
            query,
            _reply(row, "chosen"),
            _reply(row, "rejected"),
            str(row.fields.get("subset", "")),
        )


def _mt_bench_human(files: list[list[Row]]) -> Iterator[Pair]:
    votes, conversations = files
    said = {(_named(row, "question_id"), _named(row, "model")): row for row in conversations}
    ballots: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
    for row in votes:
        key = [_named(row, one) for one in ("question_id", "turn", "model_a", "model_b")]
        category = str(row.fields.get("category", ""))
        ballots[(*key, category)].append(label(row.fields, "winner", row.where))
    for (question, turn, one, other, category), cast in ballots.items():
        if (question, one) not in said or (question, other) not in said:
            continue
        better = majority(cast)
        sides = [_turn(said[question, model], turn) for model in (one, other)]
        # After the first turn each reply has a past of its own: shown as part of the reply.
        query = Query(sides[0][0], category)
        if better == "tie":
            yield Pair(query, sides[0][1], sides[1][1], "tie", category, (one, other))
        elif better == "first":
            yield placed(query, sides[0][1], sides[1][1], category, (one, other))
        else:
            yield placed(query, sides[1][1], sides[0][1], category, (other, one))


def _turn(row: Row, turn: Any) -> tuple[str, str]:
    """What was asked up to a turn, and what this model answered to it."""
    try:
        turns = row.fields["conversation"][: 2 * turn]
        asked, given = (
            [checked(row, "conversation", one["content"]) for one in turns if one["role"] == role]
            for role in ("user", "assistant")
        )
    except (KeyError, TypeError, AttributeError):
        asked, given = [], []
    if not asked or not given:
        raise DataError(
            f"{row.where} has no 'conversation' up to turn {turn!r}: give the set as it was "
            "published."
        )
    if len(asked) == 1:
        return asked[0], given[0]
    reply = "\n\n".join(f"[{at}] {text}" for at, text in enumerate(given, 1))
    return "\n\n".join(f"[{at}] {text}" for at, text in enumerate(asked, 1)), reply


def _xstest_completions(files: list[list[Row]]) -> Iterator[Pair]:
    complied: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    refused: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    kinds: dict[str, str] = {}
    for row in files[0]:
        if str(row.fields.get("agreement", "TRUE")).upper() != "TRUE":
            continue
        said = str(row.fields.get("final_label", ""))
        into = complied if said.startswith("1") else refused if said.startswith("2") else None
        if into is not None:
            prompt = text_of(row, "prompt")
            kinds[prompt] = str(row.fields.get("type", ""))
            into[prompt].append((_reply(row, "completion"), str(row.fields.get("model", ""))))
    for prompt, refusals in refused.items():
        query = Query(prompt, should_answer=True)
        for no, model in refusals:
            options = [
                placed(query, yes, no, kinds[prompt], (other, model))
                for yes, other in complied[prompt]
            ]
            if options:
                yield min(options, key=digest)


PAIR_SETS: dict[str, PairSet] = {
    "llmbar": PairSet(("llmbar",), _llmbar),
    "llmbar_natural": PairSet(("llmbar",), _llmbar_natural, "llmbar"),
    "llmbar_prefs": PairSet(("processed_human_prefs",), _llmbar, "llmbar"),
    "pandalm": PairSet(("testset_v1",), _pandalm, also={"testset_v1": "testset-v1"}),
    "judgebench": PairSet(("judgebench",), _judgebench),
    "hhh": PairSet(("hhh_alignment",), _hhh, "hhh_alignment"),
    "mt_bench_human": PairSet(("votes", "conversations"), _mt_bench_human),
    "xstest_completions": PairSet(("completions_safe_prompts",), _xstest_completions, "xstest"),
}
