"""Structured proposals: edits that need no writer, because the parts are at hand.

An arm takes a candidate and what was measured, and gives new candidates. Four of them edit
what an instruction alone cannot: how demonstrations are retrieved, which are in the pool, and which
remedy lines of the criteria stand in the instruction. A demonstration moves a weak model further
than any admonition ("Are Large Language Models Good Prompt Optimizers?", arXiv 2402.02101), and
many models are too weak to write instructions but not to be shown good ones.

The written arms, rewriting and paraphrasing, are in `writing`.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from trueup.models.model import Model
from trueup.prompt.candidates import Archive, Candidate, Measurement
from trueup.prompt.nearness import By
from trueup.prompt.prompt import Prompt
from trueup.prompt.retrieval import Order, Retrieval, Retriever
from trueup.types import HIGHEST_SCORE, Demonstration, Query

GOOD_REWARD = 4.5
"""Published DRPO calls a mean above this good enough not to be improved."""

_KS = (2, 3, 4, 5, 6)
_CAUTION_STEP = 0.1
_LONGEST_REPLY = 35
"""Words of a learnt demonstration: short ones leave room for more, and are copied better."""
USUAL_REFUSAL = "I'm sorry, but I can't help with that."


def opening(start: Prompt, pool: Sequence[Demonstration], by: By = "bm25") -> list[Candidate]:
    """Ways to use a pool that are worth a first look, the likeliest first."""
    if not pool:
        return []
    whole = replace(start, demonstrations=tuple(pool))
    few, four = min(3, len(pool)), min(4, len(pool))
    # Not the plain nearest, nor the nearest of each kind: queries written by the pool's own authors
    # have their nearest neighbours in it, and flatter both (docs/log.md).
    hows = (
        ("as the pool leans, in doubt an answer", Retrieval(few, mix="leaning", caution=-0.2)),
        ("the same, one more", Retrieval(four, mix="leaning", caution=-0.2)),
        ("as the pool leans", Retrieval(few, mix="leaning")),
    )
    return [
        Candidate(
            replace(whole, retrieval=replace(how, by=by)), "retrieval", note, Candidate(start).id
        )
        for note, how in hows
    ]


def retrieval(parent: Candidate, rng: random.Random) -> list[Candidate]:
    """One step in how many demonstrations, of which kinds, in which order, are shown."""
    prompt = parent.prompt
    how = prompt.retrieval
    if how.k == 0:
        return []
    steps: list[tuple[str, Retrieval]] = [
        (f"K {k}", replace(how, k=k))
        for k in _KS
        if abs(k - how.k) == 1 and k <= len(prompt.demonstrations)
    ]
    if how.mix == "leaning":
        for by in (-_CAUTION_STEP, _CAUTION_STEP):
            caution = round(how.caution + by, 3)
            steps.append((f"caution {caution:g}", replace(how, caution=caution)))
    other: Order = "nearest first" if how.order == "nearest last" else "nearest last"
    steps.append((other, replace(how, order=other)))
    rng.shuffle(steps)
    return [
        Candidate(replace(prompt, retrieval=step), "retrieval", note, parent.id)
        for note, step in steps
    ]


def remedy(
    parent: Candidate,
    measured: Iterable[Measurement],
    remedies: Mapping[str, Sequence[str]],
    rng: random.Random,
) -> list[Candidate]:
    """A line that repairs the criterion on which replies score worst; and one line fewer."""
    prompt = parent.prompt
    edits = []
    for criterion in worst_criteria(measured):
        lines = [line for line in remedies.get(criterion, ()) if line not in prompt.instruction]
        if lines:
            line = rng.choice(lines)
            edits.append((f"for {criterion}: {line}", f"{prompt.instruction}\n{line}".strip()))
    lines = prompt.instruction.splitlines()
    if len(lines) > 1:
        gone = rng.randrange(1, len(lines))
        kept = [line for index, line in enumerate(lines) if index != gone]
        edits.append((f"without: {lines[gone]}", "\n".join(kept)))
    return [
        Candidate(replace(prompt, instruction=instruction), "remedy", note, parent.id)
        for note, instruction in edits
    ]


def worst_criteria(measured: Iterable[Measurement]) -> list[str]:
    """Criteria whose mean score is below the best possible, worst first."""
    scores: dict[str, list[float]] = defaultdict(list)
    for one in measured:
        for score in one.verdict.scores:
            scores[score.criterion].append(score.value)
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    return sorted((n for n, m in means.items() if m < HIGHEST_SCORE), key=lambda n: (means[n], n))


def lessons(
    archive: Archive,
    to_refuse: Iterable[Query],
    pool: Sequence[Demonstration],
    known: Iterable[Demonstration] = (),
) -> list[Demonstration]:
    """What the search itself has shown to be good replies to its queries, those `known` left out.

    A query to be refused needs no measurement: how this pool refuses is known. Any other takes
    the policy's own best reply, under whichever candidate it was given. Both kinds alike many,
    or the pool would begin to lean.
    """
    best: dict[Query, Measurement] = {}
    for one in archive.everything():
        if one.query.should_answer is False or one.reward is None or one.reward < GOOD_REWARD:
            continue
        held = best.get(one.query)
        if held is None or held.reward is None or one.reward > held.reward:
            best[one.query] = one
    answers = [
        Demonstration(query.text, short, query.category)
        for query, one in sorted(best.items(), key=lambda item: item[0].text)
        if (short := _whole_sentences(one)) is not None
    ]
    refusal = usual_refusal(pool)
    refusals = [
        Demonstration(query.text, refusal, query.category, shows_answer=False)
        for query in to_refuse
    ]
    have = {one.query for one in known}
    answers = [one for one in answers if one.query not in have]
    refusals = [one for one in refusals if one.query not in have]
    fewest = (
        min(len(answers), len(refusals))
        if refusals and answers
        else max(len(answers), len(refusals))
    )
    return [*answers[:fewest], *refusals[:fewest]]


def learnt(
    parent: Candidate, archive: Archive, to_refuse: Iterable[Query], pool: Sequence[Demonstration]
) -> list[Candidate]:
    """The parent's pool and these lessons."""
    prompt = parent.prompt
    found = lessons(archive, to_refuse, pool, prompt.demonstrations)
    if not found:
        return []
    grown = replace(prompt, demonstrations=(*prompt.demonstrations, *found))
    if prompt.retrieval.k == 0:
        grown = replace(grown, retrieval=Retrieval(min(4, len(found)), mix="leaning"))
    return [Candidate(grown, "demonstration", f"{len(found)} learnt", parent.id)]


async def without_misleading(
    parent: Candidate, failed: Sequence[Measurement], embedder: Model | None = None
) -> list[Candidate]:
    """The pool less those demonstrations that stood in front of failures and showed the fault."""
    prompt = parent.prompt
    if prompt.retrieval.k == 0 or prompt.retrieval.by == "fixed" or not failed:
        return []
    retriever = Retriever(prompt.demonstrations, prompt.retrieval, embedder)
    blamed: Counter[Demonstration] = Counter()
    for one in failed:
        if one.query.should_answer is None:
            continue
        for shown in await retriever.shown(one.query.text):
            if shown.shows_answer is not one.query.should_answer:
                blamed[shown] += 1
    gone = {one for one, _ in blamed.most_common(len(prompt.demonstrations) // 10)}
    kept = tuple(one for one in prompt.demonstrations if one not in gone)
    if not gone or len(kept) < prompt.retrieval.k:
        return []
    return [
        Candidate(
            replace(prompt, demonstrations=kept),
            "demonstration",
            f"{len(gone)} misleading ones left out",
            parent.id,
        )
    ]


def usual_refusal(pool: Sequence[Demonstration]) -> str:
    """The sentence with which most refusals of a pool begin."""
    first = Counter(
        re.split(r"(?<=[.!?])\s", one.reply.strip(), maxsplit=1)[0]
        for one in pool
        if not one.shows_answer
    )
    return first.most_common(1)[0][0] if first else USUAL_REFUSAL


def _whole_sentences(one: Measurement) -> str | None:
    """The reply's first sentences, as many as are short; None if the first one is not."""
    said = ""
    for sentence in re.findall(r"[^.!?\n]+[.!?]+(?=\s|$)", one.reply):
        longer = f"{said} {sentence.strip()}".strip()
        if len(longer.split()) > _LONGEST_REPLY:
            break
        said = longer
    return said if len(said.split()) >= 4 else None
