"""Queries and demonstrations come in from any file people have, or one sentence says why not."""

from __future__ import annotations

import csv
import gzip
import json
import math
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.data import (
    bundled_demonstrations,
    bundled_queries,
    iterate_queries,
    read_demonstrations,
    read_queries,
    write_jsonl,
)
from trueup.data.parquet import write_parquet
from trueup.errors import DataError
from trueup.types import Demonstration, Message, Query

TEXTS = ["Why is the sky blue?", 'She said "hi",\nand left.', "¿Qué es una palanca?"]


def wanted(name: str) -> list[Query]:
    return [Query(text, category="everyday", source=name) for text in TEXTS]


def records() -> list[dict[str, str]]:
    return [{"question": text, "category": "everyday"} for text in TEXTS]


def save(path: Path, text: str, encoding: str = "utf-8") -> Path:
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def table(delimiter: str) -> str:
    lines = [["question", "category"], *([r["question"], r["category"]] for r in records())]
    return "".join(
        delimiter.join('"' + cell.replace('"', '""') + '"' for cell in line) + "\r\n"
        for line in lines
    )


CONTENTS = {
    "q.jsonl": "\n\n".join(json.dumps(record) for record in records()),
    "q.ndjson": "\r\n".join(json.dumps(record, ensure_ascii=False) for record in records()),
    "q.json": json.dumps(records(), indent=1),
    "q.csv": table(","),
    "q.tsv": table("\t"),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", CONTENTS)
def test_every_format_gives_the_same_queries(
    tmp_path: Path, name: str, suffix: str, encoding: str
) -> None:
    path = save(tmp_path / (name + suffix), CONTENTS[name], encoding)
    assert read_queries(path) == wanted(path.name)
    assert read_queries(str(path), limit=2) == wanted(path.name)[:2]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_parquet_gives_the_same_queries(tmp_path: Path, suffix: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / f"q.parquet{suffix}"
    parquet.write_table(pyarrow.Table.from_pylist(records()), tmp_path / "plain")
    data = (tmp_path / "plain").read_bytes()
    path.write_bytes(gzip.compress(data) if suffix else data)
    assert read_queries(path) == wanted(path.name)


def test_what_is_no_parquet_is_said(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = save(tmp_path / "q.parquet", "text")
    with pytest.raises(DataError, match="not a Parquet file"):
        read_queries(path)


@pytest.mark.parametrize(
    ("source", "module", "extra"),
    [("q.parquet", "pyarrow", "parquet"), ("hub:owner/name", "datasets", "hub")],
)
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    path = source if source.startswith("hub:") else str(save(tmp_path / source, "x"))
    with pytest.raises(DataError, match=rf"pip install 'trueup\[{extra}\]'"):
        read_queries(path)


def test_a_hub_set_is_read_by_name_configuration_and_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def load_dataset(*names: str, split: str, streaming: bool) -> list[dict[str, str]]:
        asked.append((*names, split, streaming))
        if names[0] == "no/such":
            raise FileNotFoundError("no such data set")
        return records()

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert read_queries("hub:a/b") == wanted("hub:a/b")
    assert read_queries("hub:a/b/main:test", limit=1) == wanted("hub:a/b/main:test")[:1]
    assert asked == [("a/b", "train", True), ("a/b", "main", "test", True)]
    with pytest.raises(DataError, match=r"hub:no/such could not be loaded .*no such data set"):
        read_queries("hub:no/such")
    with pytest.raises(DataError, match="names no data set"):
        read_queries("hub:alone")


def test_a_text_file_holds_one_query_a_line(tmp_path: Path) -> None:
    path = save(tmp_path / "q.txt", "One?\n\nTwo?\n")
    assert [query.text for query in read_queries(path)] == ["One?", "Two?"]


def test_fields_beside_the_text_are_understood(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a b", "label": "safe", "type": "homonyms", "reference": 42},
        {"prompt": "c d", "label": "unsafe", "reference": ["x", "y"]},
        {"prompt": "e f", "should_answer": "no", "label": "greeting", "source": "mine"},
        {"prompt": "g h", "should_answer": None, "history": [{"role": "user", "content": "hi"}]},
    ]
    path = save(tmp_path / "q.json", json.dumps({"version": 1, "rows": rows}))
    assert read_queries(path) == [
        Query("a b", "homonyms", True, reference="42", source="q.json"),
        Query("c d", "", False, reference="x\ny", source="q.json"),
        Query("e f", "greeting", False, source="mine"),
        Query("g h", history=(Message("user", "hi"),), source="q.json"),
    ]


def test_fields_are_found_in_whatever_case_and_nan_is_nothing(tmp_path: Path) -> None:
    table = "Prompt,Should_answer,Label,Source\na b,,Safe,mine\nc d,NO,greeting,\ne f,, unsafe ,\n"
    assert read_queries(save(tmp_path / "q.csv", table)) == [
        Query("a b", "", True, source="mine"),
        Query("c d", "greeting", False),
        Query("e f", "", False),
    ]
    nothing = dict.fromkeys(
        ("category", "reference", "label", "should_answer", "history"), math.nan
    )
    write = "\n".join(
        json.dumps(row) for row in ({"text": "q"} | nothing, {"text": "r", "Label": 3})
    )
    assert read_queries(save(tmp_path / "q.jsonl", write)) == [
        Query("q", source="q.jsonl"),
        Query("r", "3", source="q.jsonl"),
    ]
    turns = [{"role": "user", "content": "hi"}]
    assert read_queries([{"Text": "q", "History": turns}])[0].history == (Message("user", "hi"),)
    # Spelt otherwise they may be columns of another meaning; as they are called here they are not.
    other = [
        {"text": "q", "category": "a", "label": [0, 3]},
        {"text": "r", "category": "b", "label": {"toxic": 0.1}},
        {"text": "s", "History": "as old as the hills"},
        {"text": "t", "Source": {"url": "x"}},
    ]
    assert read_queries(other) == [
        Query("q", "a"),
        Query("r", "b"),
        Query("s"),
        Query("t"),
    ]
    for wrong in ({"text": "s", "history": "old"}, {"text": "t", "source": {"url": "x"}}):
        with pytest.raises(DataError, match=r"history|source"):
            read_queries([wrong])
    shown = '{"Query": "q", "Reply": "r", "Shows_answer": false}'
    assert read_demonstrations(save(tmp_path / "d.jsonl", shown)) == [
        Demonstration("q", "r", shows_answer=False)
    ]


def test_alpacas_split_request_is_put_together_again(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Add them.", "input": "1 and 2", "output": "3"},
        {"instruction": "Say hello.", "input": "", "output": "Hello."},
    ]
    path = save(tmp_path / "q.json", json.dumps(rows))
    assert read_queries(path) == [
        Query("Add them.\n\n1 and 2", reference="3", source="q.json"),
        Query("Say hello.", reference="Hello.", source="q.json"),
    ]
    assert read_demonstrations(path) == [
        Demonstration("Add them.\n\n1 and 2", "3"),
        Demonstration("Say hello.", "Hello."),
    ]


def test_the_column_can_be_named(tmp_path: Path) -> None:
    path = save(tmp_path / "q.csv", "question,body\nno,yes\n")
    assert [query.text for query in read_queries(path, column="body")] == ["yes"]
    with pytest.raises(DataError, match=r"no column 'text'. It has the columns 'question', 'body'"):
        read_queries(path, column="text")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.jsonl", b"", "holds no queries"),
        ("q.csv", b"", "holds no queries"),
        ("q.json", b"", "holds no queries"),
        ("q.csv", b"text\n", "holds no queries"),
        ("q.jsonl", b'{"text": "a"}\n{"text": ', "line 2 is not JSON"),
        ("q.jsonl", b'{"text": "a"}\n{"text": ""}', "line 2: 'text' is empty"),
        ("q.jsonl", '{"text": " \u200b\\n"}'.encode(), "line 1: 'text' is empty"),
        ("q.jsonl", b'{"text": 7}', "holds int, not text"),
        ("q.jsonl", b'{"text": null}', "holds NoneType, not text"),
        ("q.jsonl", b'{"text": "a\\u0000b"}', "NUL byte"),
        ("q.jsonl", b'{"text": "a\\ud800b"}', "half a surrogate pair"),
        ("q.jsonl", b'{"text": "a"}\n{"query": "b"}', "line 2 has no 'text'"),
        ("q.jsonl", b'{"text": "a"}\n[1]', "line 2 is neither a text nor an object"),
        ("q.jsonl", b'{"text": "a", "should_answer": "perhaps"}', "Write true or false"),
        ("q.jsonl", b'{"text": "a", "history": "hi"}', "no list of turns"),
        ("q.jsonl", b'{"text": "a", "history": [{"role": "me", "content": "x"}]}', "a turn of"),
        ("q.jsonl", b'{"text": "a", "reference": {"b": 1}}', "holds dict, not text"),
        ("q.jsonl", b'{"title": "a"}', "no column that holds queries: it has the columns 'title'"),
        ("q.jsonl", b'{"text": "' + b"a" * 100_001 + b'"}', "100001 characters long"),
        ("q.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("q.jsonl", b'"caf\xe9"', "line 1 is not UTF-8 text"),
        ("q.csv", b"text\ncaf\xe9\n", "not UTF-8 text"),
        ("q.csv", b"text,category\na,b,c\n", "line 2 has 3 cells but the header names 2"),
        ("q.csv", b"text,text\na,b\n", "names 'text' twice"),
        ("q.csv", b'text\n"a"b"\n', "cannot be read as a table"),
        ("q.json", b'{"a": 1}', "one object with 0 lists"),
        ("q.json", b"3", "a single value"),
        ("q.json", b'[{"text": "a"}, 3]', "record 2 is neither"),
        ("q.jsonl.gz", b"plain", "not a whole gzip file"),
        ("q.jsonl.gz", gzip.compress(b'{"text": "a"}' * 99)[:-9], "not a whole gzip file"),
        ("q.docx", b"x", "of no kind that can be read"),
        ("q", b"x", "of no kind that can be read"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_place(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_queries(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_places_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        read_queries(tmp_path)
    with pytest.raises(DataError, match="There is no file"):
        read_queries(tmp_path / "none.jsonl")
    for place in ("Is this a question? " * 20, "~nosuchuser/x.jsonl", "xstest@~nosuchuser"):
        with pytest.raises(DataError, match="There is no file") as caught:
            read_queries(place)
        assert len(str(caught.value)) < 400
    with pytest.raises(DataError, match="cannot be written"):
        write_jsonl("~nosuchuser/x.jsonl", [{"a": 1}])
    with pytest.raises(DataError, match="Write xstest@PATH"):
        read_queries("xstest")
    with pytest.raises(DataError, match=r"'nonesuch' is no public set. Known are advbench"):
        read_queries(f"nonesuch@{tmp_path}")


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = save(tmp_path / "q.jsonl", '{"text": "a"}\nbroken\n')
    queries = iterate_queries(path)
    assert next(queries).text == "a"
    with pytest.raises(DataError, match="line 2"):
        next(queries)


def test_values_of_python_are_taken_as_they_are() -> None:
    given_ = ["One?", Query("Two?", "x"), {"question": "Three?", "category": "y"}]
    assert read_queries(given_) == [Query("One?"), Query("Two?", "x"), Query("Three?", "y")]
    for bad, message in [([" "], "query 1 of those given: 'text' is empty"), ([3], "is int")]:
        with pytest.raises(DataError, match=message):
            read_queries(bad)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="holds no queries"):
        read_queries([])


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
VISIBLE = TEXT.filter(lambda text: any(c.isprintable() and not c.isspace() for c in text))
QUERIES = st.builds(
    Query,
    text=VISIBLE,
    category=TEXT,
    should_answer=st.sampled_from([True, False, None]),
    history=st.lists(
        st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=2
    ).map(tuple),
    reference=st.none() | VISIBLE,
    source=TEXT,
)


@given(st.lists(QUERIES, min_size=1, max_size=5))
def test_what_is_written_is_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, queries: list[Query]
) -> None:
    path = tmp_path_factory.mktemp("q") / "q.jsonl.gz"
    assert write_jsonl(path, queries) == len(queries)
    assert read_queries(path) == queries


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_jsonl(path, [{"reply": "half a pair \ud800"}])
    before = path.read_bytes()
    for bad, message in [(object(), "not JSON serializable"), (math.nan, "finite numbers")]:
        with pytest.raises(DataError, match=f"Record 2 cannot be written as JSON: .*{message}"):
            write_jsonl(path, [{"a": 1}, {"a": bad}])
    with pytest.raises(DataError, match="Record 1 cannot be written"):
        write_jsonl(tmp_path / "out.jsonl.gz", [{"a": math.nan}])
    assert path.read_bytes() == before
    assert json.loads(before) == {"reply": "half a pair \ud800"}
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]
    with pytest.raises(DataError, match="cannot be written"):
        write_jsonl(tmp_path / "none" / "out.jsonl", [])


def test_what_differs_from_record_to_record_is_null_in_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"a": 1, "marks": {}}, {"a": 1.5, "marks": {"b": "\ud83d"}, "late": [None]}]
    write_jsonl(tmp_path / "r.jsonl", rows)
    path = write_parquet(tmp_path / "r.parquet", tmp_path / "r.jsonl")
    assert parquet.read_table(path).to_pylist() == [
        {"a": 1.0, "marks": None, "late": None},
        {"a": 1.5, "marks": {"b": "?"}, "late": [None]},
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1}, {"a": "x"}], "the same kind of value under a name, or leave Parquet out"),
        ([{"a": [1]}, {"a": {"b": 1}}], "the same kind of value"),
        ([{"a": 2**80}], "the same kind of value"),
        ([{}], "holds no records"),
        ([], "holds no records"),
    ],
)
def test_records_that_make_no_table_are_said(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    pytest.importorskip("pyarrow")
    write_jsonl(tmp_path / "r.jsonl", rows)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=message):
        write_parquet(tmp_path / "r.parquet", tmp_path / "r.jsonl")
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(DataError, match="cannot be written"):
        write_jsonl(tmp_path / "good.jsonl", [{"a": 1}])
        write_parquet(tmp_path / "none" / "r.parquet", tmp_path / "good.jsonl")


def test_demonstrations_are_read_by_either_name(tmp_path: Path) -> None:
    rows = [
        {"query": "q", "response": "r", "category": "c", "shows_answer": False},
        {"query": "s", "response": "t"},
    ]
    path = tmp_path / "d.jsonl"
    write_jsonl(path, rows)
    assert read_demonstrations(path) == [
        Demonstration("q", "r", "c", False),
        Demonstration("s", "t"),
    ]
    assert read_demonstrations(path, limit=1) == [Demonstration("q", "r", "c", False)]
    with pytest.raises(DataError, match="no column that holds replies"):
        read_demonstrations(save(tmp_path / "x.jsonl", '{"query": "q"}'))


def test_the_seeds_cover_both_behaviours() -> None:
    queries = bundled_queries()
    assert read_queries("seeds") == queries
    assert {True, False} <= {query.should_answer for query in queries}
    assert all(query.category and query.source == "seeds" for query in queries)
    demonstrations = bundled_demonstrations()
    assert read_demonstrations("seeds") == demonstrations
    assert {d.shows_answer for d in demonstrations} == {True, False}
    assert read_demonstrations("seeds:long") == bundled_demonstrations(long=True)


def test_a_table_written_by_the_standard_library_is_read(tmp_path: Path) -> None:
    with (tmp_path / "q.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["question", "category"])
        writer.writeheader()
        writer.writerows(records())
    assert read_queries(tmp_path / "q.csv") == wanted("q.csv")
