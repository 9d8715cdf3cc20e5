"""`trueup export`: what is refused, in one sentence and before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trueup.cli import main
from trueup.export.finished import Finished
from trueup.store.runs import RunFolder


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> str:
    monkeypatch.setattr(sys, "argv", ["trueup", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    return capsys.readouterr().err


def test_what_cannot_be_exported_is_said(
    run: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def said(*arguments: object) -> str:
        return refused(monkeypatch, capsys, *arguments)

    assert "choose parquet, inspect, mlflow" in said(run.folder, "--to", "excel")
    assert "--tracking" in said(run.folder, "--to", "mlflow")
    assert "nowhere" in said(tmp_path / "nowhere", "--to", "parquet")
    with RunFolder(tmp_path / "judged", method="judge") as folder:
        folder.write_text("results.json", "{}")
        folder.finish("done")
    assert "only runs of `trueup align`" in said(tmp_path / "judged", "--to", "inspect")
    with RunFolder(tmp_path / "begun", method="drpo"):
        pass
    assert "has not finished" in said(tmp_path / "begun", "--to", "parquet")
