"""The prompt lever: what stands in front of a model, and how to find better."""

from trueup.prompt.drpo import Drpo

METHODS = {"drpo": Drpo}

__all__ = ["METHODS", "Drpo"]
