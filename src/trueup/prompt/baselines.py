"""Prompts that people would use instead of a search: written once, the same for every query.

    baseline("expert", format="turns")      # a few lines that someone who knows would write
    baseline("urial", format="raw")         # a system text and three constant demonstrations

"urial" has the form of URIAL (*The Unlocking Spell on Base LLMs*, arXiv 2312.01552): answers that
take the question up, list their points and end with an offer, one of them a refusal that says why.
Text and demonstrations are ours, as is the layout, which is that of every other prompt here; so a
comparison with it is one with the form, not with the published wording.
"""

from __future__ import annotations

from importlib import resources

from trueup.data import constant_demonstrations
from trueup.errors import SettingsError
from trueup.prompt.prompt import PLAIN_INSTRUCTION, Format, Prompt
from trueup.prompt.retrieval import Retrieval

BASELINES = {
    "plain": "the plain instruction, nothing shown",
    "expert": "a short system prompt written by hand",
    "urial": "URIAL's form: a system text and three constant demonstrations",
}
"""By name, in a line each."""


def baseline(name: str, format: Format = "turns") -> Prompt:
    """The prompt of that name. Raises `SettingsError` where there is none."""
    if name == "plain":
        return Prompt(PLAIN_INSTRUCTION, (), Retrieval(k=0), format)
    if name == "expert":
        return Prompt(_text("expert.txt"), (), Retrieval(k=0), format)
    if name == "urial":
        shown = tuple(constant_demonstrations())
        return Prompt(_text("urial.txt"), shown, Retrieval(k=len(shown), by="fixed"), format)
    raise SettingsError(f"{name!r} is no baseline: choose among {', '.join(BASELINES)}.")


def _text(name: str) -> str:
    return (resources.files("trueup.prompt") / "wording" / name).read_text("utf-8").strip()
