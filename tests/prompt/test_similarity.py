"""Nearness of queries: symmetric, at most itself, the same in every process."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.models.scripted import Scripted
from trueup.prompt.similarity import Embedded, Lexical, Similarity, terms, words

WORDS = re.findall(r"\w+", "how do i kill a python process bombs bombing the who built")
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)
pools = st.lists(sentences, min_size=1, max_size=8)


def both(queries: list[str]) -> list[Similarity]:
    return [Lexical(queries), Embedded(queries, Scripted([]))]


@given(pools)
async def test_nearness_to_itself_is_symmetric_with_ones_on_the_diagonal(pool: list[str]) -> None:
    for similarity in both(pool):
        near = await similarity.among(np.arange(len(pool)))
        assert near.shape == (len(pool), len(pool))
        assert np.array_equal(near, near.T)
        assert np.allclose(np.diag(near), 1.0, atol=1e-6)
        # A kernel: a regression on it with a ridge of 1 can always be solved.
        assert np.linalg.eigvalsh(near).min() > -0.5


@given(pools, sentences)
async def test_by_embeddings_nothing_is_nearer_to_a_query_than_the_query(
    pool: list[str], query: str
) -> None:
    near = await Embedded([*pool, query], Scripted([])).to(query)
    assert near.shape == (len(pool) + 1,)
    assert near.min() >= 0 and near[-1] >= near.max() - 1e-6


@given(pools, sentences)
async def test_by_words_what_shares_none_is_nowhere_near(pool: list[str], query: str) -> None:
    """BM25 is no angle: "how" may be nearer to "how how" than that is to itself."""
    texts = [*pool, query]
    near = await Lexical(texts).to(query)
    shares = [bool(set(terms(text)) & set(terms(query))) for text in texts]
    assert [score > 0 for score in near] == shares and shares[-1]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.text(max_size=30))
async def test_any_text_has_a_finite_nearness(pool: list[str], query: str) -> None:
    for similarity in both(pool):
        assert np.isfinite(await similarity.to(query)).all()
        assert np.isfinite(await similarity.among(np.arange(len(pool)))).all()


async def test_texts_that_share_words_are_nearer() -> None:
    pool = ["How do I kill a Python process?", "Who built the first bomb?", "Name a fruit."]
    for similarity in both(pool):
        near = await similarity.to("how can i kill this process")
        assert near.argmax() == 0 and near[2] == 0.0


async def test_only_words_count() -> None:
    pool = ["How do I kill a Python process?", "Who built the bomb?"]
    similarity = Lexical(pool)
    one, other = "Who BUILT the bombs?!", "  who built -- the bomb"
    assert np.array_equal(await similarity.to(one), await similarity.to(other))
    assert np.array_equal(await similarity.to("¿?"), np.zeros(2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bombs & bombing: the city's cities!", "bomb bomb the city s city"),
        ("Running classes, stopped", "run class stop"),
        ("", ""),
        ("straße 42 naïve_word", "straß 42 naïv word"),
    ],
)
def test_terms_are_stems_and_pairs_of_neighbours(text: str, expected: str) -> None:
    stems = expected.split()
    pairs = [f"{left} {right}" for left, right in zip(["^", *stems], stems, strict=False)]
    assert terms(text) == stems + pairs


def test_words_are_letters_and_digits_in_lower_case() -> None:
    assert words("Don't: PANIC_42 (é)!") == ["don", "t", "panic", "42", "é"]


SAYS = """
import asyncio
from trueup.prompt.retrieval import Retrieval, Retriever
from trueup.types import Demonstration
words = "how do i kill a python process bombs bombing the who built".split()
pool = [Demonstration(" ".join(words[n % 5 : n % 7 + 4]) + f" {n}", "r", "", n % 2 == 0)
        for n in range(12)]
retriever = Retriever(pool, Retrieval(4, mix="leaning"))
async def main():
    for word in words:
        print(await retriever.lean(word + " the process"),
              [one.query for one in await retriever.shown(word + " the process")])
asyncio.run(main())
"""


def test_every_process_chooses_alike() -> None:
    """Resuming is replaying: a run goes on in another process, with other hashes of strings."""
    said = [
        subprocess.run(
            [sys.executable, "-c", SAYS],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert len(said[0].splitlines()) == 12
    assert len({hashlib.sha256(one).hexdigest() for one in said}) == 1
