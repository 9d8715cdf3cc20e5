"""A job made ready: models opened, data divided, and all that can be wrong found before it costs.

    plan = prepare(job)                  # reads files; asks nobody
    plan.estimate()                      # what it will take, at most
    await plan.check()                   # are the servers there, is the key good: costs nothing

A name becomes a thing here and nowhere else: which judge "checks" is, what "bundled" means, which
settings the published method has. Roles that name the same model share it. Running the plan is in
`alignment`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from trueup.data import leaks, read_demonstrations, read_queries, split, without_duplicates
from trueup.data.likeness import WordIndex, query_text, words
from trueup.errors import DataError, SettingsError
from trueup.jobs.gate import gated
from trueup.jobs.job import Job
from trueup.judges.checks import Relevance, Repetition, Safety
from trueup.judges.criteria import POOL, Criterion, load_criteria
from trueup.judges.dynamic import Checks, Dynamic
from trueup.judges.judge import Judge
from trueup.judges.likelihood import OVERALL, Likelihood
from trueup.judges.perplexity import FIT, Perplexity
from trueup.judges.standing import Calibrated, Standing
from trueup.models.budgeted import Price
from trueup.models.model import Model
from trueup.models.named import open_model
from trueup.prompt.prompt import PLAIN_INSTRUCTION, Prompt
from trueup.prompt.retrieval import Retrieval
from trueup.prompt.settings import Settings
from trueup.types import Demonstration, Query, Sampling

HELD_OUT = 80
VALIDATION = 32
FEWEST = 4
"""Queries in any part: fewer say nothing."""

CHECKS = (Safety(), Repetition(), Relevance())
"""What is scored by code, whoever else judges."""
_GOOD = {
    "Safety": "a harmless query is answered, a harmful one is declined",
    "Repetition": "is whole and does not go in circles",
    "On topic": "is about what was asked",
}
_LIKE_IN_POOL = {"Repetition": "Conciseness", "On topic": "Helpfulness"}
"""Criteria of the pool whose remedies help where a check finds fault."""


@runtime_checkable
class Checkable(Protocol):
    """A model that can say, at no cost, whether it could answer."""

    async def check(self) -> None: ...


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
        judge = _judge(str(self.job.judge), self.criteria, model)
        if self.standing is None or model is None or self.job.judge == "dynamic":
            return judge
        by_model = {OVERALL.name, FIT.name}
        keep = [one.name for one in self.criteria if one.name not in by_model]
        return Calibrated(judge, self.standing, keep=keep)

    def report_judge(self, model: Model | None) -> Judge | None:
        """Who else looks at the held-out replies; None where the search had nothing but code."""
        kind = self.job.report_judge
        if kind is None:
            if self.own_judge is None and self.job.judge == "checks":
                return None
            kind = "checks"
        return _judge(kind, _criteria_of(kind), model)

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
        pool = {one.name: one.remedies for one in POOL}
        found = pool | {name: pool[like] for name, like in _LIKE_IN_POOL.items()}
        return found | {one.name: one.remedies for one in self.criteria if one.remedies}

    def paid(self) -> dict[str, str]:
        """The roles whose model is on somebody else's machine, and which it is."""
        return {role: model.identity for role, model in self.models.items() if is_remote(model)}

    def price(self, role: str) -> Price | None:
        """What a role's tokens cost: as given, by role or by model; nothing on this machine."""
        prices = self.job.prices
        for other, model in self.models.items():
            if model is self.models[role]:
                given = prices.get(role) or prices.get(other)  # type: ignore[call-overload]
                if given is not None:
                    return Price(*given)
        known = getattr(self.models[role], "price", None)
        if isinstance(known, Price):
            return known
        return None if is_remote(self.models[role]) else Price(0.0, 0.0)

    async def check(self) -> None:
        """See that every model could answer. Raises `ModelUnavailable` or `ModelRefused`."""
        for model in {id(model): model for model in self.models.values()}.values():
            if isinstance(model, Checkable):
                await model.check()

    async def close(self) -> None:
        """Give back every model."""
        for model in {id(model): model for model in self.models.values()}.values():
            await model.close()


def prepare(
    job: Job, *, models: Mapping[str, Model] | None = None, judge: Judge | None = None
) -> Plan:
    """Everything but the calls. `models`, by role, and `judge` stand in for those the job names.

    Raises `SettingsError`, `DataError`, `JudgeError` and `ModelUnavailable`, each with its remedy.
    """
    job = job.settled()
    settings = _settings(job)
    criteria = () if judge is not None else _criteria(job)
    search, validation, held_out, notes = _divided(job, settings)
    pool, left_out = _pool(job, held_out)
    settings = replace(settings, validation=len(validation) if settings.validation else 0)
    needed = settings.depth + settings.growth if settings.value == "path mean" else FEWEST
    if len(search) < needed:
        raise DataError(
            f"{job.data} leaves {len(search)} queries to search on, and {needed} are needed: "
            "give more queries, or hold out fewer (--held-out)."
        )
    opened = _opened(job, models or {}, judge)
    gate = gated(job, criteria, opened["judge"].identity if "judge" in opened else None)
    if not any(one.check is None for one in gate.criteria) and judge is None:
        opened = {role: model for role, model in opened.items() if role != "judge"}
    return Plan(
        job=job,
        models=opened,
        search=search,
        validation=validation,
        held_out=held_out,
        pool=pool,
        start=_start(job, pool),
        settings=settings,
        criteria=gate.criteria,
        own_judge=judge,
        notes=(*notes, *left_out),
        standing=gate.standing,
        standing_told=gate.told,
    )


def seen_by(job: Job) -> tuple[Query, ...]:
    """The queries that a job's search has seen, its choice among finalists included.

    Reads files and opens no model. Raises `DataError` where the data is not there any more.
    """
    job = job.settled()
    search, validation, _, _ = _divided(job, _settings(job))
    return (*search, *validation)


def is_remote(model: Model) -> bool:
    """Whether using the model may cost money: it is not on this machine."""
    form, _, rest = model.identity.partition(":")
    if form != "endpoint":
        return False
    host = urlsplit(rest).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


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
        first_answers=min(settings.first_answers, job.calls // 6),
        minibatch=min(settings.minibatch, max(FEWEST, job.calls // 12)),
    )


def _judge(kind: str, criteria: Sequence[Criterion], model: Model | None) -> Judge:
    """A judge by its name. One whose model is not asked judges by code alone."""
    if kind == "checks" or model is None:
        return Checks([one for one in criteria if one.check is not None])
    if kind == "dynamic":
        return Dynamic(model, criteria)
    if kind == "likelihood":
        return Likelihood(model, criteria)
    fit = replace(FIT, check=Perplexity(model).check)
    return Checks([fit if one.name == FIT.name else one for one in criteria])


def _criteria_of(kind: str) -> tuple[Criterion, ...]:
    """What a judge that only reports scores: a model's opinion alone, or code alone."""
    alone = {"likelihood": (OVERALL,), "perplexity": (FIT,), "dynamic": POOL}
    return alone.get(kind) or tuple(
        Criterion(check.name, good=_GOOD[check.name], check=check, always=True) for check in CHECKS
    )


def _criteria(job: Job) -> tuple[Criterion, ...]:
    """What the judge scores; published DRPO's fourteen stand alone."""
    own = load_criteria(job.criteria) if job.criteria else ()
    by_code = tuple(
        Criterion(check.name, good=_GOOD[check.name], check=check, always=True) for check in CHECKS
    )
    if job.judge == "checks":
        needing = [one.name for one in own if one.check is None]
        if needing:
            raise SettingsError(
                f"{job.criteria} has criteria that need a model to judge them "
                f"({', '.join(needing)}): choose --judge dynamic or likelihood."
            )
        return (*by_code, *own)
    if job.judge == "likelihood":
        return (OVERALL, *by_code, *own)
    if job.judge == "perplexity":
        return (FIT, *by_code, *(one for one in own if one.check is not None))
    if job.published:
        return (*POOL, *own)
    # The pool has a criterion called Safety, which reads the reply; the check reads the outcome.
    renamed = [
        replace(one, name="Right outcome") if one.name == "Safety" else one for one in by_code
    ]
    return (*POOL, *renamed, *own)


def _divided(
    job: Job, settings: Settings
) -> tuple[tuple[Query, ...], tuple[Query, ...], tuple[Query, ...], list[str]]:
    """Queries to search, to choose and to report on, and what was left out."""
    given = read_queries(job.data, column=job.column)
    if job.held_out_data is not None:
        return _beside(job, given, settings)
    distinct = without_duplicates(given)
    held_out = job.held_out or min(HELD_OUT, 2 * len(distinct) // 5)
    validation = _validation(job, settings, len(distinct) - held_out)
    _enough(job, len(distinct), held_out, validation)
    parts = split(distinct, (len(distinct) - held_out - validation, validation, held_out), job.seed)
    return parts.search, parts.validation, parts.held_out, _duplicates(given, distinct)


def _beside(
    job: Job, given: list[Query], settings: Settings
) -> tuple[tuple[Query, ...], tuple[Query, ...], tuple[Query, ...], list[str]]:
    """The same where the queries to report on come from elsewhere."""
    elsewhere = without_duplicates(read_queries(str(job.held_out_data), column=job.column))
    held_out = job.held_out or len(elsewhere)
    if held_out > len(elsewhere):
        raise DataError(
            f"{job.held_out_data} holds {len(elsewhere)} distinct queries, and {held_out} are to "
            "be held out: lower --held-out, or give more."
        )
    reported = split(elsewhere, (0, 0, held_out), job.seed).held_out
    index = WordIndex(
        Counter(word for one in (*given, *reported) for word in set(words(query_text(one))))
    )
    for query in reported:
        index.add_if_new(query_text(query))
    distinct = [query for query in without_duplicates(given) if index.add_if_new(query_text(query))]
    validation = _validation(job, settings, len(distinct))
    _enough(job, len(distinct), 0, validation)
    parts = split(distinct, (len(distinct) - validation, validation, 0), job.seed)
    return parts.search, parts.validation, reported, _duplicates(given, distinct)


def _validation(job: Job, settings: Settings, left: int) -> int:
    """How many queries choose among the finalists: no more than the search can pay for."""
    if settings.validation == 0:
        return 0
    affordable = (job.calls or 300) // (3 * settings.finalists)
    return job.validation or max(FEWEST, min(VALIDATION, left // 3, affordable))


def _enough(job: Job, distinct: int, held_out: int, validation: int) -> None:
    if distinct - held_out - validation < FEWEST:
        raise DataError(
            f"{job.data} holds {distinct} distinct queries; {held_out} held out and {validation} "
            f"to choose with leave fewer than {FEWEST} to search on. Give more queries, or lower "
            "--held-out."
        )


def _duplicates(given: Sequence[Query], distinct: Sequence[Query]) -> list[str]:
    count = len(given) - len(distinct)
    return [f"{count} queries left out because another like them is there"] if count else []


def _pool(job: Job, held_out: Sequence[Query]) -> tuple[tuple[Demonstration, ...], list[str]]:
    """The demonstrations to choose from, without any that give a held-out query away."""
    if job.rewrite_demonstrations and job.writer == "none":
        raise SettingsError(
            "Rewriting demonstrations needs a writer: name a model with --writer, or leave "
            "rewrite_demonstrations out."
        )
    if job.demonstrations == "none":
        return (), []
    sources = {"bundled": "seeds", "long": "seeds:long"}
    pool = read_demonstrations(sources.get(job.demonstrations, job.demonstrations))
    kept = tuple(one for one in pool if not leaks([one], held_out))
    if len(kept) == len(pool):
        return kept, []
    return kept, [
        f"{len(pool) - len(kept)} demonstrations left out: held-out queries are like them"
    ]


def _start(job: Job, pool: tuple[Demonstration, ...]) -> Prompt:
    instruction = job.instruction if job.instruction is not None else PLAIN_INSTRUCTION
    k = job.k or 0
    if k > len(pool):
        raise SettingsError(
            f"{k} demonstrations are to be shown, but the pool ({job.demonstrations}) holds "
            f"{len(pool)}: lower --k, or give more demonstrations."
        )
    return Prompt(instruction, pool if k else (), Retrieval(k=k), job.format)


def _opened(job: Job, given: Mapping[str, Model], judge: Judge | None) -> dict[str, Model]:
    """The model of every role that has one; roles that name the same share it."""
    names = {"policy": job.policy}
    if job.writer not in (None, "none"):
        names["writer"] = str(job.writer)
    if job.judge_model is not None and judge is None:
        names["judge"] = job.judge_model
    if job.report_judge_model is not None:
        names["report_judge"] = job.report_judge_model
    if job.embedder is not None:
        names["embedder"] = job.embedder
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
