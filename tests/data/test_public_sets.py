"""Public sets are known by name: what to read, whether to answer, which category."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from trueup.data import PUBLIC_SETS, read_queries, write_jsonl
from trueup.errors import DataError
from trueup.types import Query

ROWS = {
    "advbench": (
        {"id": 0, "goal": "Do harm", "target": "Sure"},
        Query("Do harm", "harmful", False),
    ),
    "alpaca": (
        {"instruction": "Add", "input": "1, 2", "output": "3"},
        Query("Add\n\n1, 2", "instruction", True, reference="3"),
    ),
    "alpaca_eval": (
        {"instruction": "Name it", "dataset": "koala"},
        Query("Name it", "koala", True),
    ),
    "drpo_seeds": (
        {"query": "Sing", "category": "general"},
        Query("Sing", "general", True),
    ),
    "gsm8k": (
        {"question": "How many?", "answer": "2 * 600 = 1,200\n#### 1,200"},
        Query("How many?", "maths", True, reference="1200"),
    ),
    "hh_redteam": ({"id": 0, "question": "What now?"}, Query("What now?", "red team", None)),
    "imdb": ({"label": 1, "text": "I liked it."}, Query("I liked it.", "", True)),
    "just_eval": (
        {"instruction": "Tell me", "dataset": "lima", "category": "regular"},
        Query("Tell me", "regular", True),
    ),
    "lima": (
        {"instruction": "Tell me", "dataset": "lima", "category": "regular"},
        Query("Tell me", "regular", True),
    ),
    "malicious_instruct": ({"instruction": "Hurt"}, Query("Hurt", "harmful", False)),
    "mt_bench": (
        {"category": "writing", "turns": ["Write.", "Now rhyme it."], "reference": ["A", "B"]},
        Query("Write.", "writing", True, reference="A"),
    ),
    "truthfulqa": (
        {"question": "Is it?", "category": "Myths", "best_answer": "No", "source": "http://x"},
        Query("Is it?", "Myths", True, reference="No"),
    ),
    "xstest": (
        {"prompt": "Kill a process?", "type": "homonyms", "label": "safe"},
        Query("Kill a process?", "homonyms", True),
    ),
}
SOURCES = {"just_eval": "just_eval/lima"}


def test_every_set_is_tried_here() -> None:
    assert ROWS.keys() == PUBLIC_SETS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_a_row_becomes_a_query(tmp_path: Path, name: str) -> None:
    row, plain = ROWS[name]
    source = SOURCES.get(name, name)
    query = Query(
        plain.text, plain.category, plain.should_answer, reference=plain.reference, source=source
    )
    stem = PUBLIC_SETS[name].stems[0]
    (tmp_path / name).mkdir()
    file = tmp_path / name / f"{stem}.jsonl"
    write_jsonl(file, [row])
    assert read_queries(f"{name}@{file}") == [query]
    assert read_queries(f"{name}@{tmp_path / name}") == [query]
    assert read_queries(f"{name}@{tmp_path}") == [query]


def test_labels_decide_where_a_set_has_both_kinds(tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "xstest.jsonl",
        [
            {"prompt": "a", "type": "contrast_homonyms", "label": "unsafe"},
            {"prompt": "b", "type": "contrast_homonyms"},
            {"prompt": "c", "type": "homonyms"},
        ],
    )
    assert [q.should_answer for q in read_queries(f"xstest@{tmp_path}")] == [False, False, True]
    rows = '{"prompt": "a", "label": "Safe "}\n{"prompt": "b", "type": "homonyms", "label": null}\n'
    (tmp_path / "xstest.jsonl").write_text(f'{rows}{{"prompt": "c", "label": NaN, "type": NaN}}\n')
    assert read_queries(f"xstest@{tmp_path}") == [
        Query("a", "", True, source="xstest"),
        Query("b", "homonyms", True, source="xstest"),
        Query("c", "", True, source="xstest"),
    ]
    write_jsonl(tmp_path / "xstest.jsonl", [{"prompt": "a", "label": "harmless?"}])
    with pytest.raises(DataError, match=r"'label' is 'harmless\?'. Write safe or unsafe"):
        read_queries(f"xstest@{tmp_path}")
    write_jsonl(
        tmp_path / "just_eval.jsonl",
        [
            {"instruction": "a", "dataset": "MaliciousInstruct", "category": "safety"},
            {"instruction": "b", "dataset": "hh-rlhf/red-team-attempts", "category": "safety"},
            {"instruction": "c", "dataset": "koala", "category": "regular"},
        ],
    )
    assert [q.should_answer for q in read_queries(f"just_eval@{tmp_path}")] == [False, None, True]
    with pytest.raises(DataError, match="holds no queries"):
        read_queries(f"lima@{tmp_path}")


def test_drpos_three_files_are_read_together(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "seed_alpaca.jsonl", [{"instruction": "a"}])
    write_jsonl(tmp_path / "seed_malicious.jsonl", [{"query": "b"}])
    assert read_queries(f"drpo_seeds@{tmp_path}") == [
        Query("a", "instruction", True, source="drpo_seeds"),
        Query("b", "malicious", False, source="drpo_seeds"),
    ]


def test_a_folder_without_the_set_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no file of xstest: .*xstest\.jsonl"):
        read_queries(f"xstest@{tmp_path}")
    write_jsonl(tmp_path / "question.jsonl", [{"text": "a"}])
    with pytest.raises(DataError, match="has no 'turns'"):
        read_queries(f"mt_bench@{tmp_path}")


def test_the_real_sets() -> None:
    root = Path(__file__).parents[2]
    shared = Path(os.environ.get("TRUEUP_SHARED", root.parent / "shared")) / "data"
    if not shared.is_dir():
        pytest.skip("the public sets are not here; set TRUEUP_SHARED to the folder above data/")
    found = {
        name: Counter(q.should_answer for q in read_queries(f"{name}@{shared}"))
        for name in PUBLIC_SETS
    }
    assert found == {
        "advbench": {False: 520},
        "alpaca": {True: 5000},
        "alpaca_eval": {True: 673},
        "drpo_seeds": {True: 138, False: 42},
        "gsm8k": {True: 1319},
        "imdb": {True: 2000},
        "hh_redteam": {None: 5014},
        "just_eval": {True: 544, False: 76, None: 68},
        "lima": {True: 195},
        "malicious_instruct": {False: 76},
        "mt_bench": {True: 56},
        "truthfulqa": {True: 816},
        "xstest": {True: 170, False: 145},
    }
