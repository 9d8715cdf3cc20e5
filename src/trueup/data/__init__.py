"""Data in and out: where queries come from, how they are divided, how records are written.

    parts = split(read_queries("seeds"), (0.5, 0.2, 0.3))
    parts.search, parts.validation, parts.held_out

`reading` is the door, `rows` the file formats, `columns` what a column means, `public_sets` the
sets known by name, `splits` the division and `likeness` what counts as the same query twice.
"""

from trueup.data.likeness import Leak, leaks, without_duplicates
from trueup.data.public_sets import PUBLIC_SETS
from trueup.data.reading import (
    bundled_demonstrations,
    bundled_queries,
    constant_demonstrations,
    iterate_queries,
    read_demonstrations,
    read_queries,
    storable,
    write_jsonl,
)
from trueup.data.splits import Splits, split

__all__ = [
    "PUBLIC_SETS",
    "Leak",
    "Splits",
    "bundled_demonstrations",
    "bundled_queries",
    "constant_demonstrations",
    "iterate_queries",
    "leaks",
    "read_demonstrations",
    "read_queries",
    "split",
    "storable",
    "without_duplicates",
    "write_jsonl",
]
