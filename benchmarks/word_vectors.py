"""Learns the table of word vectors in `trueup/judges/words.npz` and fits the weights beside it.

    python benchmarks/word_vectors.py

Takes HH-RLHF's dialogues (MIT licence) from `TRUEUP_SHARED` or `../shared`; about a minute on two
cores. Three steps: (1) stems that occur in ten or more turns, their rarity; (2) vectors: the
positive pointwise mutual information of words that occur in one turn or in a question and its
answer, factorised (Levy and Goldberg 2014), then sharpened so that a question's summed vector is
nearest to its own answer's among 511 others (the contrastive loss of CLIP, arXiv 2103.00020), with
three words in ten dropped so that shared words alone do not suffice; (3) a logistic regression of
six features on the making half of `checks.py`'s pairs. Dialogues whose opening is a query of
AlpacaEval are left out, because relevance is measured there. Needs SciPy, which bm25s brings.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from checks import relevance_pairs, shuffled
from facts import shared_data
from scipy.sparse.linalg import svds

from trueup.judges.relevance import FEATURES, TABLE, features, stems, table

DIMENSIONS = 48
PASSES = 3
BATCH = 512
TEMPERATURE = 0.1
KEPT = 0.7
SENSITIVITY = 0.953
"""The share of the making half's true pairs that are to pass, in the set where fewest do."""

FILES = (
    "harmless_base_test.jsonl",
    "helpful_base_test.jsonl",
    "helpful_online_test.jsonl",
    "helpful_rejection_sampled_test.jsonl.gz",
)


def turns(dialogue: str) -> list[tuple[str, str]]:
    parts = re.split(r"\n\n(Human|Assistant): ?", dialogue)[1:]
    return [(parts[at], parts[at + 1].strip()) for at in range(0, len(parts) - 1, 2)]


def questions_and_answers(data: Path) -> list[tuple[str, str]]:
    rows = (data / "alpaca_eval/alpaca_eval.jsonl").read_text(encoding="utf-8").splitlines()
    measured = {json.loads(row)["instruction"].strip().lower() for row in rows}
    found: dict[tuple[str, str], None] = {}
    for name in FILES:
        opened = gzip.open if name.endswith(".gz") else open
        with opened(data / "hh_rlhf" / name, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                for dialogue in (turns(row["chosen"]), turns(row["rejected"])):
                    if dialogue[0][1].lower() in measured:
                        continue
                    asked = ""
                    for role, text in dialogue:
                        if role == "Assistant" and asked:
                            found[asked, text] = None
                        asked = text if role == "Human" else asked
    return list(found)


def incidence(texts: list[list[str]], place: dict[str, int]) -> sparse.csr_matrix:
    """One row for each text, one column for each stem, 1 where it occurs."""
    at = [
        (row, place[w]) for row, text in enumerate(texts) for w in sorted(set(text)) if w in place
    ]
    rows, columns = zip(*at, strict=True)
    shape = (len(texts), len(place))
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


def factorised(asked: sparse.csr_matrix, said: sparse.csr_matrix) -> np.ndarray:
    across = asked.T @ said
    together = (across + across.T + said.T @ said + asked.T @ asked).tocoo()
    margin = np.asarray(together.tocsr().sum(1)).ravel()
    information = (
        np.log(together.data * together.data.sum() / (margin[together.row] * margin[together.col]))
        - 0.3
    )
    kept = (information > 0) & (together.row != together.col) & (together.data >= 2)
    matrix = sparse.csr_matrix(
        (information[kept], (together.row[kept], together.col[kept])), shape=together.shape
    )
    left, strengths, _ = svds(matrix.astype(np.float32), k=DIMENSIONS, random_state=0)
    return left * np.sqrt(strengths)


def unit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    length = np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6
    return rows / length, length


def sharpened(vectors: np.ndarray, asked: sparse.csr_matrix, said: sparse.csr_matrix) -> np.ndarray:
    """Adam on the symmetric contrastive loss of summed word vectors, gradients by hand."""
    random = np.random.default_rng(0)
    first, second, step = np.zeros_like(vectors), np.zeros_like(vectors), 0
    for number in range(PASSES):
        order, losses = random.permutation(asked.shape[0]), []
        for start in range(0, len(order) - BATCH + 1, BATCH):
            a, b = (m[order[start : start + BATCH]].copy() for m in (asked, said))
            a.data *= random.random(len(a.data)) < KEPT
            b.data *= random.random(len(b.data)) < KEPT
            (x, x_length), (y, y_length) = unit(a @ vectors), unit(b @ vectors)
            likeness = np.exp((x @ y.T - 1) / TEMPERATURE)
            down = likeness / likeness.sum(1, keepdims=True)
            up = likeness / likeness.sum(0, keepdims=True)
            losses.append(-float(np.log(down.diagonal() + 1e-9).mean()))
            slope = (down + up - 2 * np.eye(BATCH)) / (2 * BATCH * TEMPERATURE)
            by_x, by_y = slope @ y, slope.T @ x
            by_x = (by_x - x * (by_x * x).sum(1, keepdims=True)) / x_length
            by_y = (by_y - y * (by_y * y).sum(1, keepdims=True)) / y_length
            gradient = a.T @ by_x + b.T @ by_y
            step += 1
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            scale = np.sqrt(second / (1 - 0.999**step)) + 1e-6
            vectors = vectors - 0.01 * first / (1 - 0.9**step) / scale
        print(f"pass {number + 1}: loss {np.mean(losses):.3f}")
    return vectors


def logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Newton's method on standardised features with a unit ridge; weights, then the constant."""
    middle, spread = x.mean(0), x.std(0) + 1e-9
    z = np.c_[(x - middle) / spread, np.ones(len(x))]
    ridge = np.diag([*[1.0] * x.shape[1], 0.0])
    beta = np.zeros(z.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ beta))
        slope = z.T @ (weight * (y - p)) - ridge @ beta
        bend = (z * (weight * p * (1 - p))[:, None]).T @ z + ridge
        beta += np.linalg.solve(bend, slope)
    slopes = beta[:-1] / spread
    return np.r_[slopes, beta[-1] - slopes @ middle]


def save(
    words: list[str], rarity: np.ndarray, unknown: float, vectors: np.ndarray, weights: np.ndarray
) -> None:
    scales = np.abs(vectors).max(1) / 127
    np.savez_compressed(
        TABLE,
        words=np.frombuffer("\n".join(words).encode(), dtype=np.uint8),
        rarity=rarity.astype(np.float16),
        vectors=np.round(vectors / scales[:, None]).astype(np.int8),
        scales=scales.astype(np.float32),
        unknown=np.float32(unknown),
        weights=weights.astype(np.float32),
    )
    table.cache_clear()


def main() -> None:
    data = shared_data()
    pairs = questions_and_answers(data)
    asked = [stems(question[-600:], 200) for question, _ in pairs]
    said = [stems(answer, 130) for _, answer in pairs]
    frequency = Counter(word for text in asked + said for word in sorted(set(text)))
    count = len(asked) + len(said)
    words = [word for word, times in frequency.most_common() if times >= 10]
    place = {word: at for at, word in enumerate(words)}
    rarity = np.array([math.log(count / frequency[word]) for word in words])
    print(f"{len(pairs)} questions with answers, {len(words)} stems")

    vectors, _ = unit(factorised(incidence(asked, place), incidence(said, place)))
    vectors = vectors * rarity[:, None]
    vectors = (vectors / vectors.std() / 3).astype(np.float32)
    subject = {word: at for word, at in place.items() if rarity[at] > 1.0}
    columns = sorted(subject.values())
    mask = np.zeros(len(words), np.float32)
    mask[columns] = 1
    a = incidence([text[-80:] for text in asked], place).multiply(mask).tocsr()
    b = incidence([text[:60] for text in said], place).multiply(mask).tocsr()
    full = np.flatnonzero((a.getnnz(1) > 0) & (b.getnnz(1) > 0))
    vectors = sharpened(vectors, a[full], b[full])

    unknown = math.log(count / 5)
    save(words, rarity, unknown, vectors, np.zeros(len(FEATURES) + 1))
    known = table()
    x, y, weight, true, doubtful = [], [], [], [], []
    for rows in relevance_pairs(data, "making").values():
        right = [f for q, r in rows if (f := features(q, r, known)) is not None]
        wrong = [f for q, r in shuffled(rows) if (f := features(q, r, known)) is not None]
        x += [*right, *wrong]
        y += [1.0] * len(right) + [0.0] * len(wrong)
        weight += [500 / len(rows)] * (len(right) + len(wrong))
        true.append(np.array(right))
        doubtful.append(len(rows) - len(right))
    weights = logistic(np.array(x, float), np.array(y), np.array(weight))
    scores = [
        np.r_[rows @ weights[:-1] + weights[-1], np.full(passed, np.inf)]
        for rows, passed in zip(true, doubtful, strict=True)
    ]
    weights[-1] -= boundary(scores)
    save(words, rarity, unknown, vectors, weights)
    print(dict(zip((*FEATURES, "constant"), weights.round(3).tolist(), strict=True)))
    print(f"{TABLE.name}: {TABLE.stat().st_size / 1000:.0f} kB")


def boundary(scores: list[np.ndarray]) -> float:
    """The score that lets `SENSITIVITY` of the true pairs of every set pass."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        passing = min(float((rows >= middle).mean()) for rows in scores)
        low, high = (middle, high) if passing >= SENSITIVITY else (low, middle)
    return low


if __name__ == "__main__":
    main()
