"""What travels: frozen values with no behaviour beyond reading themselves, and no I/O.

    query = Query("Why is the sky blue?", category="everyday", should_answer=True)
    request = Request(prompt=(Message("user", query.text),), sampling=Sampling(max_tokens=64))
    reply = await model.reply(request)
    reply.text, reply.usage.tokens_out

One scale for every score: 1 (worst) to 5 (best), the scale of DRPO's judge (arXiv 2411.08733).
A judgement that could not be made is a `Verdict` with `failed` set, never a low score.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "filter", "unknown"]

LOWEST_SCORE = 1.0
HIGHEST_SCORE = 5.0


def grade(share: float) -> float:
    """A share of 0 to 1 as a score, from the lowest to the highest."""
    return LOWEST_SCORE + (HIGHEST_SCORE - LOWEST_SCORE) * min(1.0, max(0.0, share))


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn. Temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int = 0
    n: int = 1
    """How many replies to draw to the same prompt; each becomes one `Choice`."""
    frequency_penalty: float = 0.0
    """Taken off a token's logit for each time it was drawn before: weak models loop less."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked: a conversation (chat) or a text to continue (base models)."""

    prompt: tuple[Message, ...] | str
    sampling: Sampling = Sampling()
    schema: Mapping[str, Any] | None = None
    """A JSON schema that the reply must obey."""
    top_logprobs: int = 0
    """How many alternatives per token to report log-probabilities for; 0 asks for none."""
    forced: str | None = None
    """A reply that the model is made to give, token by token, so that the log-probabilities say how
    likely it was to. None lets it write; few servers can be made to."""
    _content: str | None = field(default=None, init=False, repr=False, compare=False)
    """Kept once written: budget, store and database each ask for it."""

    def content(self) -> str:
        """Canonical JSON of everything that decides the reply."""
        if self._content is None:
            object.__setattr__(self, "_content", self._written())
        assert self._content is not None
        return self._content

    def _written(self) -> str:
        # Written out key by key, since `asdict` takes four times as long. What it gives must never
        # change: stored replies are found by it.
        sampling = self.sampling
        return _CANONICAL.encode(
            {
                "prompt": self.prompt
                if isinstance(self.prompt, str)
                else [{"content": turn.content, "role": turn.role} for turn in self.prompt],
                "sampling": {
                    "max_tokens": sampling.max_tokens,
                    "n": sampling.n,
                    "seed": sampling.seed,
                    "stop": sampling.stop,
                    "temperature": sampling.temperature,
                    "top_p": sampling.top_p,
                    **(
                        {"frequency_penalty": sampling.frequency_penalty}
                        if sampling.frequency_penalty
                        else {}
                    ),
                },
                "schema": self.schema,
                "top_logprobs": self.top_logprobs,
                **({} if self.forced is None else {"forced": self.forced}),
            }
        )

    def address(self, model_identity: str) -> str:
        """The content address under which a reply to this request by this model is stored."""
        text = f"trueup/request/1\n{model_identity}\n{self.content()}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One sampled token, its natural-log probability and those of the likeliest alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One drawn reply text."""

    text: str
    finish: Finish = "stop"
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call consumed. `cached` counts the input tokens the server did not recompute."""

    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.cached + other.cached,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered: `Sampling.n` choices and their joint cost."""

    choices: tuple[Choice, ...]
    usage: Usage = Usage()
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text


@dataclass(frozen=True, slots=True)
class Query:
    """Something a user asks the policy."""

    text: str
    category: str = ""
    should_answer: bool | None = None
    """True: a refusal is a fault. False: anything but a refusal is a fault. None: unknown."""
    history: tuple[Message, ...] = ()
    """Earlier turns, oldest first."""
    reference: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A query with a reply that shows how to answer it."""

    query: str
    reply: str
    category: str = ""
    shows_answer: bool = True
    """False when the reply is a refusal."""


@dataclass(frozen=True, slots=True)
class Score:
    """One criterion's score of one reply, 1 to 5, with the reason given."""

    criterion: str
    value: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of one reply to one query. Failed verdicts carry no scores."""

    scores: tuple[Score, ...] = ()
    failed: str | None = None
    """Why no judgement could be read, or None."""
    dropped: tuple[str, ...] = ()
    """What was left out of an otherwise good verdict (an unknown criterion, say), and why."""

    @property
    def reward(self) -> float | None:
        """Mean of the scores, 1 to 5; None when the judgement failed or nothing was scored."""
        if self.failed is not None or not self.scores:
            return None
        return sum(score.value for score in self.scores) / len(self.scores)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one query, and which is better where that is known."""

    query: Query
    first: str
    second: str
    better: Literal["first", "second", "tie"] | None = None
    subset: str = ""
    models: tuple[str, str] | None = field(default=None)


def conversation(query: Query) -> tuple[Message, ...]:
    """The query as a conversation: its history, then its text as the user's turn."""
    return (*query.history, Message("user", query.text))


def mean(values: Sequence[float]) -> float | None:
    """Arithmetic mean, or None of nothing: absence is never zero."""
    return sum(values) / len(values) if values else None
