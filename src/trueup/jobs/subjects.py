"""Who is evaluated: a model by name, an aligned run, or a run's model under the plain prompt.

    subject = Subject.of("runs/align-1a2b3c4d")       # or aligned.toml, or embedded, endpoint:...
    plain = Subject.of("plain", beside=subject)       # the report's "before"
    model = subject.model(base)                       # a Model; `base` is the one it names

A subject says which model is to be opened and what is put in front of it, and opens nothing itself,
so that two subjects on the same model share it. `added` tells how much longer the prompts are that
the model gets than those that were asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trueup.aligned import Aligned
from trueup.errors import SettingsError
from trueup.models.model import Embeddings, Model
from trueup.models.named import storable
from trueup.paths import expanded
from trueup.prompt.prompt import PLAIN_INSTRUCTION, Prompt, Prompted
from trueup.prompt.retrieval import Retrieval
from trueup.types import Reply, Request, Sampling

PLAIN = "plain"


@dataclass(frozen=True)
class Subject:
    """A model's name, and the prompt in front of it if there is one."""

    name: str
    """As it was given."""
    model_name: str
    """As `open_model` takes it."""
    aligned: Aligned | None = None

    @classmethod
    def of(cls, name: str, beside: Subject | None = None) -> Subject:
        """The subject meant by a name, a run's folder or a file.

        Raises `DataError` for a run without a result, `SettingsError` for `plain` beside nothing
        and for a model's name with a login or a key in it.
        """
        if name == PLAIN:
            if beside is None or beside.aligned is None:
                raise SettingsError(
                    "'plain' is an aligned run's model without its prompt: give a run's folder or "
                    "an aligned.toml to compare with it."
                )
            prompt = Prompt(PLAIN_INSTRUCTION, (), Retrieval(k=0), beside.aligned.prompt.format)
            aligned = replace(beside.aligned, prompt=prompt, embedder_name=None)
            return cls(name, beside.model_name, aligned)
        path = expanded(name)
        if path.exists() or name.endswith(".toml") or ("/" in name and ":" not in name):
            found = Aligned.load(path)
            if found.embedder_name is not None:
                storable(found.embedder_name)
            return cls(name, storable(found.model_name), found)
        if name.startswith("sentences:"):
            raise SettingsError(f"{name} embeds texts and answers none: name a model that answers.")
        return cls(name, storable(name))

    @property
    def sampling(self) -> Sampling | None:
        """How it was drawn from in its search; None for a model alone."""
        return self.aligned.sampling if self.aligned else None

    def model(self, base: Model, embedder: Model | None = None) -> Model:
        """The subject as a Model, `base` being the one it names."""
        if self.aligned is None:
            return base
        return Prompted(base, self.aligned.prompt, embedder)

    @property
    def told(self) -> str:
        """What it is, in a line."""
        if self.aligned is None:
            return self.model_name
        prompt = self.aligned.prompt
        if self.name == PLAIN:
            return f"{self.model_name} under the plain prompt"
        return f"{self.model_name} with {prompt.retrieval.k} demonstrations ({self.name})"


class Letters:
    """A model that counts the letters of what it is asked: one before a prompt, one behind it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.letters = 0
        self.requests = 0

    @property
    def identity(self) -> str:
        return self._model.identity

    async def reply(self, request: Request) -> Reply:
        asked = request.prompt
        text = [asked] if isinstance(asked, str) else [turn.content for turn in asked]
        self.letters += sum(map(len, text))
        self.requests += 1
        return await self._model.reply(request)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return await self._model.embed(texts)

    async def close(self) -> None:
        """The model belongs to somebody else."""


def added(asked: Letters, sent: Letters) -> float:
    """The share of a prompt's letters that were not asked for, 0 to 1."""
    return max(0.0, 1 - asked.letters / sent.letters) if sent.letters else 0.0
