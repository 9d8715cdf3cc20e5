"""What is known of a judge: how often it agreed with people, and how to read its scores.

    standing = known(model.identity, "perplexity")        # None where nobody has measured it
    standing.at_chance
    judge = Calibrated(judge, standing)                   # scores mean: likely to be preferred

`trueup judge` measures a judge and leaves what it found here, under the judge's identity: the
model's weights or address, the method, and the words it is asked with. Change one of them and it
is another judge, of which nothing is known. Looked for in a file that is named, then among the
user's own measurements, then among those that come with trueup.

A calibrated score is 1 + 4 u, with u the probability that people would prefer this reply to a
typical one: the mean of the calibrated chance against each of a few replies from the measurement.
It rises with the raw score, so the order of replies stays, and is flat where the judge knows
nothing. A criterion at chance is left out, which the verdict says.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from trueup.errors import DataError
from trueup.judges.calibration import Calibration
from trueup.judges.judge import Judge
from trueup.judges.methods import METHODS
from trueup.judges.pairwise import by_scores, margin
from trueup.types import Query, Score, Verdict, grade

FORMAT = 1
REFERENCES = 33
"""Rewards kept of a measurement: quantiles of what replies scored."""


@dataclass(frozen=True, slots=True)
class Share:
    """An agreement with people and its 95% interval."""

    value: float
    low: float
    high: float
    n: int

    @property
    def at_chance(self) -> bool:
        """Whether nothing shows that it knows more than a coin."""
        return self.low <= 0.5

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}], n = {self.n}"


@dataclass(frozen=True, slots=True)
class Standing:
    """One judge, measured."""

    model: str
    """The model's identity."""
    method: str
    agreement: Share
    calibration: Calibration
    sets: tuple[str, ...] = ()
    """What it was measured on."""
    wording: str = ""
    """A digest of the words it was asked with."""
    rewards: tuple[float, ...] = ()
    """What typical replies scored, lowest first; empty for judges that only compare."""
    criteria: Mapping[str, Share] = field(default_factory=dict)
    """Agreement by criterion, where it scores several."""

    @property
    def at_chance(self) -> bool:
        return self.agreement.at_chance

    @property
    def left_out(self) -> tuple[str, ...]:
        """The criteria that are at chance."""
        return tuple(name for name, share in self.criteria.items() if share.at_chance)

    def preferred(self, reward: float) -> float:
        """The probability that people prefer a reply of this reward to a typical one."""
        if not self.rewards:
            return 0.5
        against = [
            self.calibration(margin(by_scores(reward, other)) or 0.0) for other in self.rewards
        ]
        return sum(against) / len(against)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"calibration": self.calibration.to_dict()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Standing:
        """What `to_dict` gave. Raises `DataError`."""
        try:
            return cls(
                model=str(found["model"]),
                method=str(found["method"]),
                agreement=Share(**found["agreement"]),
                calibration=Calibration.from_dict(found["calibration"]),
                sets=tuple(found.get("sets", ())),
                wording=str(found.get("wording", "")),
                rewards=tuple(float(one) for one in found.get("rewards", ())),
                criteria={
                    name: Share(**share) for name, share in found.get("criteria", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"What is known of a judge cannot be read ({error!r}): measure it again with "
                "`trueup judge`."
            ) from error


class Calibrated:
    """A judge whose scores are what they are worth. A `Judge`."""

    def __init__(self, judge: Judge, standing: Standing, *, keep: Iterable[str] = ()) -> None:
        """`keep` names criteria to leave as they are: those that are code, say."""
        self._judge = judge
        self._standing = standing
        self._keep = frozenset(keep)

    async def __call__(self, query: Query, reply: str) -> Verdict:
        """The verdict with calibrated scores, and without the criteria at chance."""
        verdict = await self._judge(query, reply)
        if verdict.failed is not None:
            return verdict
        out = set(self._standing.left_out) - self._keep
        scores = tuple(self._worth(one) for one in verdict.scores if one.criterion not in out)
        dropped = tuple(
            f"{one.criterion}: at chance with people ({self._standing.criteria[one.criterion]})"
            for one in verdict.scores
            if one.criterion in out
        )
        if not scores:
            return Verdict(failed="every criterion is at chance with people", dropped=dropped)
        return Verdict(scores, dropped=(*verdict.dropped, *dropped))

    def _worth(self, score: Score) -> Score:
        if score.criterion in self._keep or not self._standing.rewards:
            return score
        told = f"raw {score.value:.3f}. {score.reason}".strip()
        return Score(score.criterion, grade(self._standing.preferred(score.value)), told)


def quantiles(rewards: Sequence[float], count: int = REFERENCES) -> tuple[float, ...]:
    """Evenly spaced ones of the rewards, from the lowest up: what a typical reply scores."""
    ordered = sorted(rewards)
    if len(ordered) <= count:
        return tuple(ordered)
    return tuple(ordered[(2 * at + 1) * len(ordered) // (2 * count)] for at in range(count))


def wording(method: str) -> str:
    """A digest of the words that a method asks with; empty where it asks in none."""
    files = METHODS[method].wording if method in METHODS else ()
    digest = hashlib.sha256()
    for name in files:
        text = Path(__file__).with_name("wording").joinpath(name).read_text("utf-8")
        digest.update(f"{name}\n{text}\n".encode())
    return digest.hexdigest()[:16] if files else ""


def known(model: str, method: str, *, file: Path | None = None) -> Standing | None:
    """What is known of this judge. Raises `DataError` for a named file that cannot be read."""
    sources = [load(file)] if file is not None else []
    for path in (home(model), Path(str(resources.files("trueup.judges") / "known.json"))):
        with suppress(DataError):
            sources.append(load(path))
    words = wording(method)
    for standings in sources:
        for one in standings:
            if (one.model, one.method) == (model, method) and one.wording == words:
                return one
    return None


def told(standing: Standing | None) -> str:
    """What is known of a judge, in a sentence."""
    if standing is None:
        return "Nobody has measured this judge: see what it is worth with `trueup judge`."
    how = "At chance" if standing.at_chance else "Measured"
    return f"{how}: it agreed with people on {standing.agreement} comparisons."


def keep(standings: Sequence[Standing], path: Path) -> None:
    """Write them to a file, replacing what it knew of the same judges. Raises `DataError`."""
    before: tuple[Standing, ...] = ()
    with suppress(DataError):
        before = load(path)
    new = {(one.model, one.method): one for one in (*before, *standings)}
    document = {"trueup": FORMAT, "judges": [one.to_dict() for one in new.values()]}
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        half.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}): set XDG_DATA_HOME to a folder of yours."
        ) from error


def load(path: Path) -> tuple[Standing, ...]:
    """The standings in a file, or in a run's folder. Raises `DataError`."""
    path = path / "judge.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text("utf-8"))
        found = document["judges"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no measured judges ({type(error).__name__}): give the folder of a "
            "`trueup judge` run, or the judge.json in it."
        ) from error
    return tuple(Standing.from_dict(one) for one in found)


def home(model: str) -> Path:
    """Where the user's own measurements of a model are kept."""
    place = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    digest = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Path(place) / "trueup" / "judges" / f"{digest}.json"
