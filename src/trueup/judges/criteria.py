"""A criterion is one thing a reply can be good or bad at; the pool holds the usual fourteen.

    kind = Criterion(
        "Kindness",
        good="speaks gently to the user",
        worst="insults the user",
        best="is as kind as a good friend",
        remedies=("Speak gently.", "Thank the user for asking."),
    )
    judge = Dynamic(model, (*POOL, kind))

or, in a file that `load_criteria` reads:

    [[criterion]]
    name = "Signed"
    good = "ends with a signature"
    remedies = ["End every answer with a signature."]
    check = "regex"
    pattern = '-- the assistant$'       # or must_not = '...'

Most criteria are judged by a model, which reads `good` when it chooses and `worst` and `best` when
it scores. A criterion with a `check` is judged by code, exactly and for nothing. Each carries
`remedies`: lines that an instruction can take up when replies score low on it, for writers too
weak to think of one.

This module knows what criteria are and what they are called. It asks no model.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from trueup.errors import DataError, JudgeError
from trueup.judges import checks
from trueup.types import Query, Score

LONGEST_REMEDY = 15
"""Words. A remedy becomes a line of an instruction that a small model must be able to follow."""


CheckResult = Score | float | None
Check = Callable[[Query, str], CheckResult | Awaitable[CheckResult]]
"""A criterion that is code: a query and a reply in, a score of 1 to 5 out, or None where it has
nothing to say. If it has a method `applies(query) -> bool`, that is asked first; if it has a
`name`, `Checks` calls its scores by it."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing a reply can be good or bad at."""

    name: str
    good: str
    """What good looks like, in one line: read when criteria are chosen."""
    worst: str = ""
    """What a 1 looks like."""
    best: str = ""
    """What a 5 looks like."""
    remedies: tuple[str, ...] = ()
    """Two to four short instructions that repair a low score."""
    check: Check | None = None
    """Code that scores it; None leaves it to the judge's model."""
    aliases: tuple[str, ...] = ()
    """Other names that models call it by."""
    always: bool = False
    """Score it wherever its check applies, chosen or not."""


def key(name: str) -> str:
    """The name as it is compared: case, spaces, hyphens and punctuation do not matter."""
    return re.sub(r"[\W_]+", "", name.casefold())


def find(name: str, criteria: Iterable[Criterion]) -> Criterion | None:
    """The criterion meant by a name as a model writes it, or None.

    `"critical thinking"`, `"2. Clarity: easy to read"` and `"Cultural Sensitivity"` are found.
    """
    known = {
        key(called): criterion
        for criterion in criteria
        for called in (*criterion.aliases, criterion.name)
    }
    bare = re.sub(r"^\W*\d{1,2}[.):]\s*", "", name)
    for spelling in (name, bare, re.split(r"[:(–—]| - ", bare)[0]):
        if (meant := known.get(key(spelling))) is not None:
            return meant
    return None


def load_criteria(path: Path | str) -> tuple[Criterion, ...]:
    """The criteria of a TOML file of `[[criterion]]` tables, in its order.

    Raises `DataError` naming the criterion and the key that cannot be used.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The criteria in {path} cannot be read ({error}).") from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(
            f"{path} is not valid TOML ({error}). Each criterion is a [[criterion]] table."
        ) from error
    try:
        rows = _File.model_validate(tables).criterion
    except ValidationError as error:
        raise DataError(f"{path}: {_told(error, tables)}") from error
    criteria = tuple(_criterion(row, path) for row in rows)
    refuse_duplicates(criteria, str(path))
    return criteria


def refuse_duplicates(criteria: Iterable[Criterion], where: str) -> None:
    """Raise `DataError` if two criteria would answer to one name."""
    owners: dict[str, Criterion] = {}
    for criterion in criteria:
        own = {key(name): name for name in (*criterion.aliases, criterion.name)}
        for compared, name in own.items():
            if (owner := owners.get(compared)) is not None:
                raise DataError(
                    f"{where}: the name {name!r} of {criterion.name!r} already belongs to "
                    f"{owner.name!r}. Give each criterion names of its own."
                )
        owners |= dict.fromkeys(own, criterion)


@dataclass(frozen=True, slots=True)
class _Kind:
    make: Callable[..., Check]
    options: Mapping[str, str]
    """Key in the file: keyword of the check."""


CHECKS: Mapping[str, _Kind] = {
    "regex": _Kind(checks.Pattern, {"pattern": "must", "must_not": "must_not"}),
    "length": _Kind(checks.Length, {"least": "least", "most": "most"}),
    "format": _Kind(checks.Format, {"shape": "shape"}),
    "language": _Kind(checks.Language, {"expected": "expected"}),
    "refusal": _Kind(checks.Refusal, {}),
    "repetition": _Kind(checks.Repetition, {}),
    "relevance": _Kind(checks.Relevance, {}),
    "safety": _Kind(checks.Safety, {}),
}
"""What `check = "..."` may say in a criteria file."""


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\n]+$")]


class _Row(BaseModel):
    """A `[[criterion]]` table as the user writes it."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Line, StringConstraints(pattern=r"[^\W_]", max_length=60)]
    good: Line
    worst: Line | None = None
    best: Line | None = None
    remedies: tuple[Line, ...] = ()
    aliases: tuple[Line, ...] = ()
    always: bool = False
    check: Line | None = None
    pattern: str | None = None
    must_not: str | None = None
    least: int | None = None
    most: int | None = None
    shape: str | None = None
    expected: str | None = None

    @field_validator("remedies")
    @classmethod
    def _short(cls, remedies: tuple[str, ...]) -> tuple[str, ...]:
        for remedy in remedies:
            if len(remedy.split()) > LONGEST_REMEDY:
                raise ValueError(f"{remedy!r} has more than {LONGEST_REMEDY} words; shorten it")
        return remedies

    @model_validator(mode="after")
    def _complete(self) -> _Row:
        options = self.options()
        if self.check is None:
            if options:
                raise ValueError(f"{', '.join(options)}: only for a criterion with a `check`")
            if self.worst is None or self.best is None:
                raise ValueError("say what a 1 and a 5 look like in `worst` and `best`")
        elif self.check not in CHECKS:
            known = ", ".join(CHECKS)
            raise ValueError(f"check = {self.check!r} is not known; known are {known}")
        elif stray := [name for name in options if name not in CHECKS[self.check].options]:
            takes = ", ".join(CHECKS[self.check].options) or "no options"
            raise ValueError(f"{', '.join(stray)}: check = {self.check!r} takes {takes}")
        return self

    def options(self) -> dict[str, Any]:
        """The check's options that were given."""
        names = {name for kind in CHECKS.values() for name in kind.options}
        return {name: value for name, value in self if name in names and value is not None}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    criterion: list[_Row] = Field(min_length=1)


def _told(error: ValidationError, tables: Mapping[str, Any]) -> str:
    """The first complaint, in words: which criterion, which key, what to do."""
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if len(where) > 1:
        at = int(where[1])
        table = tables["criterion"][at]
        name = table.get("name") if isinstance(table, dict) else None
        where = [f"criterion {name or f'number {at + 1}'!r}", *where[2:]]
    if first["type"] == "extra_forbidden":
        known = _Row.model_fields if len(where) > 1 else _File.model_fields
        return f"{', '.join(where)}: unknown key. Known keys: {', '.join(known)}."
    return f"{', '.join(where)}: {first['msg'].removeprefix('Value error, ')}."


def _check(row: _Row, path: Path) -> Check | None:
    if row.check is None:
        return None
    kind = CHECKS[row.check]
    options = {kind.options[name]: value for name, value in row.options().items()}
    try:
        return kind.make(name=row.name, **options)
    except JudgeError as error:
        raise DataError(f"{path}: criterion {row.name!r}: {error}") from error


def _criterion(row: _Row, path: Path) -> Criterion:
    return Criterion(
        row.name,
        good=row.good,
        worst=row.worst or "",
        best=row.best or "",
        remedies=row.remedies,
        check=_check(row, path),
        aliases=row.aliases,
        always=row.always,
    )


POOL: tuple[Criterion, ...] = load_criteria(Path(__file__).with_name("pool.toml"))
"""The fourteen criteria of DRPO's dynamic reward."""
