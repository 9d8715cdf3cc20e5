"""An evaluation made ready: what to evaluate, on what, judged by whom, and what that will take.

    job = EvaluateJob("runs/align-1a2b3c4d", ("xstest@~/data", "gsm8k@~/data"), against="plain")
    prepared = prepare(job)                 # reads files and opens models; asks nobody
    for row in prepared.expected():
        print(row.benchmark, row.calls, row.tokens)

All that can be wrong is found here: names, files, keys that are missing. Carrying it out is in
`evaluating`. How many queries, budgets and where results go do not decide them and are not in a
run's name, so that a run goes on when they are changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from trueup.errors import SettingsError
from trueup.evaluation.asking import KINDS, Kind
from trueup.evaluation.benchmarks import Benchmark, named
from trueup.evaluation.items import Item, count
from trueup.evaluation.streaming import CONCURRENCY
from trueup.jobs.estimate import TURN, tokens
from trueup.jobs.job import EMBEDDED_PENALTY, RUNS
from trueup.jobs.subjects import Subject
from trueup.judges.standing import known, told
from trueup.models.model import Model, distinct
from trueup.models.named import is_remote, open_model, storable
from trueup.paths import expanded
from trueup.types import Sampling, mean

MODEL, AGAINST, JUDGE, EMBEDDER = "model", "against", "judge", "embedder"
LOOKED_AT = 200
"""Items of a benchmark that an estimate is made from."""
QUESTION = 400
"""Tokens of a judge's question beside the query and the replies."""
WRITTEN = 250
"""Tokens that a judge writes of its reasons."""


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """What to evaluate, on what, judged by whom."""

    model: str
    """A model as `open_model` takes it, a run's folder or an aligned.toml."""
    benchmarks: tuple[str, ...]
    """NAME@PATH of each."""
    against: str | None = None
    """Another one to compare with on the same queries; "plain" for the run's model without its
    prompt."""
    judge: Kind | None = None
    """checks by default where the model is embedded, which is a weak judge, and no other judges;
    else written."""
    judge_model: str | None = None
    """Who judges, where a model does: the model itself, without its prompt, by default."""
    max_tokens: int | None = None
    """The longest reply; a benchmark's own limit where that is lower."""
    frequency_penalty: float | None = None
    """By default the aligned run's; 0.3 where the model is embedded."""
    seed: int = 0
    """Which queries are sampled."""
    # What follows decides how much is done, not what: a run goes on when it is changed.
    n: int | None = 100
    """Queries of each benchmark; None for all."""
    until: bool = False
    """Stop at each benchmark as soon as the comparison is decided."""
    at_once: int = CONCURRENCY
    parquet: bool = False
    budget_calls: int | None = None
    budget_tokens: int | None = None
    budget_usd: float | None = None
    budget_minutes: float | None = None
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """USD per million tokens in and out of model, against, judge and embedder."""
    out: str | None = None

    def same(self) -> dict[str, Any]:
        """What decides the results, apart from how many there are."""
        later = (
            "n", "until", "at_once", "parquet", "budget_calls", "budget_tokens", "budget_usd",
            "budget_minutes", "prices", "out",
        )  # fmt: skip
        return {k: v for k, v in json.loads(json.dumps(asdict(self))).items() if k not in later}

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if self.out is not None:
            return expanded(self.out)
        text = "trueup/evaluate/1\n" + json.dumps(self.same(), sort_keys=True)
        return Path(RUNS) / f"evaluate-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a benchmark will take, about."""

    benchmark: str
    n: int
    calls: int
    """Of the models evaluated; exact where every reply can be had."""
    judge_calls: int
    tokens: int
    """In and out, all roles together."""


@dataclass(frozen=True)
class Prepared:
    """An evaluation before its first call: everything opened, everything looked at."""

    job: EvaluateJob
    subjects: tuple[Subject, ...]
    """The baseline first, where there is one."""
    models: Mapping[str, Model]
    """By the names that subjects and the judge have for them."""
    benchmarks: Mapping[str, tuple[Benchmark, str, int]]
    """By name: the benchmark, its place, and how many items it holds."""
    judge: Kind
    judge_name: str

    @property
    def labels(self) -> tuple[str, ...]:
        """What the subjects are called in results, in their order."""
        return (AGAINST, MODEL)[-len(self.subjects) :]

    def n(self, name: str) -> int:
        """Items of a benchmark that are to be asked."""
        held = self.benchmarks[name][2]
        return held if self.job.n is None else min(self.job.n, held)

    @property
    def asks_judge(self) -> bool:
        """Whether a model judges anything here."""
        return self.judge != "checks" and any(b.needs_judge for b, _, _ in self.benchmarks.values())

    @property
    def judge_told(self) -> str:
        """Who judges, in a sentence."""
        if not any(benchmark.needs_judge for benchmark, _, _ in self.benchmarks.values()):
            return "nobody is asked: every figure is by code."
        if self.judge == "checks":
            return "code checks, no model."
        how = {"written": "writes its reasons", "likelihood": "is read by its probabilities"}
        method = {"written": "written", "likelihood": "yes-no"}[self.judge]
        identity = self.models[self.judge_name].identity
        own = self.judge_name in {one.model_name for one in self.subjects}
        same = " It is the model evaluated: take its scores as its own opinion." if own else ""
        return f"{self.judge_name} {how[self.judge]}.{same} {told(known(identity, method))}"

    def paid(self) -> list[str]:
        """Models on other machines that would be called."""
        return sorted({one.identity for one in self.models.values() if is_remote(one)})

    def sampling(self, benchmark: Benchmark) -> Sampling:
        """How replies are drawn, by every subject alike."""
        limit = benchmark.max_tokens
        penalty = self.job.frequency_penalty
        if penalty is None:
            drawn = (one.sampling for one in reversed(self.subjects))
            searched = next((one for one in drawn if one is not None), None)
            embedded = any(one.model_name == "embedded" for one in self.subjects)
            penalty = searched.frequency_penalty if searched else EMBEDDED_PENALTY * embedded
        return Sampling(
            max_tokens=min(limit, self.job.max_tokens or limit), frequency_penalty=penalty
        )

    def expected(self) -> Iterator[Expected]:
        """What each benchmark will take, before a call is made: a guess from its first items."""
        for name, (benchmark, place, _) in self.benchmarks.items():
            seen = list(islice(benchmark.read(place), LOOKED_AT))
            yield _expected(self, benchmark, seen, self.n(name))

    async def close(self) -> None:
        """Give back every model."""
        for model in distinct(self.models.values()):
            await model.close()


def prepare(job: EvaluateJob, models: Mapping[str, Model] | None = None) -> Prepared:
    """Everything but the calls. `models`, by name, stand in for those that would be opened.

    Raises `SettingsError`, `DataError` and `ModelUnavailable`, each with its remedy.
    """
    if not job.benchmarks:
        raise SettingsError("Nothing to evaluate on: name a benchmark with --benchmark NAME@PATH.")
    if job.judge is not None and job.judge not in KINDS:
        raise SettingsError(f"{job.judge!r} is no way to judge: write one of {', '.join(KINDS)}.")
    if job.judge == "checks" and job.judge_model is not None:
        raise SettingsError(
            "--judge checks asks no model: leave out --judge-model, or write --judge written or "
            "likelihood."
        )
    if unknown := job.prices.keys() - {MODEL, AGAINST, JUDGE, EMBEDDER}:
        raise SettingsError(
            f"{min(unknown)!r} is no role in an evaluation: give the price of model, against, "
            "judge or embedder."
        )
    if not -2 <= (job.frequency_penalty or 0.0) <= 2:  # NaN is not, either
        raise SettingsError(
            f"A frequency penalty of {job.frequency_penalty} makes no sense: give -2 to 2."
        )
    if job.until and job.against is None:
        raise SettingsError("--until needs something to decide: name another with --against.")
    if job.parquet and importlib.util.find_spec("pyarrow") is None:
        raise SettingsError("--parquet needs pyarrow: pip install 'trueup[parquet]'.")
    found: dict[str, tuple[Benchmark, str, int]] = {}
    for text in job.benchmarks:
        benchmark, place = named(text)
        if benchmark.name in found:
            raise SettingsError(f"{benchmark.name} is named twice: name each benchmark once.")
        if benchmark.judged == "pairs" and job.against is None and not _rivals(benchmark, place):
            raise SettingsError(
                f"{place} has no reference replies to compare with: name another model with "
                "--against."
            )
        found[benchmark.name] = (benchmark, place, count(benchmark.read, place))
    subject = Subject.of(job.model)
    subjects = (subject,) if job.against is None else (Subject.of(job.against, subject), subject)
    weak = subject.model_name == "embedded" and job.judge_model is None
    judge = job.judge or ("checks" if weak else "written")
    judge_name = storable(job.judge_model or subject.model_name)
    wanted = {one.model_name for one in subjects}
    wanted |= {one.aligned.embedder_name for one in subjects if one.aligned} - {None}  # type: ignore[arg-type]
    prepared = Prepared(job, subjects, {}, found, judge, judge_name)
    wanted |= {judge_name} if prepared.asks_judge else set()
    opened = {name: (models or {}).get(name) or open_model(name) for name in wanted}
    return replace(prepared, models=opened)


def _rivals(benchmark: Benchmark, place: str) -> bool:
    """Whether any item has another model's reply."""
    return any(item.rival is not None for item in benchmark.read(place))


def _expected(prepared: Prepared, benchmark: Benchmark, seen: list[Item], n: int) -> Expected:
    models = len(prepared.subjects)
    requests = mean([float(_requests(benchmark, item)) for item in seen]) or 1.0
    query = tokens([item.query.text for item in seen])
    prompts = sum(_prompt(subject) for subject in prepared.subjects) / models
    reply = 0 if benchmark.judged == "choices" else prepared.sampling(benchmark).max_tokens
    calls = round(n * models * requests)
    asked = judge_tokens = 0
    if benchmark.needs_judge and prepared.judge != "checks":
        each = 2 * max(1, models - 1) if benchmark.judged == "pairs" else models * requests
        written = prepared.judge == "written"
        if not written and benchmark.judged == "scores":
            each *= 3 * len(benchmark.criteria(seen[0]))
        asked = round(n * each)
        shown = query + reply * (2 if benchmark.judged == "pairs" else 1)
        judge_tokens = round(asked * (QUESTION + shown + (WRITTEN if written else 1)))
    policy_tokens = round(calls * (prompts + query + reply))
    return Expected(benchmark.name, n, calls, asked, policy_tokens + judge_tokens)


def _requests(benchmark: Benchmark, item: Item) -> int:
    """How often a model is asked for one item."""
    if benchmark.judged == "choices":
        return len(item.right) + len(item.wrong)
    return 1 + len(item.then)


def _prompt(subject: Subject) -> float:
    """What a subject's prompt adds to a query in tokens, about."""
    if subject.aligned is None:
        return 0.0
    prompt = subject.aligned.prompt
    shown = [one.query + one.reply for one in prompt.demonstrations]
    return tokens([prompt.instruction]) + prompt.retrieval.k * (TURN + tokens(shown))
