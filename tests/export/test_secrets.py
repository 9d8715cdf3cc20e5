"""What is exported holds no key: a server that quotes the key in all it says, then every export.

The files are read as their tools read them, since what is compressed cannot be searched for a key.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.test_secrets import KEY, aligned, leaks, quoting
from tests.playing import served


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run against a server that quotes its key wherever it can."""
    folder = tmp_path_factory.mktemp("quoted")
    with served() as server:
        server.write = quoting(server.write)
        shown = aligned(folder, server.url)
    assert shown.startswith("0\n"), shown
    return folder / "run"


def exported(run: Path, *arguments: str) -> str:
    """Export as a user would, in an empty folder, the key in the environment."""
    done = subprocess.run(
        [sys.executable, "-m", "trueup", "export", str(run), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TRUEUP_API_KEY": KEY, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    return f"{done.returncode}\n{done.stdout}\n{done.stderr}"


@pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="reads Parquet with pyarrow")
def test_no_key_in_the_tables(run: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    shown = exported(run, "--to", "parquet", "--out", str(tmp_path))
    assert shown.startswith("0\n"), shown
    held = [str(parquet.read_table(path).to_pylist()) for path in tmp_path.iterdir()]
    assert len(held) == 2 and "you sent [key]" in "".join(held)
    assert leaks(tmp_path, shown, *held) == []


@pytest.mark.skipif(not importlib.util.find_spec("inspect_ai"), reason="reads logs with Inspect AI")
async def test_no_key_in_the_transcripts(run: Path, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log_async

    shown = exported(run, "--to", "inspect", "--out", str(tmp_path))
    assert shown.startswith("0\n"), shown
    held = [(await read_eval_log_async(str(path))).model_dump_json() for path in tmp_path.iterdir()]
    assert len(held) == 2 and "you sent [key]" in "".join(held)
    assert leaks(tmp_path, shown, *held) == []
    # No folder of this machine either.
    assert not any(str(run.parent) in one for one in held)
