"""Comparisons from files and public sets, and what is wrong with bad ones."""

from __future__ import annotations

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.data.labels import placed
from trueup.data.pair_sets import PAIR_SETS
from trueup.data.pairs import Labelled, enough, read_pairs, sample
from trueup.errors import DataError
from trueup.types import Pair, Query

SHARED = Path(os.environ.get("TRUEUP_SHARED", Path(__file__).parents[3] / "shared")) / "data"


def written(path: Path, rows: Sequence[Mapping[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows(count: int) -> list[dict[str, object]]:
    return [
        {"query": f"q{n}", "first": f"one {n}", "second": f"two {n}", "better": 1 + n % 2}
        for n in range(count)
    ]


def test_a_file_with_first_second_and_better(tmp_path: Path) -> None:
    file = [{**row, "subset": "mine", "model_a": "m", "model_b": "n"} for row in rows(2)]
    assert read_pairs(written(tmp_path / "p.jsonl", file)) == Labelled(
        (
            Pair(Query("q0", source="p.jsonl"), "one 0", "two 0", "first", "mine", ("m", "n")),
            Pair(Query("q1", source="p.jsonl"), "one 1", "two 1", "second", "mine", ("m", "n")),
        )
    )


def test_nan_is_no_subset_and_no_model(tmp_path: Path) -> None:
    file = [{**rows(1)[0], "subset": math.nan, "model_a": math.nan, "model_b": "n"}]
    assert read_pairs(written(tmp_path / "p.jsonl", file)).pairs == (
        Pair(Query("q0", source="p.jsonl"), "one 0", "two 0", "first"),
    )


def test_a_table_with_other_names(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["instruction", "response_a", "response_b", "winner"])
        table.writerows([["x", "a", "b", "A"], ["y", "c", "d", " Response_B "]])
    found = read_pairs(path).pairs
    assert [(one.query.text, one.first, one.better) for one in found] == [
        ("x", "a", "first"),
        ("y", "c", "second"),
    ]


def test_chosen_and_rejected_are_put_where_a_hash_says(tmp_path: Path) -> None:
    file = [{"prompt": f"q{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(60)]
    found = read_pairs(written(tmp_path / "p.jsonl", file)).pairs
    sides = Counter(one.better for one in found)
    assert 15 < sides["first"] < 45
    for one in found:
        assert ("good" in one.first) == (one.better == "first")
    again = read_pairs(written(tmp_path / "p.jsonl", file)).pairs
    assert found == again


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_place_does_not_depend_on_which_is_better(one: str, other: str) -> None:
    query = Query("q")
    if one != other:
        assert {placed(query, one, other).first} == {placed(query, other, one).first}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"better": ""}, r"line 4 is not labelled: 'better' is empty"),
        ({"better": None}, r"line 4 is not labelled"),
        ({"better": "0"}, r"line 4: 'better' is '0', which says neither first nor second nor tie"),
        ({"better": "good"}, r"'good', which says neither"),
        ({"better": "tie"}, r"1 of 30 comparisons are ties.*--leave-out-ties"),
        ({"second": ""}, r"line 4: 'second' is empty"),
        ({"second": None}, r"line 4: 'second' holds NoneType"),
        ({"query": "\0"}, r"NUL"),
    ],
)
def test_a_bad_row_is_named_with_what_to_do(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = rows(30)
    file[3] |= change
    with pytest.raises(DataError, match=message):
        read_pairs(written(tmp_path / "p.jsonl", file))


def test_a_missing_side_or_label_is_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no two replies to compare"):
        read_pairs(written(tmp_path / "p.jsonl", [{"query": "q", "first": "a", "better": 1}]))
    with pytest.raises(DataError, match="no column that says which reply is better"):
        read_pairs(written(tmp_path / "p.jsonl", [{"query": "q", "first": "a", "second": "b"}]))
    with pytest.raises(DataError, match="no column that holds queries"):
        read_pairs(written(tmp_path / "p.jsonl", [{"first": "a", "second": "b", "better": 1}]))
    with pytest.raises(DataError, match="holds no comparisons"):
        read_pairs(written(tmp_path / "p.jsonl", []))


def test_a_one_sided_file_is_refused(tmp_path: Path) -> None:
    file = [{**row, "better": "second"} for row in rows(12)]
    with pytest.raises(DataError, match="second reply is the better one in all 12"):
        read_pairs(written(tmp_path / "p.jsonl", file))


def test_ties_are_left_out_only_when_that_is_wanted(tmp_path: Path) -> None:
    file = rows(30)
    file[0]["better"] = file[1]["better"] = "tie"
    file[2]["second"] = file[2]["first"]
    found = read_pairs(written(tmp_path / "p.jsonl", file), leave_out_ties=True)
    assert len(found.pairs) == 27
    assert found.notes == ("2 ties left out", "1 left out, whose two replies are the same")
    nothing = [{**row, "better": "tie"} for row in rows(30)]
    with pytest.raises(DataError, match="of 30 rows 30 are ties, and 0 have the same"):
        read_pairs(written(tmp_path / "q.jsonl", nothing), leave_out_ties=True)


def test_too_few_for_an_interval() -> None:
    with pytest.raises(DataError, match="19 comparisons are too few"):
        enough([Pair(Query("q"), "a", "b", "first")] * 19, "mine")
    enough([Pair(Query("q"), "a", "b", "first")] * 20, "mine")


def test_sets_are_found_by_name_or_refused(tmp_path: Path) -> None:
    for place in ("~nosuchuser", "x" * 300):
        with pytest.raises(DataError, match="does not hold pandalm"):
            read_pairs(f"pandalm@{place}")
    with pytest.raises(DataError, match=r"There is no file mine.csv: give a file of labelled"):
        read_pairs("mine.csv")
    with pytest.raises(DataError, match=r"write pandalm@PATH"):
        read_pairs("pandalm")
    with pytest.raises(DataError, match=r"is no set of comparisons. Known are hhh, "):
        read_pairs("panda@somewhere")
    with pytest.raises(DataError, match=r"does not hold mt_bench_human, which is votes.jsonl and"):
        read_pairs(f"mt_bench_human@{tmp_path}")


def test_pandalm_takes_the_majority_of_three(tmp_path: Path) -> None:
    def row(votes: tuple[int, int, int]) -> dict[str, object]:
        cast = {f"annotator{at}": vote for at, vote in enumerate(votes, 1)}
        return {"instruction": "i", "input": "more", "response1": "a", "response2": "",
                "cmp_key": "m_n"} | cast  # fmt: skip

    votes = [(1, 1, 2), (2, 2, 0), (0, 1, 2), (0, 0, 1)]
    written(tmp_path / "testset_v1.jsonl", [row(one) for one in votes])
    found = read_pairs(f"pandalm@{tmp_path}")
    assert found.notes == ("2 ties left out",)
    assert found.pairs == (
        Pair(Query("i\n\nmore", source="pandalm"), "a", "", "first", "", ("m", "n")),
        Pair(Query("i\n\nmore", source="pandalm"), "a", "", "second", "", ("m", "n")),
    )


VOTE = {"question_id": 1, "turn": 1, "model_a": "m", "model_b": "m", "winner": "tie"}
SAID = {"question_id": 1, "model": "m"}


def test_votes_of_several_judges_are_one_comparison(tmp_path: Path) -> None:
    def vote(winner: str, turn: int = 2) -> dict[str, object]:
        return {"question_id": 1, "turn": turn, "model_a": "m", "model_b": "n",
                "winner": winner, "category": "c"}  # fmt: skip

    def said(model: str) -> dict[str, object]:
        roles = ("user", "assistant") * 2
        texts = ("hello", f"hi from {model}", "and?", f"bye from {model}")
        turns = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)]
        return {"question_id": 1, "model": model, "conversation": turns}

    written(tmp_path / "votes.jsonl", [vote("model_a"), vote("model_a"), vote("model_b")])
    written(tmp_path / "conversations.jsonl", [said("m"), said("n")])
    (pair,) = read_pairs(f"mt_bench_human@{tmp_path}").pairs
    better = pair.first if pair.better == "first" else pair.second
    assert pair.query.text == "[1] hello\n\n[2] and?"
    assert better == "[1] hi from m\n\n[2] bye from m"
    assert pair.models == (("m", "n") if pair.better == "first" else ("n", "m"))


@pytest.mark.parametrize(
    ("vote", "conversation", "message"),
    [
        ({}, {}, "conversations.jsonl, line 1 has no 'question_id'"),
        ({}, {"question_id": 1, "model": "m"}, "votes.jsonl, line 1 has no 'question_id'"),
        ({"question_id": 1, "turn": [1]}, {"question_id": 1, "model": "m"}, "has no 'turn'"),
        (VOTE, SAID, "no 'conversation' up to turn 1"),
        (VOTE, SAID | {"conversation": []}, "no 'conversation' up to turn 1"),
        (VOTE, SAID | {"conversation": [{"content": "hi"}]}, "no 'conversation' up to turn 1"),
        (VOTE, SAID | {"conversation": [{"role": "user", "content": 3}]}, "no 'conversation'"),
    ],
)
def test_votes_of_another_kind_are_said(
    tmp_path: Path, vote: dict[str, object], conversation: dict[str, object], message: str
) -> None:
    written(tmp_path / "votes.jsonl", [vote])
    written(tmp_path / "conversations.jsonl", [conversation])
    with pytest.raises(DataError, match=f"{message}.*: give the set as it was published"):
        read_pairs(f"mt_bench_human@{tmp_path}")


def test_a_sample_is_seeded_in_proportion_and_without_repeats() -> None:
    pairs = [
        Pair(Query(f"q{n}"), f"a{n}", f"b{n}", "first", "large" if n % 4 else "small")
        for n in range(80)
    ]
    some = sample(pairs, 20, seed=1)
    assert Counter(one.subset for one in some) == {"large": 15, "small": 5}
    assert len(set(some)) == 20
    assert some == sample(pairs[::-1], 20, seed=1) != sample(pairs, 20, seed=2)
    assert set(sample(pairs, 1000)) == set(pairs)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public sets are not here (TRUEUP_SHARED)")
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("llmbar", 292),
        ("llmbar_natural", 64),
        ("llmbar_prefs", 392),
        ("pandalm", 811),
        ("judgebench", 619),
        ("hhh", 221),
        ("mt_bench_human", 627),
        ("xstest_completions", 104),
    ],
)
def test_every_public_set_is_read_with_both_sides(name: str, count: int) -> None:
    found = read_pairs(f"{name}@{SHARED}").pairs
    sides = Counter(one.better for one in found)
    assert len(found) == count and min(sides["first"], sides["second"]) > 0.4 * count
    assert name in PAIR_SETS and {one.query.source for one in found} == {name}
