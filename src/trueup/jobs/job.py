"""A job: everything a run is decided by, as a file that can be kept, changed and run again.

    job = Job(policy="endpoint:http://localhost:8000#qwen", data="my.jsonl", held_out=200)
    job.save("job.toml")
    job = Job.load("runs/align-1a2b3c4d/job.toml")
    job.name                                # "align-1a2b3c4d": the same job, the same folder

Every field has a default, so an empty file is a job too: the embedded model, judged by code, on the
data that comes with trueup. What depends on other fields (how long replies may be, who writes) is
None until `settled` decides it; a run keeps the settled job, so that it can be run again as it was
when defaults have changed. Budgets and folder do not decide a result, only whether and where it is
reached: they are not in the name, and a run that stopped for want of budget goes on with a larger
one.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trueup.aligned import JOB, told
from trueup.errors import SettingsError
from trueup.models import budgeted
from trueup.models.budgeted import Budget
from trueup.models.named import storable
from trueup.paths import expanded
from trueup.prompt.settings import CALLS

FILE = JOB
RUNS = "runs"
EMBEDDED_REPLY = 40
"""Tokens. On two cores the embedded model writes and reads about 250 a second in all."""
EMBEDDED_PENALTY = 0.3
"""The smallest models go in circles without one: of 70 harmless queries it saved five."""
REPLY = 256
PUBLISHED_REPLY = 2048
"""arXiv 2411.08733, code."""

PRICED = ("policy", "writer", "judge", "embedder")
"""Roles that a price can be given for."""

JUDGES = ("judge", "report_judge")
JudgeKind = Literal["checks", "dynamic", "likelihood", "perplexity"]
Count = Annotated[int, Field(ge=1)]
Price = Annotated[tuple[float, float], Field(description="USD per million tokens in, and out")]
_NOT_IN_NAME = frozenset(
    {"out", "budget_calls", "budget_tokens", "budget_usd", "budget_minutes", "prices"}
)
_IN_NAME_IF_SET = frozenset({"calibration", "force", "learn", "report_judge", "report_judge_model"})
"""So that a job which says nothing of them is called what it was called before they were there."""


class Job(BaseModel):
    """What to align, on what, judged by whom, within which limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # who
    policy: str = "embedded"
    """The model to be aligned, as `open_model` takes it."""
    writer: str | None = None
    """Who proposes instructions: "none", "policy" or a model. By default nobody where the policy
    is embedded, which is too small to write them, and else the policy."""
    judge: JudgeKind | None = None
    """Who scores: code checks (by default where the policy is embedded and no judge_model named),
    criteria that a model chooses and scores, the probability of Yes, or how much likelier the query
    makes the reply."""
    judge_model: str | None = None
    """The model that judges, where one does: "policy" by default."""
    calibration: str | None = None
    """What `trueup judge` found out about the judge: its run's folder. By default what is known."""
    force: bool = False
    """Optimise against a judge that is known to be at chance."""
    report_judge: JudgeKind | None = None
    """Who else scores the held-out replies: "dynamic" by default where its model is named, else
    code checks where a model judges."""
    report_judge_model: str | None = None
    """The model of that judge, where it is one: "policy" by default."""
    criteria: str | None = None
    """A TOML file of your own criteria, in addition to the pool."""
    embedder: str | None = None
    """A model whose embeddings retrieve demonstrations, instead of words."""

    # on what
    data: str = "seeds"
    """Queries: a file, a public set as NAME@PATH, hub:OWNER/NAME, or "seeds", which come with
    trueup."""
    column: str | None = None
    held_out_data: str | None = None
    """Queries to report on, where they are not a part of `data`."""
    held_out: Count | None = None
    """How many queries to report on: 80 by default, or 40% where there are few."""
    validation: Count | None = None
    """How many queries to choose with: by default a third of what is left."""
    demonstrations: str = "bundled"
    """The pool: "bundled", "long" (the published form), "none", or a file."""
    rewrite_demonstrations: bool = False
    """Rewrite the pool's replies under critique first: DRPO's stage one."""
    learn: bool = False
    """Make demonstrations of the search's own queries first: of the policy's best replies, and of
    the pool's way to refuse where a query says that it should be refused."""

    # how
    method: Literal["drpo", "composed"] | None = None
    """How to search: "composed" of parts by default where there is a writer, else "drpo"."""
    published: bool = False
    """The paper's settings instead of ours."""
    calls: Count | None = None
    """Policy calls of the search; 300 by default."""
    instruction: str | None = None
    """The instruction to start from."""
    k: Annotated[int, Field(ge=0)] | None = None
    """Demonstrations shown by the prompt to start from: 0 by default, 2 as published."""
    format: Literal["turns", "system", "raw"] = "turns"
    """Turns or system text for chat models, raw for base models."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Against loops, for base and aligned alike: 0.3 by default where the policy is embedded."""
    max_tokens: Count | None = None
    """Of a reply: 40 by default where the policy is embedded, else 256."""
    seed: int = 0

    # within which limits
    budget_calls: int | None = None
    """Calls of all roles together, like the budgets below."""
    budget_tokens: int | None = None
    budget_usd: float | None = None
    budget_minutes: float | None = None
    prices: dict[str, Price] = {}
    """What tokens cost by role, or by a model's name, in USD per million: [in, out]."""
    out: str | None = None
    """The run's folder: runs/ and the job's name by default."""

    @field_validator(
        "policy", "writer", "judge_model", "report_judge_model", "embedder", "data",
        "held_out_data", "demonstrations",
    )  # fmt: skip
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("it is empty: name something, or leave it out")
        return None if value is None else storable(value)

    @field_validator("prices")
    @classmethod
    def _priced(cls, prices: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, price in prices.items():
            budgeted.Price(*price)
            if ":" not in storable(name) and name not in PRICED:
                raise ValueError(
                    f"{name!r} is neither a role ({', '.join(PRICED)}) nor a model such as "
                    "openai:MODEL: correct it"
                )
        return prices

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.held_out_data is not None and self.held_out_data == self.data:
            raise ValueError(
                "held_out_data is the data searched on: leave it out for a part of that"
            )
        for judge in JUDGES:
            if getattr(self, judge) == "checks" and getattr(self, f"{judge}_model") is not None:
                raise ValueError(
                    f"{judge} is checks, which asks no model: leave {judge}_model out, or choose "
                    f"dynamic, likelihood or perplexity for {judge}"
                )
        if self.published and self.method == "composed":
            raise ValueError("`published` is its own method: leave `method` out, or `published`")
        if self.learn and (self.published or self.method == "composed"):
            raise ValueError("only `drpo` learns first: leave `learn` out, or the other method")
        if self.published and self.writer == "none":
            raise ValueError("the published method needs a writer: name a model for `writer`")
        return self

    def deciding(self) -> dict[str, Any]:
        """All that decides the result, for JSON: neither the folder nor the limits."""
        kept: dict[str, Any] = json.loads(self.model_dump_json(exclude=set(_NOT_IN_NAME)))
        return kept

    def budget(self) -> Budget:
        """The limits, nothing of them spent."""
        return Budget(self.budget_calls, self.budget_tokens, self.budget_usd, self.budget_minutes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Job:
        """Read a file, or the one in a run's folder. Raises `SettingsError`."""
        source = expanded(path)
        source = source / FILE if source.is_dir() else source
        try:
            return cls.of(tomllib.loads(source.read_text("utf-8")), str(source))
        except FileNotFoundError as error:
            raise SettingsError(
                f"There is no {source}: give a job file, or the folder of a run."
            ) from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(
                f"{source} cannot be read as TOML ({error}): correct it."
            ) from error

    @classmethod
    def of(cls, settings: dict[str, Any], where: str = "") -> Job:
        """A job of settings by name. Raises `SettingsError` for those that make no sense."""
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            raise SettingsError(f"{where}{': ' if where else ''}{told(error)}") from error

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file. Raises `SettingsError` where that is not possible."""
        target = Path(path)
        try:
            target.write_text(self.toml(), "utf-8", newline="\n")
        except OSError as error:
            raise SettingsError(
                f"{target} cannot be written ({error.strerror}): name a file in a folder that is "
                "there and yours."
            ) from error
        return target

    def toml(self) -> str:
        """The file's text: what is decided, in the order above."""
        fields = self.model_dump(mode="json", exclude_none=True)
        prices = fields.pop("prices")
        text = tomli_w.dumps(fields | ({"prices": prices} if prices else {}))
        return f"# To run this job again: trueup align --job THIS_FILE\n\n{text}"

    def settled(self) -> Job:
        """The same job with everything decided that depends on other fields."""
        embedded = self.policy == "embedded"
        writer = self.writer or ("none" if embedded and not self.published else "policy")
        weak = embedded and not self.published and self.judge_model is None
        judge = self.judge or ("checks" if weak else "dynamic")
        second = self.report_judge or ("dynamic" if self.report_judge_model else None)
        bare = self.published or writer == "none"
        reply = EMBEDDED_REPLY if embedded else PUBLISHED_REPLY if self.published else REPLY
        return self.model_copy(
            update={
                "writer": self.policy if writer == "policy" else writer,
                "method": self.method or ("drpo" if bare or self.learn else "composed"),
                "judge": judge,
                "judge_model": self._of_judge(judge, self.judge_model),
                "report_judge": second,
                "report_judge_model": self._of_judge(second, self.report_judge_model),
                "calls": self.calls or (None if self.published else CALLS),
                "k": self.k if self.k is not None else 2 if self.published else 0,
                "max_tokens": self.max_tokens or reply,
                "frequency_penalty": (
                    self.frequency_penalty
                    if self.frequency_penalty is not None
                    else EMBEDDED_PENALTY * embedded
                ),
            }
        )

    def _of_judge(self, judge: str | None, model: str | None) -> str | None:
        if judge in (None, "checks"):
            return None
        return self.policy if model in (None, "policy") else model

    @property
    def name(self) -> str:
        """What the run is called: the same for the same settled job, budgets and folder aside."""
        fields = self.settled().model_dump(mode="json", exclude=set(_NOT_IN_NAME))
        fields = {key: one for key, one in fields.items() if one or key not in _IN_NAME_IF_SET}
        text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(f"trueup/job/1\n{text}".encode("utf-8", "surrogatepass"))
        return f"align-{digest.hexdigest()[:8]}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return expanded(self.out) if self.out else Path(RUNS) / self.name

    def same_result(self, other: Job) -> bool:
        """Whether both decide the same, whatever they may spend and wherever they write."""
        return self.name == other.name


def changed(kept: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others in their place. A judge that is code has no model, and a model that is
    named judges: what was kept does not stand in the way."""
    found = dict(kept)
    for judge in JUDGES:
        model = f"{judge}_model"
        if given.get(judge) == "checks":
            found.pop(model, None)
        elif model in given and found.get(judge) == "checks":
            del found[judge]
    return found | dict(given)


def read_prices(given: list[str]) -> dict[str, tuple[float, float]]:
    """Prices as they stand on a command line. Raises `SettingsError`."""
    prices = {}
    for one in given:
        role, _, amounts = one.rpartition("=")
        try:
            tokens_in, tokens_out = (float(amount) for amount in amounts.split(","))
        except ValueError:
            raise SettingsError(
                f"{amounts!r} is no price: write ROLE=IN,OUT or MODEL=IN,OUT in USD per million "
                "tokens, as in policy=0.15,0.60."
            ) from None
        budgeted.Price(tokens_in, tokens_out)
        prices[role.strip()] = (tokens_in, tokens_out)
    return prices
