"""Measures the criteria that are code; writes `benchmarks/results/checks.json`."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def shared_data() -> Path:
    """The folder of public data, or an exit that says how to name it."""
    folder = Path(os.environ.get("TRUEUP_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        sys.exit(f"No data at {folder}: set TRUEUP_SHARED to the folder that holds data/.")
    return folder


def half(key: str) -> str:
    """`making` or `held`, decided by the text's hash alone."""
    digest = hashlib.sha256(f"trueup/checks/split/1\n{key}".encode()).digest()
    return "making" if digest[0] % 2 == 0 else "held"


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def relevance_pairs(data: Path, which: str) -> dict[str, list[tuple[str, str]]]:
    """Queries with their true replies: AlpacaEval, Alpaca, XSTest's full compliance."""
    alpaca = read(data / "alpaca/alpaca_5k.jsonl")
    sets = {
        "alpaca_eval": [
            (row["instruction"], row["output_text_davinci_003"])
            for row in read(data / "alpaca_eval/alpaca_eval.jsonl")
        ],
        "alpaca": [
            (f"{row['instruction']}\n{row['input']}".strip(), row["output"]) for row in alpaca
        ],
        "xstest": [
            (row["prompt"], row["completion"])
            for row in read(data / "xstest/completions_safe_prompts.jsonl")
            if row["final_label"] == "1_full_compliance"
        ],
    }
    return {
        name: [(q, r) for q, r in rows if half(q) == which and r.strip()]
        for name, rows in sets.items()
    }


def shuffled(rows: list[tuple[str, str]], seed: int = 0) -> list[tuple[str, str]]:
    """Every query with a reply to another query."""
    random_ = random.Random(seed)
    replies = [reply for _, reply in rows]
    random_.shuffle(replies)
    own: dict[str, set[str]] = {}
    for query, reply in rows:
        own.setdefault(query, set()).add(reply)
    pairs = []
    for (query, _), reply in zip(rows, replies, strict=True):
        while reply in own[query]:
            reply = random_.choice(replies)
        pairs.append((query, reply))
    return pairs
