"""An aligned model as a file: which model, and the context that makes it answer better.

    aligned = Aligned.load("runs/align-1a2b3c4d")         # the run's folder, or its aligned.toml
    model = aligned.model()                               # opens the model it names
    reply = await model.reply(aligned.request("How do I kill a Python process?"))

The file is meant to be read, compared and put under version control: the instruction stands in it
as it is, keys come in one order, and the same content is the same bytes. What comes out of
`model()` is a Model like any other, laid out exactly as it was searched. Keys and addresses of
machines are not in it beyond the model's name; the calls that led to it are in the run's folder.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trueup.data import storable
from trueup.errors import DataError, SettingsError
from trueup.models.model import Model
from trueup.models.named import open_model
from trueup.paths import expanded
from trueup.prompt.nearness import By
from trueup.prompt.prompt import Format, Prompt, Prompted
from trueup.prompt.retrieval import Mix, Order, Retrieval
from trueup.types import Demonstration, Message, Query, Request, Sampling, conversation

FILE = "aligned.toml"
"""What it is called in a run's folder."""
JOB = "job.toml"
"""Beside it in a run's folder: what the run was asked to do."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Aligned:
    """A model's name and the prompt that was found for it."""

    model_name: str
    """As `open_model` takes it."""
    prompt: Prompt
    sampling: Sampling = Sampling()
    """How replies were drawn in the search: what `request` uses."""
    embedder_name: str | None = None
    """The model whose embeddings retrieve the demonstrations, where that is another one."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Where it comes from: method, run, judge, scores. For readers; nothing depends on it."""

    def model(self, base: Model | None = None, embedder: Model | None = None) -> Model:
        """The aligned model: `base`, or the model of that name, with the prompt in front.

        Raises `SettingsError` for a name of no known form, `ModelUnavailable` for a missing file.
        """
        opens = embedder is None and self.embedder_name is not None
        if opens:
            embedder = open_model(str(self.embedder_name))
        base = base or open_model(self.model_name)
        return Prompted(base, self.prompt, embedder, closes_embedder=opens)

    def request(self, asked: str | Query | Sequence[Message]) -> Request:
        """A text, a query or a conversation as a request, drawn as in the search."""
        if isinstance(asked, str):
            asked = Query(asked)
        turns = conversation(asked) if isinstance(asked, Query) else tuple(asked)
        return Request(turns, self.sampling)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file. Raises `DataError` where that is not possible."""
        target = Path(path)
        try:
            target.write_text(self.toml(), "utf-8", newline="\n")
        except OSError as error:
            raise DataError(
                f"{target} cannot be written ({error.strerror}): name a file in a folder that is "
                "there and yours."
            ) from error
        return target

    def toml(self) -> str:
        """The file's text: the same for the same content."""
        # A model may emit half a surrogate pair, which no UTF-8 file can hold.
        document = storable(self._document())
        text = tomli_w.dumps(document, multiline_strings=True)
        if tomllib.loads(text) != document:
            # Lines that end in carriage returns do not survive being written as lines.
            text = tomli_w.dumps(document)
        return f"# An aligned model. To talk to it: trueup chat THIS_FILE\n\n{text}"

    def _document(self) -> dict[str, Any]:
        sampling, how = self.sampling, self.prompt.retrieval
        document: dict[str, Any] = {"trueup": FORMAT, "model": self.model_name}
        if self.embedder_name is not None:
            document["embedder"] = self.embedder_name
        document["sampling"] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stop": list(sampling.stop),
            "seed": sampling.seed,
            "frequency_penalty": sampling.frequency_penalty,
        }
        document["provenance"] = dict(self.provenance)
        document["prompt"] = {
            "format": self.prompt.format,
            "instruction": self.prompt.instruction,
            "retrieval": {
                "k": how.k,
                "by": how.by,
                "order": how.order,
                "mix": how.mix,
                "caution": how.caution,
            },
            "demonstrations": [
                {
                    "query": one.query,
                    "reply": one.reply,
                    "category": one.category,
                    "shows_answer": one.shows_answer,
                }
                for one in self.prompt.demonstrations
            ],
        }
        return document

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Aligned:
        """Read a file, or the one in a run's folder. Raises `DataError` and `SettingsError`."""
        source = expanded(path)
        if source.is_dir():
            if not (source / FILE).is_file():
                raise DataError(f"{source} holds no {FILE}: {_remedy(source)}")
            source = source / FILE
        return _read(source).aligned()


def _remedy(folder: Path) -> str:
    """What to do about a folder without an aligned prompt in it."""
    found = sorted(one.name for one in folder.glob("*.toml") if one.name != JOB)
    if found:
        return f"name one of the prompts in it, such as {folder / found[0]}."
    if (folder / JOB).is_file():
        return (
            f"its run has not got that far. Run `trueup align --job {folder / JOB}` to finish it."
        )
    return f"name the folder of a `trueup align` run, or a file such as {FILE}."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Sampling(_Strict):
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=512, ge=1)
    stop: list[str] = []
    seed: int = 0
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)


class _Retrieval(_Strict):
    k: int = Field(default=0, ge=0)
    by: By = "bm25"
    order: Order = "nearest last"
    mix: Mix = "nearest"
    caution: float = 0.0


class _Demonstration(_Strict):
    query: str
    reply: str
    category: str = ""
    shows_answer: bool = True


class _Prompt(_Strict):
    instruction: str
    format: Format = "turns"
    retrieval: _Retrieval = _Retrieval()
    demonstrations: list[_Demonstration] = []


class _File(_Strict):
    trueup: int
    model: str = Field(min_length=1)
    embedder: str | None = None
    sampling: _Sampling = _Sampling()
    provenance: dict[str, str] = {}
    prompt: _Prompt

    def aligned(self) -> Aligned:
        return Aligned(
            self.model,
            Prompt(
                self.prompt.instruction,
                tuple(Demonstration(**one.model_dump()) for one in self.prompt.demonstrations),
                Retrieval(**self.prompt.retrieval.model_dump()),
                self.prompt.format,
            ),
            Sampling(**{**self.sampling.model_dump(), "stop": tuple(self.sampling.stop)}),
            self.embedder,
            self.provenance,
        )


def _read(path: Path) -> _File:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"There is no {path}: give a run's folder or the aligned.toml in it (`trueup runs` "
            "lists the runs there are)."
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} cannot be read as TOML ({error}): restore it.") from error
    if document.get("trueup", FORMAT) != FORMAT:
        raise DataError(
            f"{path} is of format {document['trueup']}, and this version of trueup reads "
            f"{FORMAT}: install a newer trueup."
        )
    try:
        return _File.model_validate(document)
    except ValidationError as error:
        raise SettingsError(f"{path}: {told(error)}") from error


def told(error: ValidationError) -> str:
    """What is wrong with a file, in a sentence: the first complaint, and where."""
    first = error.errors(include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where} is not a setting: remove it or correct its name."
    if first["type"] == "missing":
        return f"{where} is missing: add it."
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}." if where else f"{what}."
