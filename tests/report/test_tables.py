"""Ways to judge as tables."""

from __future__ import annotations

from typing import Any

from trueup.report.tables import Table, judged


def share(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def way(asks: bool, own: dict[str, Any], **figures: Any) -> dict[str, Any]:
    shares = (
        "agreement", "length_balanced", "length_controlled", "position", "longer",
        "where_shorter_is_right", "where_longer_is_right", "retest", "unreadable",
    )  # fmt: skip
    every = dict.fromkeys(shares) | figures
    every |= {"at_chance": False, "tokens_in": 600.4, "tokens_out": 3, "seconds": 1.25, "own": own}
    return {"asks": asks, "all": every, "sets": {"mine": {"agreement": figures.get("agreement")}}}


def test_ways_to_judge_their_sets_and_whom_they_favour() -> None:
    pairs = way(True, {"m": share(0.2), "other": share(0.05)}, agreement=share(0.7),
                longer=share(0.25), position=share(0.5))  # fmt: skip
    longer = way(False, {"m": share(0.3)})
    header = ["method", "agreement [95%]", "length-balanced", "less length", "likes first",
              "likes long", "shorter right", "longer right", "same twice", "unreadable", "tokens",
              "s"]  # fmt: skip
    rows = [
        ["pairs", "0.70 [0.60, 0.80]", "–", "–", "0.50", "+0.25", *["–"] * 4, "600/3", "1.2"],
        ["longer", *["–"] * 9, "600/3", "1.2"],
    ]
    sets = [["pairs", "0.70 [0.60, 0.80]"], ["longer", "–"]]
    favours = Table("", ["favours more than people do", "model", "by"],
                    [["pairs", "m", "+0.20 [+0.10, +0.30]"]])  # fmt: skip
    results = {"sets": {"mine": {}}, "methods": {"pairs": pairs, "longer": longer}}
    found = [Table("", header, rows), Table("", ["agreement by set", "mine"], sets)]
    assert judged(results) == [*found, favours]
    assert judged(results | {"methods": {"longer": longer}})[1:] == [
        Table("", ["agreement by set", "mine"], sets[1:])
    ]
