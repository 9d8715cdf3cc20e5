"""The prompt lever: what stands in front of a model, and how to find better."""

from trueup.prompt.composed import Composed
from trueup.prompt.drpo import Drpo

METHODS: dict[str, type[Drpo] | type[Composed]] = {"drpo": Drpo, "composed": Composed}

__all__ = ["METHODS", "Composed", "Drpo"]
