"""The prompt lever: what stands in front of a model, and how to find better."""

from trueup.prompt.composed import Composed
from trueup.prompt.drpo import Drpo
from trueup.prompt.published import Published

METHODS: dict[str, type[Composed] | type[Drpo] | type[Published]] = {
    "composed": Composed,
    "drpo": Drpo,
    "published": Published,
}

__all__ = ["METHODS", "Composed", "Drpo", "Published"]
