"""What a job will take, before a call is made: calls, tokens, money and time, role by role.

    for row in estimate(plan):
        print(row.role, row.calls, row.tokens, row.usd, row.seconds)

An estimate is an upper bound of the calls and a guess at the rest: so many letters a token, prompts
as long as the pool's demonstrations make them, replies four fifths as long as they may get. The
figures are those of default runs on the embedded model. Times are its own, as fast as it last was
on this machine, or a server's that writes forty tokens a second to each of sixteen callers; without
a server's real speed no better can be said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trueup.errors import SettingsError
from trueup.jobs.plan import Plan
from trueup.judges import likelihood, perplexity
from trueup.judges.template import Template
from trueup.models.budgeted import LETTERS_PER_TOKEN, Budget
from trueup.models.named import is_remote
from trueup.prompt.composed import rounds_within
from trueup.prompt.demonstrations import ITERATIONS

HOPELESS = 2
"""A budget of tokens or money this many times below what seems needed is refused."""
TURN = 7
"""Tokens that a chat template adds to each turn."""
SHOWN = 3
"""Demonstrations that the search's prompts show, usually."""
REPLY_SHARE = 0.8
"""Of the longest reply allowed, how long replies are: measured where that is 40 tokens."""
EMBEDDED_TOKENS_PER_SECOND = 250
SERVER_TOKENS_PER_SECOND = 16 * 40
PUBLISHED_CALLS = 112
PUBLISHED_WRITTEN = 37
"""One default run of published DRPO without a skip."""
SELECTION = (1400, 300)
SCORING = (700, 400)
WRITING = (1500, 600)
QUESTION = (150, 1)
"""Tokens in and out of a judge's and a writer's usual request, beside what they are shown."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What one role is expected to take in one part of the run."""

    role: str
    part: str
    """Demonstrations, search or held-out."""
    calls: int
    tokens_in: int
    tokens_out: int
    usd: float | None
    """None where the price is not known."""
    seconds: float

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


def estimate(plan: Plan) -> tuple[Expected, ...]:
    """Search first, then what the report takes."""
    replies = plan.settings.calls or PUBLISHED_CALLS
    reported = 2 * len(plan.held_out)
    searched = min(len(plan.search) + len(plan.validation), replies)
    rows = [
        *_rewriting(plan),
        _policy(plan, "search", replies),
        *_writer(plan, replies),
        *_judge(plan, "search", replies, searched),
        _policy(plan, "held-out", reported),
        *_judge(plan, "held-out", reported, len(plan.held_out)),
        *_report_judge(plan, reported),
    ]
    return tuple(row for row in rows if row.calls)


def reserve(rows: Sequence[Expected], budget: Budget) -> Budget:
    """The part of a budget that searches may use, so that the held-out queries can be paid for."""
    last = [row for row in rows if row.part == "held-out"]
    whole = sum(row.tokens for row in rows) or 1
    share = 1 - sum(row.tokens for row in last) / whole
    kept = sum(row.calls for row in last)
    return Budget(
        calls=None if budget.calls is None else max(0, budget.calls - kept),
        tokens=None if budget.tokens is None else int(budget.tokens * share),
        usd=None if budget.usd is None else budget.usd * share,
        minutes=None if budget.minutes is None else budget.minutes * share,
    )


def enough(plan: Plan) -> Budget:
    """The job's budget. Raises `SettingsError` where it leaves nothing to search with."""
    budget, rows, wanted = plan.job.budget(), estimate(plan), least(plan)
    reported = sum(row.calls for row in rows if row.part == "held-out")
    search = reserve(rows, budget)
    for name, limit, left, needed in (
        ("calls", budget.calls, search.calls, wanted.calls),
        # What a reply takes is a guess beforehand: only what is hopeless is refused.
        ("tokens", budget.tokens, search.tokens, wanted.tokens // HOPELESS),
        ("usd", budget.usd, search.usd, (wanted.usd or 0.0) / HOPELESS),
    ):
        if limit is not None and left is not None and (left < needed or left == 0 < limit):
            raise SettingsError(
                f"A budget of {limit:,} {name} leaves {left:,.4g} for the search: the "
                f"{len(plan.held_out)} held-out queries take {reported} calls, and the first "
                f"answers with one proposal beside them {wanted.calls} calls, about "
                f"{wanted.tokens:,} tokens. Nothing would be learnt: raise --budget-{name}, or "
                "lower --held-out."
            )
    return budget


def least(plan: Plan) -> Expected:
    """What a search needs to learn anything: the first answers, and one proposal beside them.

    All roles together. Tokens and money are as rough as `estimate`'s.
    """
    settings = plan.settings
    if settings.calls is None:
        replies, of = 1 + settings.actions, PUBLISHED_CALLS
    else:
        replies = min(settings.first_answers, settings.calls // 4) + settings.minibatch
        of = settings.calls
    share = min(1.0, replies / of)
    rows = [row for row in estimate(plan) if row.part == "search"]
    known = [row.usd for row in rows if row.usd is not None]
    return Expected(
        role="all",
        part="search",
        calls=int(share * sum(row.calls for row in rows)),
        tokens_in=int(share * sum(row.tokens_in for row in rows)),
        tokens_out=int(share * sum(row.tokens_out for row in rows)),
        usd=share * sum(known) if len(known) == len(rows) else None,
        seconds=share * sum(row.seconds for row in rows),
    )


def _policy(plan: Plan, part: str, calls: int) -> Expected:
    """Calls under prompts that show demonstrations, and those that do not.

    The first answers are given under the prompt to start from, and half of the held-out replies
    under the plain one.
    """
    settings = plan.settings
    usual = settings.calls is not None
    bare = calls // 2
    if part == "search":
        bare = min(settings.first_answers, calls // 4) if usual else calls
    shown = min(SHOWN if usual else plan.job.k or 0, len(plan.pool))
    at_first = min(plan.job.k or 0, len(plan.pool)) if part == "search" else 0
    queries = [one.text for one in (*plan.search, *plan.held_out)]
    asked = tokens([plan.start.instruction]) + tokens(queries)
    one_shown = tokens([one.query + one.reply for one in plan.pool]) + TURN
    tokens_in = asked + one_shown * (bare * at_first + (calls - bare) * shown) / max(1, calls)
    written = REPLY_SHARE * plan.sampling.max_tokens
    return _expected(plan, "policy", part, calls, round(tokens_in), round(written))


def _rewriting(plan: Plan) -> list[Expected]:
    """Stage one: at most five rewritings and six judgements a demonstration."""
    if not plan.job.rewrite_demonstrations:
        return []
    pairs = len(plan.pool)
    written = _expected(plan, "writer", "demonstrations", ITERATIONS * pairs, *WRITING)
    if "judge" not in plan.models:
        return [written]
    calls = (ITERATIONS + 2) * pairs
    return [written, _expected(plan, "judge", "demonstrations", calls, *SCORING)]


def _writer(plan: Plan, replies: int) -> list[Expected]:
    if "writer" not in plan.models:
        return []
    settings = plan.settings
    if plan.job.published:
        return [_expected(plan, "writer", "search", PUBLISHED_WRITTEN, *WRITING)]
    if plan.job.method == "composed":
        searched = replies - min(settings.finalists * settings.validation, replies // 3)
        rounds = min(settings.depth, rounds_within(searched))
        return [_expected(plan, "writer", "search", rounds * settings.actions, *WRITING)]
    rounds = min(settings.depth, 1 + replies // (2 * settings.minibatch))
    return [_expected(plan, "writer", "search", rounds * (settings.actions + 1), *WRITING)]


def _judge(plan: Plan, part: str, replies: int, queries: int) -> list[Expected]:
    if "judge" not in plan.models:
        return []
    asked = sum(one.check is None for one in plan.criteria)
    return [_judged(plan, "judge", str(plan.job.judge), part, replies, queries, asked)]


def _report_judge(plan: Plan, replies: int) -> list[Expected]:
    if "report_judge" not in plan.models:
        return []
    kind = str(plan.job.report_judge)
    return [_judged(plan, "report_judge", kind, "held-out", replies, replies // 2, 1)]


def _judged(
    plan: Plan, role: str, kind: str, part: str, replies: int, queries: int, asked: int
) -> Expected:
    read = round(tokens([one.text for one in plan.search])) + plan.sampling.max_tokens
    if kind == "likelihood":
        wanted, written = QUESTION
        return _expected(plan, role, part, replies * asked * _phrasings(), wanted + read, written)
    if kind == "perplexity":
        said = min(perplexity.TOKENS, plan.sampling.max_tokens)
        return _expected(plan, role, part, 2 * replies, read, said)
    wanted, written = SELECTION
    scored, reasons = SCORING
    tokens_in = (queries * (wanted + read) + replies * (scored + read)) // (queries + replies)
    tokens_out = (queries * written + replies * reasons) // (queries + replies)
    return _expected(plan, role, part, queries + replies, tokens_in, tokens_out)


def _phrasings() -> int:
    wording = likelihood.YES_NO.by_criterion
    return len(Template.lines_from_file(wording, beside=likelihood.__file__))


def _expected(
    plan: Plan, role: str, part: str, calls: int, tokens_in: int, tokens_out: int
) -> Expected:
    price = plan.price(role)
    usd = None
    if price is not None:
        per_call = tokens_in * price.usd_per_million_in + tokens_out * price.usd_per_million_out
        usd = calls * per_call / 1e6
    if is_remote(plan.models[role]):
        seconds = calls * tokens_out / SERVER_TOKENS_PER_SECOND
    else:
        measured = getattr(plan.models[role], "tokens_per_second", None)
        speed = measured or EMBEDDED_TOKENS_PER_SECOND
        seconds = calls * (tokens_in + tokens_out) / speed
    return Expected(role, part, calls, calls * tokens_in, calls * tokens_out, usd, seconds)


def tokens(turns: Sequence[str]) -> float:
    """Of such turns of a conversation, the mean."""
    if not turns:
        return 0.0
    return TURN + sum(map(len, turns)) / len(turns) / LETTERS_PER_TOKEN
