"""Importing the package and asking for help load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "torch", "transformers", "xllamacpp", "llama_cpp", "bm25s", "pyarrow", "datasets",
    "huggingface_hub", "sentence_transformers", "numpy", "aiohttp", "sqlite3", "jinja2",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in told.stderr.split()}


HELP = """
import sys
sys.argv = ["trueup", {arguments}"--help"]
try:
    from trueup.cli import main
    main()
except SystemExit as end:
    assert end.code == 0
"""


@pytest.mark.parametrize(
    "code",
    ["import trueup", HELP.format(arguments=""), HELP.format(arguments='"align", ')],
    ids=["import", "help", "help of align"],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    loaded = loaded_by(code)
    assert "trueup" in loaded
    assert loaded & HEAVY == set()


def test_what_is_heavy_is_loaded_where_it_is_used() -> None:
    assert "numpy" in loaded_by("import trueup; trueup.Aligned")


def test_running_a_job_loads_no_framework() -> None:
    frameworks = {"torch", "transformers", "xllamacpp", "llama_cpp"}
    assert loaded_by("import trueup; trueup.align, trueup.Embedded") & frameworks == set()
