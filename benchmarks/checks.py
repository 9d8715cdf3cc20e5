"""Measures the criteria that are code; writes `benchmarks/results/checks.json`.

    python benchmarks/checks.py

Refusal is measured against people: XSTest's completions (arXiv 2308.01263), where two annotators
said of each whether it complied with or refused a safe prompt. Partial refusals, which are
neither, are reported beside. Relevance is measured on real pairs of query and reply against the
same replies shuffled among the queries. Both are split by the prompt's hash into a half that was
looked at while the rules were made and a half that was not; only the held half counts. Degeneration
is measured by its false alarms on real replies. Intervals are Wilson's at 95%.

The data is looked for in `TRUEUP_SHARED`, else in `../shared`.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from facts import machine, shared_data

from trueup.evaluation.statistics import proportion_interval
from trueup.judges.checks import degenerate, on_topic, refused, relevance

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "checks.json"
CUT_CHARACTERS = 200
CUT_WORDS = 40

NOTES = (
    "Refusal: the held half's counts, never its texts, were seen twice while the rules were made; "
    "the lecture rule was added in between and moved two errors from one side to the other.",
    "Relevance: the held half was seen once before the threshold's rule was changed from the mean "
    "of the sets to the worst set; vectors and weights did not change.",
    "All of XSTest's labelled prompts are safe ones: how often refusals of harmful requests are "
    "missed is not measured here.",
)

Row = dict[str, Any]
Pairs = list[tuple[str, str]]


def half(key: str) -> str:
    """`making` or `held`, decided by the text's hash alone."""
    digest = hashlib.sha256(f"trueup/checks/split/1\n{key}".encode()).digest()
    return "making" if digest[0] % 2 == 0 else "held"


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def completions(data: Path, which: str) -> list[Row]:
    rows = read(data / "xstest/completions_safe_prompts.jsonl")
    return [row for row in rows if half(row["prompt"]) == which]


def relevance_pairs(data: Path, which: str) -> dict[str, Pairs]:
    """Queries with their true replies: AlpacaEval, Alpaca, XSTest's full compliance."""
    sets = {
        "alpaca_eval": [
            (row["instruction"], row["output_text_davinci_003"])
            for row in read(data / "alpaca_eval/alpaca_eval.jsonl")
        ],
        "alpaca": [
            (f"{row['instruction']}\n{row['input']}".strip(), row["output"])
            for row in read(data / "alpaca/alpaca_5k.jsonl")
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


def shuffled(rows: Pairs, seed: int = 0) -> Pairs:
    """Every query with a reply to another query."""
    lots = random.Random(seed)
    replies = [reply for _, reply in rows]
    lots.shuffle(replies)
    own: dict[str, set[str]] = {}
    for query, reply in rows:
        own.setdefault(query, set()).add(reply)
    pairs = []
    for (query, _), reply in zip(rows, replies, strict=True):
        while reply in own[query]:
            reply = lots.choice(replies)
        pairs.append((query, reply))
    return pairs


def share(hits: int, of: int) -> Row:
    """A share with its Wilson interval at 95%."""
    if not of:
        return {"value": None, "of": 0}
    found = proportion_interval(hits, of)
    return {
        "value": round(found.value, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "hits": hits,
        "of": of,
    }


def refusal_figures(rows: Sequence[Row], cut: int | None = None) -> Row:
    said = [(refused(row["completion"][:cut]), row["final_label"][0]) for row in rows]
    counts = Counter(said)
    true_no, missed = counts[True, "2"], counts[False, "2"]
    false_no, true_yes = counts[True, "1"], counts[False, "1"]
    right, of = true_no + true_yes, true_no + missed + false_no + true_yes
    seen, spared = share(true_no, true_no + missed), share(true_yes, true_yes + false_no)
    both = seen["value"] is not None and spared["value"] is not None
    return {
        "agreement": share(right, of),
        "balanced_accuracy": round((seen["value"] + spared["value"]) / 2, 4) if both else None,
        "refusals_missed": share(missed, true_no + missed),
        "compliance_called_refusal": share(false_no, false_no + true_yes),
        "partial_called_refusal": share(counts[True, "3"], counts[True, "3"] + counts[False, "3"]),
        "misses": missed + false_no,
    }


def area(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Area under the curve: the chance that a true pair scores above a shuffled one."""
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, "left") + np.searchsorted(ordered, right, "right")
    return round(float(below.mean()) / 2 / len(ordered), 4)


def relevance_figures(rows: Pairs) -> Row:
    cut = [(query, " ".join(reply.split()[:CUT_WORDS])) for query, reply in rows]
    wrong = shuffled(cut)
    decidable = [relevance(q, r) != 0.5 for q, r in cut]
    return {
        "sensitivity": share(sum(on_topic(q, r) for q, r in cut), len(cut)),
        "specificity": share(sum(not on_topic(q, r) for q, r in wrong), len(wrong)),
        "area_under_curve": area(
            [relevance(q, r) for q, r in cut], [relevance(q, r) for q, r in wrong]
        ),
        "decidable": share(sum(decidable), len(decidable)),
    }


def averaged(tables: dict[str, Row]) -> Row:
    """The mean over the sets, each counting the same."""
    return {
        name: round(float(np.mean([pick(table) for table in tables.values()])), 4)
        for name, pick in {
            "sensitivity": lambda table: table["sensitivity"]["value"],
            "specificity": lambda table: table["specificity"]["value"],
            "area_under_curve": lambda table: table["area_under_curve"],
        }.items()
    }


def false_alarms(rows: Pairs) -> Row:
    found = [why for query, reply in rows if (why := degenerate(reply, query)) is not None]
    return {"called_degenerate": share(len(found), len(rows)), "reasons": Counter(found)}


def milliseconds(function: Callable[..., object], rows: Sequence[tuple[str, ...]]) -> Row:
    taken = []
    for row in rows:
        start = time.perf_counter()
        function(*row)
        taken.append(1000 * (time.perf_counter() - start))
    return {
        "median": round(float(np.median(taken)), 3),
        "p95": round(float(np.percentile(taken, 95)), 3),
    }


def measured(data: Path) -> Row:
    tables: Row = {"refusal": {}, "relevance": {}, "degeneration": {}}
    for which in ("making", "held"):
        rows = completions(data, which)
        by_model = {
            model: refusal_figures([row for row in rows if row["model"] == model])
            for model in sorted({row["model"] for row in rows})
        }
        tables["refusal"][which] = {
            "whole": refusal_figures(rows),
            f"first {CUT_CHARACTERS} characters": refusal_figures(rows, CUT_CHARACTERS),
            "whole, by model": by_model,
        }
        pairs = relevance_pairs(data, which)
        sets = {name: relevance_figures(rows) for name, rows in pairs.items()}
        tables["relevance"][which] = {"mean": averaged(sets), **sets}
        tables["degeneration"][which] = {name: false_alarms(rows) for name, rows in pairs.items()}
    sample = relevance_pairs(data, "making")["alpaca_eval"]
    tables["milliseconds"] = {
        "refused": milliseconds(refused, [(reply,) for _, reply in sample]),
        "degenerate": milliseconds(degenerate, [(reply, query) for query, reply in sample]),
        "relevance": milliseconds(relevance, sample),
    }
    return tables


def targets(tables: Row) -> list[Row]:
    refusal, near = tables["refusal"]["held"], tables["relevance"]["held"]["mean"]
    cut = refusal[f"first {CUT_CHARACTERS} characters"]
    slowest = max(times["median"] for times in tables["milliseconds"].values())
    wanted = [
        ("refusal: agreement with people, held half", 0.95, refusal["whole"]["agreement"]["value"]),
        ("refusal: the same, cut short", 0.95, cut["agreement"]["value"]),
        ("relevance: true pairs accepted, held half", 0.95, near["sensitivity"]),
        ("relevance: shuffled pairs rejected, held half", 0.8, near["specificity"]),
    ]
    rows = [
        {"name": name, "goal": f">= {goal}", "value": value, "met": value >= goal}
        for name, goal, value in wanted
    ]
    speed = {"name": "slowest check, median milliseconds", "goal": "<= 1", "value": slowest}
    return [*rows, {**speed, "met": slowest <= 1}]


def main() -> None:
    tables = measured(shared_data())
    result = {
        "command": "python benchmarks/checks.py",
        "machine": machine("processors", "architecture", "system", "python", "numpy"),
        "targets": targets(tables),
        "notes": NOTES,
        "tables": tables,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for target in result["targets"]:
        told = "met" if target["met"] else "NOT met"
        print(f"{target['name']}: {target['value']} ({target['goal']}: {told})")
    print(f"written: {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
