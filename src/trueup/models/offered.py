"""The models that a server offers, as it lists them.

    answer = await line.send("models", None, lambda: "models", listed)
    there = offered(answer)                  # nothing where the server does not tell
    raise unknown(server, "gwen", there)     # says which there are

A list is somebody else's text: what is shown of it is short, on one line and without a key.
"""

from __future__ import annotations

from collections.abc import Sequence

from trueup.errors import ModelRefused
from trueup.models import wire
from trueup.models.address import Address, one_line
from trueup.models.line import Again, Answer
from trueup.models.patience import told
from trueup.models.refusals import AGAIN

MOST_SHOWN = 8
LONGEST_NAME = 80
"""Letters of a name that are shown."""


def listed(answer: Answer) -> Answer:
    """A list of models, or an answer that will never be one."""
    if answer.status not in AGAIN and answer.status < 500:
        return answer
    wait = told(answer.headers.get("Retry-After"), answer.headers.get("Date"))
    raise Again(f"it answered {answer.status}", wait)


def offered(answer: Answer) -> tuple[wire.Offered, ...]:
    """Every model offered; nothing when the server does not tell."""
    try:
        return wire.read_models(answer.data()) if answer.status == 200 else ()
    except (ValueError, RecursionError):
        return ()


def unknown(server: Address, model: str, there: Sequence[wire.Offered]) -> ModelRefused:
    """What to say of a model that is not there."""
    names = [one_line(server.redacted(one.name), LONGEST_NAME) for one in there[:MOST_SHOWN]]
    offers = f" It offers {', '.join(names)}." if names else ""
    more = f" And {len(there) - MOST_SHOWN} more." if len(there) > MOST_SHOWN else ""
    return ModelRefused(f"{server} has no model {model!r}: name another.{offers}{more}")
