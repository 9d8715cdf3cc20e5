"""A reward model: batches, scale, and a checkpoint made here where transformers is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import math
from pathlib import Path

import pytest

from trueup.errors import JudgeError
from trueup.judges.reward_model import RewardModel, Texts
from trueup.types import Message, Query

has_transformers = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


class Graded:
    """Stands in for a checkpoint: a longer reply is better."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[str, str]]] = []

    def __call__(self, texts: Texts) -> list[float]:
        self.batches.append(list(texts))
        return [float(len(reply) - 3) for _, reply in texts]


async def test_those_who_ask_together_are_graded_together() -> None:
    grade = Graded()
    judge = RewardModel("none", batch=4, grade=grade)
    replies = ["a" * n for n in range(1, 11)]
    verdicts = await asyncio.gather(*(judge(Query("q"), reply) for reply in replies))
    assert [len(batch) for batch in grade.batches] == [4, 4, 2]
    rewards = [verdict.reward or 0.0 for verdict in verdicts]
    assert rewards == sorted(rewards)
    assert rewards[2] == 3.0 and rewards[3] == pytest.approx(1 + 4 / (1 + math.exp(-1)))
    again = await judge(Query("q"), "abc")
    assert again.reward == 3.0 and len(grade.batches) == 4


async def test_it_reads_the_earlier_turns() -> None:
    grade = Graded()
    history = (Message("user", "Hello"), Message("assistant", "Hi"))
    await RewardModel("none", grade=grade)(Query("And?", history=history), "r")
    assert grade.batches == [[("Hello\n\nHi\n\nAnd?", "r")]]


async def test_a_number_that_is_none_fails_and_an_error_reaches_all_who_wait() -> None:
    judge = RewardModel("none", grade=lambda texts: [math.nan for _ in texts])
    assert (await judge(Query("q"), "r")).failed == "the reward model gave nan"

    def breaks(texts: Texts) -> list[float]:
        raise JudgeError("no checkpoint")

    broken = RewardModel("none", batch=1, grade=breaks)
    found = await asyncio.gather(
        *(broken(Query("q"), "r") for _ in range(3)), return_exceptions=True
    )
    assert [str(one) for one in found] == ["no checkpoint"] * 3


@pytest.mark.parametrize("numbers", [[], [1.0], [1.0, 2.0, 3.0]])
async def test_a_grade_of_too_few_numbers_or_too_many_leaves_nobody_waiting(
    numbers: list[float],
) -> None:
    judge = RewardModel("none", grade=lambda texts: numbers)
    asked = asyncio.gather(*(judge(Query("q"), "r") for _ in range(2)), return_exceptions=True)
    found = await asyncio.wait_for(asked, 5)
    told = f"The reward model gave {len(numbers)} numbers for 2 replies"
    assert all(isinstance(one, JudgeError) and told in str(one) for one in found)


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(JudgeError):
        RewardModel("none", batch=0)


@pytest.mark.skipif(has_transformers, reason="transformers is installed")
async def test_without_transformers_it_says_what_to_install() -> None:
    with pytest.raises(JudgeError, match=r"trueup\[local\]"):
        await RewardModel("none")(Query("q"), "r")


def checkpoint(folder: Path, labels: int) -> str:
    """A tiny untrained classifier with a tokenizer of single words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "query", "reply"]
    raw = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, num_labels=labels, pad_token_id=0,
        initializer_range=1.0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.skipif(not has_transformers, reason="torch and transformers are not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("labels", [1, 3])
async def test_a_local_checkpoint_scores_the_same_alone_and_in_a_batch(
    tmp_path: Path, labels: int
) -> None:
    place = checkpoint(tmp_path, labels)
    judge = RewardModel(place, batch=3)
    replies = ["good reply", "bad", "bad bad bad reply reply", "good"]
    together = await asyncio.gather(*(judge(Query("query"), reply) for reply in replies))
    alone = [await RewardModel(place, batch=1)(Query("query"), reply) for reply in replies]
    for one, other in zip(together, alone, strict=True):
        assert one.reward == pytest.approx(other.reward, abs=1e-4)
    assert len({round(one.reward or 0.0, 5) for one in together}) == 4
    with pytest.raises(JudgeError, match="no sequence classifier"):
        await RewardModel(str(tmp_path / "nothing"))(Query("q"), "r")
