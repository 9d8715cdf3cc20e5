"""Parquet: every reply and every measure, as they stand in results.json."""

from __future__ import annotations

from pathlib import Path

import pytest

from trueup import DataError, SettingsError
from trueup.data import storable
from trueup.export.finished import Finished, finished, needed
from trueup.export.parquet import to_parquet

parquet = pytest.importorskip("pyarrow.parquet", reason="reads Parquet with pyarrow")


def test_the_tables_hold_what_the_results_hold(nasty: Finished, tmp_path: Path) -> None:
    paths = to_parquet(nasty, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["replies.parquet", "measures.parquet"]
    rows = parquet.read_table(paths[0]).to_pylist()
    expected = [(name, one) for name, side in nasty.sides.items() for one in side["results"]]
    assert len(rows) == len(expected) == 40
    for row, (name, one) in zip(rows, expected, strict=True):
        assert (row["run"], row["model"], row["number"]) == ("run", name, one["number"])
        assert (row["query"], row["reply"]) == (one["query"]["text"], one["reply"])
        assert row["scores"] == one["verdict"]["scores"]
        assert (row["reward"], row["failed"]) == (one["reward"], one["verdict"]["failed"])
    # What failed has a reason and no number.
    failed = [row for row in rows if row["failed"]]
    assert failed and all(row["reward"] is None and row["scores"] == [] for row in failed)

    measures = parquet.read_table(paths[1]).to_pylist()
    table = nasty.results["comparison"]["table"]
    assert [(one["group"], one["name"], one["n"]) for one in measures] == [
        (one["group"], one["name"], one["n"]) for one in table
    ]
    assert measures[0]["difference_low"] == table[0]["difference"]["low"]
    assert set((tmp_path / "new" / "folder").iterdir()) == set(paths)


def test_a_place_that_cannot_be_written_is_named(run: Finished, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match=r"taken/replies.parquet cannot be written .* --out"):
        to_parquet(run, tmp_path / "taken")
    assert storable({"a": ["\ud800", 1, None]}) == {"a": ["?", 1, None]}
    assert finished(run.folder) == run
    with pytest.raises(SettingsError, match=r"pip install 'trueup\[parquet\]'"):
        needed("nonsense_that_is_not_there", "parquet")
