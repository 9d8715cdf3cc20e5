"""Whose a run's folder is, whenever the run was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from trueup.errors import SettingsError
from trueup.store import results

SETTINGS = {"k": 3}


def test_a_run_that_ended_before_its_first_call_is_known_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        path.write_bytes(b"")
        raise MemoryError

    monkeypatch.setattr(results, "Calls", killed)
    folder = tmp_path / "run"
    with pytest.raises(MemoryError), results.opened(folder, "trim", SETTINGS, "trim.json"):
        pass
    assert results.begun(folder, SETTINGS, "trim.json")
    with pytest.raises(SettingsError, match="other settings, data or prompts"):
        results.begun(folder, {"k": 4}, "trim.json")
