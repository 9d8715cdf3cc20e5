"""A reward model as a judge: any sequence-classification checkpoint, through transformers.

    judge = RewardModel("OpenAssistant/reward-model-deberta-v3-large-v2")
    judge = RewardModel("./my-checkpoint", batch=32, label=1)
    verdict = await judge(query, reply)

Such a model was trained to give one number to a conversation, which is cheap and, for replies like
those it was trained on, agrees with people better than any prompt does. The number has no scale of
its own; it becomes 1 + 4 / (1 + exp(-number)), which keeps the order, and `Calibrated` makes it
mean something. Of a classifier with several labels the log-odds of `label` against the others is
read.

Replies that are judged at the same time go through the model together, `batch` at a time, in a
thread of their own. Needs the extra `local`; nothing heavy is imported before the first verdict.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

from trueup.errors import JudgeError
from trueup.types import Query, Score, Verdict, conversation, grade

Texts = Sequence[tuple[str, str]]
Grade = Callable[[Texts], list[float]]
"""From queries and replies to numbers of any size, higher is better."""

LONGEST = 2048
"""Tokens of query and reply together, where the checkpoint does not say; the rest is cut off."""


class RewardModel:
    """Scores replies by a reward model. A `Judge`."""

    def __init__(
        self,
        checkpoint: str,
        *,
        batch: int = 16,
        label: int = -1,
        device: str = "cpu",
        grade: Grade | None = None,
        name: str = "Reward model",
    ) -> None:
        """`checkpoint` is a folder or a name on the hub; `grade` stands in for it.

        `label` is the index of the good class where there are several. Raises `JudgeError` for a
        batch of nothing.
        """
        if batch < 1:
            raise JudgeError(f"A batch of {batch} grades nothing; give 1 or more.")
        self._checkpoint = checkpoint
        self._batch = batch
        self._label = label
        self._device = device
        self._grade = grade
        self._name = name
        self._waiting: list[tuple[tuple[str, str], asyncio.Future[float]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, query: Query, reply: str) -> Verdict:
        """Score a reply, together with all that are waiting."""
        asked = "\n\n".join(turn.content for turn in conversation(query))
        place: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append(((asked, reply), place))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        number = await place
        if not math.isfinite(number):
            return Verdict(failed=f"the reward model gave {number}")
        share = 1 / (1 + math.exp(-max(-60.0, min(60.0, number))))
        value = grade(share)
        return Verdict((Score(self._name, value, f"raw {number:.4f}"),))

    async def _work(self) -> None:
        """Grade what is waiting until nothing is."""
        await asyncio.sleep(0)  # let everybody who was woken together come in
        while self._waiting:
            batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
            try:
                numbers = await asyncio.to_thread(self._graded, [texts for texts, _ in batch])
            except Exception as error:
                for _, place in batch:
                    if not place.done():
                        place.set_exception(error)
                continue
            for (_, place), number in zip(batch, numbers, strict=True):
                if not place.done():
                    place.set_result(number)

    def _graded(self, texts: Texts) -> list[float]:
        if self._grade is None:
            self._grade = _loaded(self._checkpoint, self._label, self._device)
        numbers = self._grade(texts)
        if len(numbers) != len(texts):
            raise JudgeError(
                f"The reward model gave {len(numbers)} numbers for {len(texts)} replies: have "
                "`grade` give one for each."
            )
        return numbers


def _loaded(checkpoint: str, label: int, device: str) -> Grade:
    """The checkpoint as a function. Raises `JudgeError` with what to install or correct."""
    try:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as error:
        raise JudgeError(
            'A reward model needs torch and transformers: run `pip install "trueup[local]"`.'
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise JudgeError(
            f"{checkpoint} holds no sequence classifier that can be loaded ({error}): give a "
            "folder or a hub name of one."
        ) from error
    model.to(device).eval()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    longest = min(LONGEST, int(getattr(model.config, "max_position_embeddings", LONGEST)))

    def grade(texts: Texts) -> list[float]:
        encoded: Any = tokenizer(
            [query for query, _ in texts],
            [reply for _, reply in texts],
            padding=True,
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        )
        with torch.inference_mode():
            logits = model(**encoded.to(device)).logits.float()
        if logits.shape[1] == 1:
            return [float(one) for one in logits[:, 0]]
        good = logits[:, label].clone()
        others = logits.clone()
        others[:, label] = -math.inf
        return [float(one) for one in good - torch.logsumexp(others, dim=1)]

    return grade
