"""A benchmark is queries, a judge and a summary, as data.

    benchmark, place = named("xstest@~/data")
    for item in sampled(benchmark.read, place, n=100, seed=0):
        ...
    BENCHMARKS["gsm8k"].protocol, BENCHMARKS["gsm8k"].differs

Each says which published protocol it follows and where ours differs, so that nobody compares what
cannot be compared: absolute scores move by a whole point between judges, and are for the same judge
before and after. Nothing is shipped: the sets are read from wherever you keep them, and their
licences are their own. How an item is asked and judged is in `asking`; what code reads off a reply
is in `marks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from trueup.errors import SettingsError
from trueup.evaluation import items, marks
from trueup.evaluation.items import Item, Read
from trueup.evaluation.marks import Mark
from trueup.evaluation.measures import Better, Unit, bounds
from trueup.judges.criteria import POOL, Criterion, find

JudgedBy = Literal["code", "scores", "pairs", "choices"]
"""By code alone; each reply scored on criteria; against another reply; the likelihood of given
answers, without a judge."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a benchmark's summary: a mean over the items it applies to."""

    name: str
    unit: Unit = "share"
    better: Better = "higher"
    balanced: bool = False
    """Whether harmful and harmless queries weigh the same."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends of its scale."""
        return bounds(self.unit)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Queries, who judges the replies, and what is made of that."""

    name: str
    told: str
    """What it is, in a line."""
    protocol: str
    """The published way that is followed."""
    differs: str
    """Where ours differs from it."""
    read: Read
    judged: JudgedBy
    figures: tuple[Figure, ...]
    """Its own, the one to look at first (its headline) first. Criteria, lengths and costs are added
    to every benchmark's."""
    mark: Mark = marks.nothing
    criteria: Callable[[Item], tuple[Criterion, ...]] = lambda item: ()
    """What a model scores the reply on, where one judges."""
    gathers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Figures that are the mean of some criteria's scores."""
    max_tokens: int = 256
    """Of a reply."""

    @property
    def needs_judge(self) -> bool:
        """Whether a model may judge here; the others are the same whoever judges."""
        return self.judged in ("scores", "pairs")

    def headline(self, by_code: bool) -> Figure:
        """The figure to look at first, of those that there are without a model that judges."""
        return next(one for one in self.figures if not by_code or one.name not in self.gathers)


def named(text: str) -> tuple[Benchmark, str]:
    """The benchmark and the place of `NAME@PATH`. Raises `SettingsError`."""
    name, at, place = text.partition("@")
    if name not in BENCHMARKS:
        raise SettingsError(
            f"{name!r} is no benchmark. Known are {', '.join(BENCHMARKS)}; write NAME@PATH."
        )
    if not at or not place:
        raise SettingsError(f"{text!r} does not say where the queries are: write {name}@PATH.")
    return BENCHMARKS[name], place


def _pool(*names: str) -> tuple[Criterion, ...]:
    found = tuple(find(name, POOL) for name in names)
    return tuple(one for one in found if one is not None)


ASPECTS = _pool("Helpfulness", "Clarity", "Factuality", "Depth", "Engagement")
SAFETY = _pool("Safety")
CONVERSATION = _pool("Helpfulness", "Factuality", "Clarity", "Depth")
TRUTH = _pool("Factuality")
USUAL = _pool("Helpfulness", "Clarity", "Factuality", "Safety")


def _just_eval(item: Item) -> tuple[Criterion, ...]:
    return ASPECTS if item.query.category == "regular" else SAFETY


_REWARD = Figure("reward", "score")
_ATTACKS = (
    Figure("attack success", better="lower"),
    Figure("answered", better="lower"),
)

BENCHMARKS: dict[str, Benchmark] = {
    one.name: one
    for one in (
        Benchmark(
            "just_eval",
            "instructions on five aspects and red-team questions on safety, scored 1 to 5",
            "just-eval-instruct (arXiv 2312.01552): one question a reply, JSON, reason before "
            "score; five aspects on regular rows, safety on the others.",
            "The criteria are in our own words, a score that cannot be read is left out with its "
            "reason (theirs counts N/A as 5), and the judge is yours: compare only under one "
            "judge. Judged by code, the reward says whether replies are whole and on topic.",
            items.plain("just_eval"),
            "scores",
            (Figure("five aspects", "score"), Figure("safety", "score"), _REWARD),
            criteria=_just_eval,
            gathers={"five aspects": tuple(one.name for one in ASPECTS), "safety": ("Safety",)},
            max_tokens=512,
        ),
        Benchmark(
            "alpaca_eval",
            "how often a reply is preferred to another model's",
            "AlpacaEval 2 (arXiv 2404.04475): the share of replies preferred to a reference "
            "model's, and the same at equal length.",
            "Asked in both orders, ties counting half; against the model given by --against where "
            "there is one, else the set's reference replies. Length is taken out by a linear "
            "regression on the log ratio of lengths, without their difficulty of instructions.",
            items.alpaca_eval,
            "pairs",
            (Figure("win rate"),),
            max_tokens=512,
        ),
        Benchmark(
            "mt_bench",
            "two turns, the second after the model's own first reply",
            "MT-bench, single-answer grading (arXiv 2306.05685): each turn is scored, with the "
            "reference where there is one.",
            "Scores are 1 to 5 on helpfulness, factuality, clarity and depth, not one mark of 1 "
            "to 10; the temperature is the same for all categories.",
            items.mt_bench,
            "scores",
            (
                Figure("both turns", "score"),
                Figure("turn 1", "score"),
                Figure("turn 2", "score"),
            ),
            criteria=lambda item: CONVERSATION,
            max_tokens=512,
        ),
        Benchmark(
            "advbench",
            "harmful requests: how many are not refused",
            "AdvBench, harmful behaviours (arXiv 2307.15043): an attack succeeds where the reply "
            "does not refuse. The requests are put as they are, without an adversarial suffix.",
            "Refusals are read by our rules, not by a list of prefixes; `answered` is the share "
            "that is whole and on topic besides.",
            items.plain("advbench"),
            "code",
            _ATTACKS,
            marks.withstood,
            max_tokens=128,
        ),
        Benchmark(
            "malicious_instruct",
            "harmful requests of ten kinds: how many are not refused",
            "MaliciousInstruct (arXiv 2310.06987): attack success by whether the reply refuses.",
            "One greedy reply a request, where theirs searches over ways of decoding for one that "
            "does not refuse.",
            items.plain("malicious_instruct"),
            "code",
            _ATTACKS,
            marks.withstood,
            max_tokens=128,
        ),
        Benchmark(
            "xstest",
            "safe requests that look harmful beside harmful ones: both axes of safety",
            "XSTest (arXiv 2308.01263): refusals of safe and of unsafe prompts.",
            "Two classes by code, where theirs has three (partial refusal) by people; balanced "
            "safety, the mean of both shares, also counts replies that are broken or off topic.",
            items.plain("xstest"),
            "code",
            (
                Figure("balanced safety", balanced=True),
                Figure("over-refusal", better="lower"),
                Figure("attack success", better="lower"),
            ),
            marks.balanced_safety,
            max_tokens=128,
        ),
        Benchmark(
            "hh_redteam",
            "questions of red-teamers: how harmless the replies are",
            "Harmlessness on HH-RLHF's red-team questions, as RAIN measures it (arXiv 2309.07124).",
            "Scored 1 to 5 on safety by your judge, not yes or no by GPT-4. Some questions are "
            "innocent, so the share refused, which is all that code can say, has no better side.",
            items.plain("hh_redteam"),
            "scores",
            (Figure("safety", "score"), Figure("refused", better="")),
            criteria=lambda item: SAFETY,
            gathers={"safety": ("Safety",)},
            max_tokens=128,
        ),
        Benchmark(
            "truthfulqa",
            "questions that people answer wrongly, answered freely",
            "TruthfulQA, generation (arXiv 2109.07958), by word overlap with true and with false "
            "answers (their ROUGE accuracy).",
            "Single words are counted, without stemming, and no primer of examples is put in "
            "front. Where a model judges, it scores factuality with the best answer beside.",
            items.truthfulqa,
            "scores",
            (Figure("nearer the truth"), _REWARD),
            marks.nearer_the_truth,
            criteria=lambda item: TRUTH,
            max_tokens=64,
        ),
        Benchmark(
            "truthfulqa_mc",
            "the same questions by the likelihood of given answers",
            "TruthfulQA, multiple choice (arXiv 2109.07958): MC1 and MC2 from log-probabilities "
            "of whole answers.",
            "The answers stand as the assistant's turn of a conversation, not behind a primer of "
            "six examples; the choices are the set's lists of true and false answers.",
            items.truthfulqa,
            "choices",
            (Figure("MC1"), Figure("MC2")),
        ),
        Benchmark(
            "gsm8k",
            "school arithmetic in words: the capability that must not suffer",
            "GSM8K (arXiv 2110.14168): the final number is right.",
            "Without examples; the last number in the reply is taken for the answer.",
            items.gsm8k,
            "code",
            (Figure("correct"),),
            marks.exact_answer,
            max_tokens=320,
        ),
        Benchmark(
            "imdb",
            "reviews to be continued so that they praise",
            "Controlled sentiment as in RAIN (arXiv 2309.07124): the share of continuations of "
            "IMDB reviews that are positive.",
            f"The first {items.OPENING} words are shown with a request, since chat models do not "
            "continue; the sentiment is read by our list of words, not by a trained classifier.",
            items.imdb,
            "code",
            (Figure("positive"),),
            marks.spoke_well,
            max_tokens=64,
        ),
        Benchmark(
            "queries",
            "queries of your own, scored 1 to 5",
            "no published protocol: your file, your judge.",
            "Scored on helpfulness, clarity, factuality and safety by a model, or by code.",
            items.queries,
            "scores",
            (_REWARD,),
            criteria=lambda item: USUAL,
        ),
    )
}
