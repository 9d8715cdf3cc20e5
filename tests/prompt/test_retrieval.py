"""Which demonstrations are shown: how many, of which behaviour, in which order, never the query."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import SettingsError
from trueup.models.scripted import Scripted
from trueup.prompt.nearness import RIDGE, By, Nearness
from trueup.prompt.retrieval import Mix, Order, Retrieval, Retriever
from trueup.prompt.similarity import Embedded, Lexical, words
from trueup.types import Demonstration


def answer(query: str) -> Demonstration:
    return Demonstration(query, "Here is how.")


def refusal(query: str) -> Demonstration:
    return Demonstration(query, "I can't help with that.", shows_answer=False)


POOL = [
    answer("How do I kill a Python process?"),
    answer("How do I bake bread?"),
    answer("Which fruit is yellow?"),
    refusal("How do I kill my neighbour?"),
    refusal("How do I poison a dog?"),
    refusal("Write a threatening letter."),
]
WORDS = re.findall(r"\w+", "how do i kill a python process neighbour bread letter which fruit")
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(" ".join)
pools = st.lists(
    st.builds(lambda text, kind: answer(text) if kind else refusal(text), sentences, st.booleans()),
    min_size=1,
    max_size=10,
)
hows = st.builds(
    Retrieval,
    k=st.integers(0, 6),
    by=st.sampled_from(get_args(By)),
    order=st.sampled_from(get_args(Order)),
    mix=st.sampled_from(get_args(Mix)),
    caution=st.floats(-1, 1),
)


def retriever(pool: list[Demonstration], how: Retrieval) -> Retriever:
    return Retriever(pool, how, Scripted([]))


async def queries_shown(how: Retrieval, query: str) -> list[str]:
    return [one.query for one in await retriever(POOL, how).shown(query)]


async def test_none() -> None:
    assert await queries_shown(Retrieval(k=0), "How do I kill a process?") == []
    assert await Retriever([], Retrieval(k=0)).shown("Anything?") == []


async def test_the_nearest_last_or_first() -> None:
    query = "How do I kill a process?"
    near = ["How do I kill my neighbour?", "How do I kill a Python process?"]
    assert await queries_shown(Retrieval(k=2), query) == near
    assert await queries_shown(Retrieval(k=2, order="nearest first"), query) == near[::-1]


@given(pools, hows, sentences)
async def test_both_orders_show_the_same_the_other_way_round(
    pool: list[Demonstration], how: Retrieval, query: str
) -> None:
    first = await retriever(pool, replace(how, order="nearest first")).shown(query)
    last = await retriever(pool, replace(how, order="nearest last")).shown(query)
    assert first == (last if how.by == "fixed" else last[::-1])


@given(pools, hows, st.data())
async def test_the_query_itself_is_never_shown(
    pool: list[Demonstration], how: Retrieval, data: st.DataObject
) -> None:
    known = data.draw(st.sampled_from(pool)).query
    disguise = data.draw(st.sampled_from([str.upper, "  {}?!".format, str.title, "“{}”…".format]))
    shown = await retriever(pool, how).shown(disguise(known))
    assert known not in [one.query for one in shown]
    assert len(shown) <= how.k and all(one in pool for one in shown)


@given(st.lists(st.text(max_size=20), max_size=6), hows, st.text(max_size=20))
async def test_no_text_is_too_odd(texts: list[str], how: Retrieval, query: str) -> None:
    pool = [answer(text) if place % 2 else refusal(text) for place, text in enumerate(texts)]
    shown = await retriever(pool, how).shown(query)
    others = [one for one in pool if words(one.query) != words(query)]
    if how.mix == "nearest" or how.by == "fixed":
        assert len(shown) == min(how.k, len(others))
    assert len(shown) <= how.k


@given(pools, st.integers(1, 4), sentences)
async def test_the_nearest_k_are_at_least_as_near_as_all_others(
    pool: list[Demonstration], k: int, query: str
) -> None:
    near = dict(enumerate(await Lexical([one.query for one in pool]).to(query)))
    others = [at for at in near if words(pool[at].query) != words(query)]
    expected = sorted(others, key=lambda at: (-near[at], at))[:k]
    shown = await Retriever(pool, Retrieval(k, order="nearest first")).shown(query)
    assert shown == [pool[at] for at in expected]


async def test_fixed_shows_the_pools_first_to_everyone() -> None:
    how = Retrieval(k=3, by="fixed", mix="leaning", order="nearest first")
    first = [one.query for one in POOL[:3]]
    assert await queries_shown(how, "How do I poison a dog?") == first
    assert await queries_shown(replace(how, order="nearest last"), "Hm?") == first
    assert await queries_shown(how, "how do i bake bread") == [first[0], first[2], POOL[3].query]


@pytest.mark.parametrize(("k", "answers"), [(1, 1), (2, 1), (3, 2), (4, 2), (6, 3)])
async def test_even_shows_both_kinds_alike(k: int, answers: int) -> None:
    shown = await Retriever(POOL, Retrieval(k, mix="even")).shown("Tell me about dogs.")
    assert sum(one.shows_answer for one in shown) == answers and len(shown) == k


async def test_leaning_shows_what_the_pool_does_with_queries_like_this() -> None:
    pool = [refusal(f"How do I kill {n}?") for n in range(8)]
    pool += [answer(f"How do I bake {n}?") for n in range(8)]
    leaning = Retriever(pool, Retrieval(4, mix="leaning"))
    assert await leaning.lean("How do I kill him?") < 0 < await leaning.lean("How do I bake bread?")
    killing = await leaning.shown("How do I kill him?")
    baking = await leaning.shown("How do I bake bread?")
    assert [one.shows_answer for one in killing] == [False] * 4
    assert [one.shows_answer for one in baking] == [True] * 4
    unknown = await leaning.shown("Sing!")
    assert sum(one.shows_answer for one in unknown) == 2


async def test_the_behaviour_in_the_majority_stands_next_to_the_query() -> None:
    pool = [refusal(f"How do I kill {n}?") for n in range(8)]
    pool += [answer(f"How do I bake {n}?") for n in range(8)]
    query = "How do I kill and bake?"
    seen = set()
    for caution in np.linspace(-1, 1, 201):
        how = Retrieval(4, mix="leaning", caution=float(caution))
        kinds = [one.shows_answer for one in await Retriever(pool, how).shown(query)]
        seen.add(sum(kinds))
        if sum(kinds) != 2:
            assert kinds == sorted(kinds, reverse=sum(kinds) < 2)
    assert seen == {0, 1, 2, 3, 4}


@given(pools, sentences, st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.sampled_from(range(1, 7)))
async def test_more_caution_never_shows_more_answers(
    pool: list[Demonstration], query: str, one: float, other: float, k: int
) -> None:
    # Enough of both kinds, so that what is due is also there.
    pool = [*pool, *(answer(f"a{n}") for n in range(k)), *(refusal(f"r{n}") for n in range(k))]

    async def answers(caution: float) -> int:
        how = Retrieval(k, mix="leaning", caution=caution)
        shown = await Retriever(pool, how).shown(query)
        assert len(shown) == k
        return sum(each.shows_answer for each in shown)

    less, more = sorted((one, other))
    assert await answers(less) >= await answers(more)
    assert (await answers(2.0), await answers(-2.0)) == (0, k)


@given(pools.filter(lambda pool: len(pool) > 1), st.data())
async def test_a_query_of_the_pool_is_judged_by_the_others(
    pool: list[Demonstration], data: st.DataObject
) -> None:
    """What leave-one-out says is what a fit without the query's rows says."""
    query = data.draw(st.sampled_from(pool)).query
    for by, similarity in (
        ("bm25", Lexical([one.query for one in pool])),
        ("embedding", Embedded([one.query for one in pool], Scripted([]))),
    ):
        kept = [at for at, one in enumerate(pool) if words(one.query) != words(query)]
        behaviour = np.array([1.0 if one.shows_answer else -1.0 for one in pool])
        centred = (behaviour - behaviour.mean())[kept]
        gram = (await similarity.among(np.arange(len(pool))))[np.ix_(kept, kept)]
        mine = next(at for at, one in enumerate(pool) if words(one.query) == words(query))
        near = (await similarity.among(np.arange(len(pool))))[mine, kept]
        length = float(np.linalg.norm(near))
        said = near @ np.linalg.solve(gram + RIDGE * np.eye(len(kept)), centred)
        expected = float(said) / length if length > 0 else 0.0
        how = Retrieval(1, by=by, mix="leaning")  # type: ignore[arg-type]
        assert await retriever(pool, how).lean(query) == pytest.approx(expected, abs=1e-6)


async def test_a_query_of_the_pool_leans_as_far_as_if_it_were_new() -> None:
    """Else a search that learns of its own queries would see them lean hardly at all, and show
    answers in front of every one of them that should be refused."""
    words_of = ("bomb", "poison", "virus", "weapon", "malware", "explosive", "toxin", "mine")
    pool = [refusal(f"Write a guide on how to make a {one} at home") for one in words_of]
    pool += [answer(f"Tell me about the {one} museum in my town") for one in words_of]
    whole = Nearness(pool)
    for place, one in enumerate(pool):
        without = Nearness([other for at, other in enumerate(pool) if at != place])
        inside, new = await whole.lean(one.query), await without.lean(one.query)
        assert inside * new > 0 and 0.5 < inside / new < 2


async def test_a_query_listed_twice_does_not_vouch_for_itself() -> None:
    twins = [answer("Open the door"), answer("open the door!"), refusal("Break the door")]
    alone = [answer("Open the door"), refusal("Break the door"), answer("Sing")]
    assert await Retriever(twins, Retrieval(1, mix="leaning")).lean("Open the door") < 0
    assert await Retriever(alone, Retrieval(1, mix="leaning")).lean("Open the door") < 0


async def test_a_large_pool_leans_as_an_even_sample_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = [refusal(f"How do I kill {n}?") for n in range(30)]
    pool += [answer(f"How do I bake {n}?") for n in range(30)]
    whole = Nearness(pool)
    monkeypatch.setattr("trueup.prompt.nearness.MOST_FITTED", 20)
    sampled = Nearness(pool)
    for query in ("How do I kill him?", "How do I bake bread?", pool[1].query, pool[45].query):
        one, other = await whole.lean(query), await sampled.lean(query)
        assert one * other > 0 and abs(other) > 0.2 * abs(one)
        # Whom a query is near to is looked for in all of it.
        assert (await whole.ranked(query)).tolist() == (await sampled.ranked(query)).tolist()
    assert sampled._fit is not None and sampled._fit.inverse.shape == (20, 20)


async def test_what_was_looked_up_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trueup.prompt.nearness.REMEMBERED", 3)
    monkeypatch.setattr("trueup.prompt.retrieval.REMEMBERED", 3)
    serving = Retriever(POOL, Retrieval(2, mix="leaning"))
    first = [await serving.shown(f"How do I bake {n}?") for n in range(9)]
    again = [await serving.shown(f"How do I bake {n}?") for n in range(9)]
    assert first == again
    held = serving._nearness
    assert held is not None
    assert max(len(serving._shown), len(held._ranked), len(held._leans)) <= 3


async def test_embeddings_need_a_model_that_has_them() -> None:
    with pytest.raises(SettingsError, match="no model with embeddings is given"):
        Retriever(POOL, Retrieval(k=1, by="embedding"))
    shown = await retriever(POOL, Retrieval(k=1, by="embedding")).shown("Is bread good to bake?")
    assert [one.query for one in shown] == ["How do I bake bread?"]
