"""Align a language model with itself: search for the context that makes it answer best.

    import trueup

    outcome = await trueup.align(trueup.Job(policy="embedded"))
    model = outcome.aligned.model()
    reply = await model.reply(outcome.aligned.request("How do I kill a Python process?"))

The names below are what the package promises. Each is loaded when it is first used, so importing
trueup costs nothing; `tests/test_exports.py` keeps the two lists, one for people and type checkers
and one for the interpreter, the same.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Said twice, because that is how a type checker is told that a name is offered.
    from trueup.aligned import Aligned as Aligned
    from trueup.data import read_demonstrations as read_demonstrations
    from trueup.data import read_queries as read_queries
    from trueup.data import split as split
    from trueup.data import write_jsonl as write_jsonl
    from trueup.errors import BudgetSpent as BudgetSpent
    from trueup.errors import DataError as DataError
    from trueup.errors import JudgeError as JudgeError
    from trueup.errors import ModelError as ModelError
    from trueup.errors import ModelRefused as ModelRefused
    from trueup.errors import ModelUnavailable as ModelUnavailable
    from trueup.errors import SettingsError as SettingsError
    from trueup.errors import StoreError as StoreError
    from trueup.errors import TrueupError as TrueupError
    from trueup.evaluation.comparison import compare as compare
    from trueup.evaluation.comparison import comparison_table as comparison_table
    from trueup.evaluation.evaluate import evaluate as evaluate
    from trueup.jobs.alignment import align as align
    from trueup.jobs.job import Job as Job
    from trueup.jobs.outcome import Outcome as Outcome
    from trueup.judges.checks import Format as Format
    from trueup.judges.checks import Language as Language
    from trueup.judges.checks import Length as Length
    from trueup.judges.checks import Pattern as Pattern
    from trueup.judges.checks import Refusal as Refusal
    from trueup.judges.checks import Relevance as Relevance
    from trueup.judges.checks import Repetition as Repetition
    from trueup.judges.checks import Safety as Safety
    from trueup.judges.criteria import POOL as POOL
    from trueup.judges.criteria import Criterion as Criterion
    from trueup.judges.criteria import load_criteria as load_criteria
    from trueup.judges.dynamic import Dynamic as Dynamic
    from trueup.judges.judge import Judge as Judge
    from trueup.judges.likelihood import Likelihood as Likelihood
    from trueup.judges.methods import Pointwise as Pointwise
    from trueup.judges.pairwise import LikelihoodPairs as LikelihoodPairs
    from trueup.judges.panel import Member as Member
    from trueup.judges.panel import Panel as Panel
    from trueup.judges.perplexity import Perplexity as Perplexity
    from trueup.judges.reward_model import RewardModel as RewardModel
    from trueup.judges.scoring import Checks as Checks
    from trueup.judges.standing import Calibrated as Calibrated
    from trueup.models.budgeted import Budget as Budget
    from trueup.models.budgeted import Budgeted as Budgeted
    from trueup.models.budgeted import Price as Price
    from trueup.models.embedded import Embedded as Embedded
    from trueup.models.endpoint import Endpoint as Endpoint
    from trueup.models.model import Model as Model
    from trueup.models.named import open_model as open_model
    from trueup.models.remembered import Remembered as Remembered
    from trueup.models.scripted import Scripted as Scripted
    from trueup.prompt.drpo import Drpo as Drpo
    from trueup.prompt.prompt import Prompt as Prompt
    from trueup.prompt.prompt import Prompted as Prompted
    from trueup.prompt.retrieval import Retrieval as Retrieval
    from trueup.store.calls import Calls as Calls
    from trueup.types import Choice as Choice
    from trueup.types import Demonstration as Demonstration
    from trueup.types import Message as Message
    from trueup.types import Query as Query
    from trueup.types import Reply as Reply
    from trueup.types import Request as Request
    from trueup.types import Sampling as Sampling
    from trueup.types import Score as Score
    from trueup.types import Usage as Usage
    from trueup.types import Verdict as Verdict

__version__ = "0.1.0"

_WHERE = {
    "aligned": ["Aligned"],
    "jobs.alignment": ["align"],
    "data": ["read_demonstrations", "read_queries", "split", "write_jsonl"],
    "errors": [
        "BudgetSpent",
        "DataError",
        "JudgeError",
        "ModelError",
        "ModelRefused",
        "ModelUnavailable",
        "SettingsError",
        "StoreError",
        "TrueupError",
    ],
    "evaluation.comparison": ["compare", "comparison_table"],
    "evaluation.evaluate": ["evaluate"],
    "jobs.job": ["Job"],
    "jobs.outcome": ["Outcome"],
    "judges.checks": [
        "Format",
        "Language",
        "Length",
        "Pattern",
        "Refusal",
        "Relevance",
        "Repetition",
        "Safety",
    ],
    "judges.criteria": ["POOL", "Criterion", "load_criteria"],
    "judges.dynamic": ["Dynamic"],
    "judges.judge": ["Judge"],
    "judges.likelihood": ["Likelihood"],
    "judges.methods": ["Pointwise"],
    "judges.panel": ["Member", "Panel"],
    "judges.pairwise": ["LikelihoodPairs"],
    "judges.perplexity": ["Perplexity"],
    "judges.reward_model": ["RewardModel"],
    "judges.scoring": ["Checks"],
    "judges.standing": ["Calibrated"],
    "models.budgeted": ["Budget", "Budgeted", "Price"],
    "models.embedded": ["Embedded"],
    "models.endpoint": ["Endpoint"],
    "models.model": ["Model"],
    "models.named": ["open_model"],
    "models.remembered": ["Remembered"],
    "models.scripted": ["Scripted"],
    "prompt.drpo": ["Drpo"],
    "prompt.prompt": ["Prompt", "Prompted"],
    "prompt.retrieval": ["Retrieval"],
    "store.calls": ["Calls"],
    "types": [
        "Choice",
        "Demonstration",
        "Message",
        "Query",
        "Reply",
        "Request",
        "Sampling",
        "Score",
        "Usage",
        "Verdict",
    ],
}
_HOME = {name: module for module, names in _WHERE.items() for name in names}

__all__ = sorted(["__version__", *_HOME])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trueup' has no attribute {name!r}")
    found = getattr(import_module(f"trueup.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
