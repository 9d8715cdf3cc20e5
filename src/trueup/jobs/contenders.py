"""Who is compared: a baseline by name, a search, an aligned run, a model.

    entered = enter(["plain", "urial", "ours", "runs/align-1a2b3c4d", "endpoint:..."], plan, job)
    entered[0].prompt          # None where it is still to be searched for
    unseen, notes = fair(plan.held_out, entered)

Baselines and searches run on the plan's policy, with its layout, queries, pool and judge; a run or
a file brings its own model, and is asked with the plan's sampling like all others. What an aligned
prompt's search has seen, or its demonstrations give away, is no test of it: such queries are left
out for everyone. Nothing here calls a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trueup.data import leaks
from trueup.errors import DataError, SettingsError, TrueupError
from trueup.jobs.job import FILE, Job
from trueup.jobs.material import FEWEST
from trueup.jobs.plan import Plan, prepare, seen_by
from trueup.jobs.subjects import Subject
from trueup.paths import expanded
from trueup.prompt.baselines import BASELINES, baseline
from trueup.prompt.prompt import Prompt
from trueup.types import Query

SEARCHES = {
    "ours": "the default search",
    "published": "published DRPO, with the job's models and judge",
    "random": "random selection from the same pool",
}
"""By name, in a line each."""


@dataclass(frozen=True)
class Contender:
    """One of those compared."""

    name: str
    told: str
    """What it is, in a line."""
    model_name: str
    prompt: Prompt | None = None
    """None where it is to be searched for."""
    search: Literal["", "ours", "published", "random"] = ""
    plan: Plan | None = None
    """Of its search."""
    embedder_name: str | None = None
    seen: tuple[Query, ...] = ()
    """Queries that its search has seen."""
    notes: tuple[str, ...] = ()
    family: str = ""
    """Which search this is one of several seeds of; empty where it is made once."""
    aligned: bool = False
    """Whether it came with a prompt of its own: a run, or an aligned.toml."""


def enter(names: Sequence[str], plan: Plan, job: Job, seeds: int = 1) -> tuple[Contender, ...]:
    """Everyone by name, in the order given; `job` is the plan's as it was before it was settled.

    A search is entered once for each of so many seeds; its queries stay as the plan has them.
    Raises `SettingsError` and `DataError` for what cannot be compared.
    """
    doubled = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if doubled:
        raise SettingsError(f"{doubled[0]} is named twice: name each candidate once.")
    entered: list[Contender] = []
    for one in (_entered(name, plan, job) for name in names):
        again = seeds > 1 and one.plan is not None
        entered += [_seeded(one, number) for number in range(seeds)] if again else [one]
    return tuple(entered)


def fair(
    held_out: Sequence[Query], entered: Sequence[Contender]
) -> tuple[tuple[Query, ...], tuple[str, ...]]:
    """The held-out queries that none has seen, and what was left out. Raises `DataError`."""
    kept, notes = tuple(held_out), []
    for one in entered:
        seen = {query.text for query in one.seen}
        if one.search == "" and one.prompt is not None and one.prompt.demonstrations:
            seen |= {leak.query.text for leak in leaks(list(one.prompt.demonstrations), kept)}
        left = tuple(query for query in kept if query.text not in seen)
        if len(left) < len(kept):
            notes.append(
                f"{len(kept) - len(left)} held-out queries left out for all: the search of "
                f"{one.name} has seen them, or its demonstrations are like them"
            )
        kept = left
        notes += [f"{one.name}: {note}" for note in one.notes]
    if len(kept) < FEWEST:
        if len(kept) == len(held_out):
            raise DataError(
                f"{len(kept)} held-out queries are too few: ask for {FEWEST} or more (--held-out)."
            )
        raise DataError(
            f"Only {len(kept)} of {len(held_out)} held-out queries are left that no candidate has "
            f"seen, and {FEWEST} are needed: ask for more with --held-out, or give others with "
            "--held-out-data."
        )
    return kept, tuple(notes)


def _entered(name: str, plan: Plan, job: Job) -> Contender:
    policy = plan.job.policy
    if name in BASELINES:
        return Contender(name, BASELINES[name], policy, baseline(name, plan.job.format))
    if name == "published":
        return Contender(name, SEARCHES[name], policy, None, "published", _published(plan, job))
    if name in ("ours", "random"):
        return Contender(name, SEARCHES[name], policy, None, name, plan)  # type: ignore[arg-type]
    subject = Subject.of(name)
    if subject.aligned is None:
        if ":" not in name and name != "embedded":
            raise SettingsError(
                f"{name!r} is no candidate: name {', '.join((*BASELINES, *SEARCHES))}, the folder "
                "of a run, an aligned.toml, or a model such as endpoint:URL#MODEL."
            )
        return Contender(name, f"{name} under the plain prompt", name, plan.base)
    prompt, embedder = subject.aligned.prompt, subject.aligned.embedder_name
    seen, notes = _seen(name)
    return Contender(
        name,
        f"an aligned prompt ({subject.model_name})",
        subject.model_name,
        prompt,
        embedder_name=embedder,
        seen=seen,
        notes=notes,
        aligned=True,
    )


def _seeded(one: Contender, number: int) -> Contender:
    """The same search with another seed."""
    assert one.plan is not None
    settings = replace(one.plan.settings, seed=one.plan.settings.seed + number)
    return replace(
        one,
        name=f"{one.name}-{number + 1}",
        told=f"{one.told}, seed {settings.seed}",
        plan=replace(one.plan, settings=settings),
        family=one.name,
    )


def _published(plan: Plan, job: Job) -> Plan:
    """The published method on this plan's queries, pool, sampling and judge."""
    settled = plan.job
    ours_alone = {"learn", "writer"} if job.writer == "none" else {"learn"}
    fields = job.model_dump(exclude_none=True, exclude=ours_alone)
    k = min(2, len(plan.pool)) if job.k is None else job.k
    same = {
        "published": True,
        "method": "drpo",
        "judge": settled.judge,
        "judge_model": settled.judge_model,
        "max_tokens": settled.max_tokens,
        "frequency_penalty": settled.frequency_penalty,
        "calls": settled.calls,
        "k": k,
    }
    own = prepare(
        Job.of(fields | {key: value for key, value in same.items() if value is not None}),
        models=plan.models,
        judge=plan.own_judge,
    )
    start = replace(own.start, demonstrations=plan.pool if k else ())
    return replace(
        own,
        search=(*plan.search, *plan.validation),
        validation=(),
        held_out=plan.held_out,
        pool=plan.pool,
        start=start,
        criteria=plan.criteria,
    )


def _seen(name: str) -> tuple[tuple[Query, ...], tuple[str, ...]]:
    """What a run's search has seen, as far as that can still be told."""
    folder = expanded(name)
    folder = folder if folder.is_dir() else folder.parent
    if not (folder / FILE).is_file():
        return (), ("what its search has seen is not known: its job.toml is not beside it",)
    try:
        return seen_by(Job.load(folder)), ()
    except TrueupError as error:
        return (), (f"what its search has seen cannot be read: {error}",)
