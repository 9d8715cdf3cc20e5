"""A job made ready: models opened, data divided, and all that can be wrong found before it costs.

    plan = prepare(job)                  # reads files; asks nobody
    await plan.check()                   # are the servers there, is the key good: costs nothing

A name becomes a thing here and in what this is made of: which judge "checks" is (`scoring`), what
"bundled" means (`material`), which settings the published method has. Roles that name the same
model share it. What a plan will take is in `estimate`, running it in `alignment`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from trueup.errors import DataError, SettingsError
from trueup.jobs.gate import gated
from trueup.jobs.job import Job
from trueup.jobs.material import FEWEST, material_of, pool_of
from trueup.jobs.scoring import BY_MODEL, criteria_of, judge_of, remedies_of, reporting
from trueup.judges.criteria import Criterion
from trueup.judges.judge import Judge
from trueup.judges.standing import Calibrated, Standing
from trueup.models.budgeted import Price, price_of
from trueup.models.model import Checkable, Model, distinct
from trueup.models.named import is_remote, open_model
from trueup.prompt.prompt import PLAIN_INSTRUCTION, Prompt
from trueup.prompt.retrieval import Retrieval
from trueup.prompt.settings import Settings
from trueup.types import Demonstration, Query, Sampling


@dataclass(frozen=True)
class Plan:
    """Everything a run needs, before its first call."""

    job: Job
    """Settled."""
    models: Mapping[str, Model]
    """By role: policy, and writer, judge and embedder where there are any."""
    search: tuple[Query, ...]
    validation: tuple[Query, ...]
    held_out: tuple[Query, ...]
    pool: tuple[Demonstration, ...]
    start: Prompt
    settings: Settings
    criteria: tuple[Criterion, ...]
    """Of a judge that is a model: the pool, yours and the checks."""
    own_judge: Judge | None = None
    """A judge given in Python instead of by name."""
    notes: tuple[str, ...] = ()
    """What was left out of the data, and why."""
    standing: Standing | None = None
    """What is known of the judge."""
    standing_told: str = ""
    """The same in a sentence, and what was done about it."""

    @property
    def base(self) -> Prompt:
        """What the aligned model is compared with: the plain instruction, nothing shown."""
        return replace(self.start, demonstrations=(), retrieval=Retrieval(k=0))

    @property
    def sampling(self) -> Sampling:
        """How the policy answers, in the search and after it."""
        return self.settings.reply

    @property
    def inputs(self) -> str:
        """A hash of all that decides the result and is not in the job: the data, the models."""
        queries = (*self.search, *self.validation, *self.held_out)
        content = [
            [asdict(one) for one in queries],
            [asdict(one) for one in self.pool],
            {role: model.identity for role, model in self.models.items()},
            self.judge_shown if self.own_judge else "",
        ]
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def judge(self, model: Model | None) -> Judge:
        """The job's judge, asking `model` where it asks one, its scores read as they are worth."""
        if self.own_judge is not None:
            return self.own_judge
        judge = judge_of(str(self.job.judge), self.criteria, model)
        if self.standing is None or model is None or self.job.judge == "dynamic":
            return judge
        keep = [one.name for one in self.criteria if one.name not in BY_MODEL]
        return Calibrated(judge, self.standing, keep=keep)

    def report_judge(self, model: Model | None) -> Judge | None:
        """Who else looks at the held-out replies; None where the search had nothing but code."""
        kind = self.job.report_judge
        if kind is None:
            if self.own_judge is None and self.job.judge == "checks":
                return None
            kind = "checks"
        return judge_of(kind, reporting(kind), model)

    @property
    def report_judge_shown(self) -> str:
        """Who that is."""
        kind = self.job.report_judge or "checks"
        return "the code checks" if kind == "checks" else f"{self.job.report_judge_model} ({kind})"

    @property
    def judge_shown(self) -> str:
        """Which judge this is, and how far it goes, in a sentence."""
        if self.own_judge is not None:
            name = getattr(self.own_judge, "__name__", type(self.own_judge).__name__)
            return f"your own judge, {name}."
        by_code = ", ".join(c.name for c in self.criteria if c.check is not None)
        if self.job.judge == "checks":
            why = ""
            if self.job.policy == "embedded":
                why = " The embedded model is a weak judge, so it is not asked."
            return f"code checks ({by_code}), no model.{why}"
        how = {
            "dynamic": "chooses criteria for each query and scores them with reasons",
            "likelihood": "is read by the probability it gives to Yes",
            "perplexity": "is read by how much likelier the query makes the reply",
        }[str(self.job.judge)]
        if "judge" not in self.models:
            return f"code checks ({by_code}). {self.job.judge_model} {how}. {self.standing_told}"
        also = (
            f" Code checks ({by_code}) count beside it."
            if by_code
            else " Nothing stands beside it."
        )
        own = self.job.judge_model == self.job.policy
        same = " It is the policy itself: take its scores as its own opinion." if own else ""
        known = f" {self.standing_told}" if self.standing_told else ""
        return f"{self.job.judge_model} {how}.{also}{same}{known}"

    @property
    def remedies(self) -> dict[str, tuple[str, ...]]:
        """Lines that may repair an instruction, by the criterion they belong to."""
        return remedies_of(self.criteria)

    def paid(self) -> dict[str, str]:
        """The roles whose model is on somebody else's machine, and which it is."""
        return {role: model.identity for role, model in self.models.items() if is_remote(model)}

    @property
    def by_name(self) -> dict[str, Model]:
        """The models by the names that the job has for them."""
        found: dict[str, Model] = {}
        for role, name in _names(self.job).items():
            if role in self.models:
                found.setdefault(name, self.models[role])
        return found

    def price(self, role: str) -> Price | None:
        """What a role's tokens cost: as given, by role or by model; nothing on this machine."""
        return self.price_of(self.models[role], role)

    def price_of(self, model: Model, name: str) -> Price | None:
        """The same of a model that is called so, by a role or by a name."""
        called = (*self.models.items(), *self.by_name.items())
        for one in (name, *(own for own, other in called if other is model), model.identity):
            if one in self.job.prices:
                return Price(*self.job.prices[one])
        known = price_of(model)
        return known if known is not None or is_remote(model) else Price(0.0, 0.0)

    async def check(self) -> None:
        """See that every model could answer. Raises `ModelUnavailable` or `ModelRefused`."""
        for model in distinct(self.models.values()):
            if isinstance(model, Checkable):
                await model.check()

    async def close(self) -> None:
        """Give back every model."""
        for model in distinct(self.models.values()):
            await model.close()


def prepare(
    job: Job, *, models: Mapping[str, Model] | None = None, judge: Judge | None = None
) -> Plan:
    """Everything but the calls. `models`, by role, and `judge` stand in for those the job names.

    Raises `SettingsError`, `DataError`, `JudgeError` and `ModelUnavailable`, each with its remedy.
    """
    job = job.settled()
    settings = _settings(job)
    criteria = () if judge is not None else criteria_of(job)
    material = material_of(job, settings)
    pool, left_out = pool_of(job, material.held_out)
    if settings.validation:
        settings = replace(settings, validation=len(material.validation))
    needed = settings.depth + settings.growth if job.published else FEWEST
    if len(material.search) < needed:
        raise DataError(
            f"{job.data} leaves {len(material.search)} queries to search on, and {needed} are "
            "needed: give more queries, or hold out fewer (--held-out)."
        )
    opened = _opened(job, models or {}, judge)
    gate = gated(job, criteria, opened["judge"].identity if "judge" in opened else None)
    if not any(one.check is None for one in gate.criteria) and judge is None:
        opened = {role: model for role, model in opened.items() if role != "judge"}
    return Plan(
        job=job,
        models=opened,
        search=material.search,
        validation=material.validation,
        held_out=material.held_out,
        pool=pool,
        start=_start(job, pool),
        settings=settings,
        criteria=gate.criteria,
        own_judge=judge,
        notes=(*material.notes, *left_out),
        standing=gate.standing,
        standing_told=gate.told,
    )


def seen_by(job: Job) -> tuple[Query, ...]:
    """The queries that a job's search has seen, its choice among finalists included.

    Reads files and opens no model. Raises `DataError` where the data is not there any more.
    """
    job = job.settled()
    material = material_of(job, _settings(job))
    return (*material.search, *material.validation)


def _settings(job: Job) -> Settings:
    settings = Settings.published(seed=job.seed) if job.published else Settings(seed=job.seed)
    # Replies are greedy: a seed would decide nothing, only make the same request another one.
    reply = replace(
        settings.reply,
        max_tokens=job.max_tokens or settings.reply.max_tokens,
        frequency_penalty=job.frequency_penalty or 0.0,
    )
    settings = replace(settings, reply=reply, calls=job.calls)
    if job.published or job.calls is None:
        return settings
    # A search of few calls would spend them all on its first round.
    return replace(
        settings,
        learn=job.learn,
        first_answers=job.calls // 3 if job.learn else min(settings.first_answers, job.calls // 6),
        minibatch=min(settings.minibatch, max(FEWEST, job.calls // 12)),
    )


def _start(job: Job, pool: tuple[Demonstration, ...]) -> Prompt:
    instruction = job.instruction if job.instruction is not None else PLAIN_INSTRUCTION
    k = job.k or 0
    if k > len(pool):
        raise SettingsError(
            f"{k} demonstrations are to be shown, but the pool ({job.demonstrations}) holds "
            f"{len(pool)}: lower --k, or give more demonstrations."
        )
    return Prompt(instruction, pool if k else (), Retrieval(k=k), job.format)


def _names(job: Job) -> dict[str, str]:
    """By role, the models that a settled job names."""
    named = {
        "policy": job.policy,
        "writer": None if job.writer == "none" else job.writer,
        "judge": job.judge_model,
        "report_judge": job.report_judge_model,
        "embedder": job.embedder,
    }
    return {role: name for role, name in named.items() if name is not None}


def _opened(job: Job, given: Mapping[str, Model], judge: Judge | None) -> dict[str, Model]:
    """The model of every role that has one; roles that name the same share it."""
    names = _names(job)
    if judge is not None:
        names.pop("judge", None)
    models: dict[str, Model] = {}
    by_name: dict[str, Model] = {}
    for role, name in names.items():
        if role in given:
            models[role] = given[role]
        elif name == job.policy and "policy" in given:
            models[role] = given["policy"]
        else:
            if name not in by_name:
                by_name[name] = open_model(name)
            models[role] = by_name[name]
    return models | {role: model for role, model in given.items() if role not in models}
