"""Which of two replies is better: what labels say, and where the better one stands.

    label({"winner": "model_a"}, "winner", "row 3")      # "first"
    majority(["first", "first", "tie"])                  # "first"
    placed(query, chosen, rejected).better               # first or second, by a hash of the texts

What files and public sets of comparisons have in common; reading them is in `pairs` and
`pair_sets`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Literal

from trueup.errors import DataError
from trueup.types import Pair, Query

Better = Literal["first", "second", "tie"]

_SAYS: dict[str, Better] = {
    **dict.fromkeys(("first", "1", "a", "a>b", "model_a", "output_1", "response_a"), "first"),
    **dict.fromkeys(("second", "2", "b", "b>a", "model_b", "output_2", "response_b"), "second"),
    **dict.fromkeys(("tie", "equal", "same", "both", "neither", "a=b", "draw"), "tie"),
}


def label(fields: Mapping[str, object], column: str, where: str) -> Better:
    """What a row says is better. Raises `DataError` for no label and for one of another kind."""
    value = fields.get(column)
    word = "" if value is None else str(value).strip().lower().replace(" ", "")
    if word in ("", "none", "null", "nan", "?"):
        raise DataError(
            f"{where} is not labelled: {column!r} is empty. Write first, second or tie, or remove "
            "the row."
        )
    word = word.strip("[]").replace(">>", ">")
    if word not in _SAYS:
        raise DataError(
            f"{where}: {column!r} is {str(value)[:40]!r}, which says neither first nor second nor "
            "tie. Write one of these (or 1 and 2, or A and B)."
        )
    return _SAYS[word]


def majority(votes: Iterable[str]) -> Better:
    """What more than half of those who voted said; a tie where nobody has that many."""
    counts = Counter(votes)
    for side in ("first", "second"):
        if 2 * counts[side] > counts.total():
            return side
    return "tie"


def digest(pair: Pair, seed: int | None = None) -> str:
    """A hash of the pair: an order that is arbitrary, and the same every time."""
    content = json.dumps([seed, asdict(pair.query), pair.first, pair.second], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def placed(
    query: Query,
    chosen: str,
    rejected: str,
    subset: str = "",
    models: tuple[str, str] | None = None,
) -> Pair:
    """A pair whose better reply stands where a hash of the texts puts it.

    `models` are those of the chosen and of the rejected reply.
    """
    content = "\n".join(sorted([chosen, rejected])) + query.text
    swap = hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()[0] % 2
    if swap ^ (chosen > rejected):  # which text sorts first says nothing of which is better
        return Pair(query, rejected, chosen, "second", subset, models and (models[1], models[0]))
    return Pair(query, chosen, rejected, "first", subset, models)
