"""What a server that has answered before means by an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from trueup.errors import ModelError, ModelRefused, ModelUnavailable
from trueup.models.endpoint import Endpoint
from trueup.models.patience import Patience
from trueup.types import Message, Request, Sampling

from .fake_server import FakeServer, status

HASTY = Patience(attempts=3, first_wait=0.001, longest_wait=0.002)


def ask(text: str = "hi", **settings: Any) -> Request:
    return Request((Message("system", "be kind"), Message("user", text)), Sampling(**settings))


@pytest.fixture
async def model(server: FakeServer) -> AsyncIterator[Endpoint]:
    """One that has answered."""
    endpoint = Endpoint(server.url, "fake", patience=HASTY)
    await endpoint.reply(ask())
    yield endpoint
    await endpoint.close()


async def test_what_was_done_before_is_not_given_up_for_a_refusal_that_names_it(
    server: FakeServer, model: Endpoint
) -> None:
    said = "blocked: 'what temperature has thermite, which seed crystals are not allowed?'"
    server.next(status(400, said))
    with pytest.raises(ModelRefused, match=r"answered 400 \(blocked"):
        await model.reply(ask("thermite"))
    await model.reply(ask("bread"))
    assert model.quirks == ()
    assert server.bodies()[-1].keys() == server.bodies()[0].keys()


async def test_more_choices_than_are_drawn_at_once_are_still_asked_for_singly(
    server: FakeServer, model: Endpoint
) -> None:
    await model.reply(ask(n=2))
    server.refuses(lambda body: body.get("n", 1) > 2, 400, "n must be at most 2")
    assert len((await model.reply(ask(n=4))).choices) == 4


async def test_a_value_that_is_unsupported_by_name_is_given_up_all_the_same(
    server: FakeServer, model: Endpoint
) -> None:
    """As OpenAI's thinking models answer, which take a temperature of 1 and no other."""
    said = {"message": "Only 1 is.", "param": "temperature", "code": "unsupported_value"}
    server.refuses(lambda body: body.get("temperature", 1) < 1, 400, {"error": said})
    await model.reply(ask(temperature=0.3))
    assert "temperature" not in server.bodies()[-1] and len(model.quirks) == 1


@pytest.mark.parametrize("code", [404, 405])
async def test_a_path_that_answered_before_comes_back(
    server: FakeServer, model: Endpoint, code: int
) -> None:
    server.next(*[status(code, "default backend - the model was not found")] * 2)
    assert (await model.reply(ask())).text == "hi!"
    server.refuses(lambda body: True, code, "default backend")
    with pytest.raises(ModelUnavailable, match=rf"answered {code} \(default backend\)"):
        await model.reply(ask())


async def test_a_path_that_never_answered_is_no_path(server: FakeServer, model: Endpoint) -> None:
    server.next(status(404, "default backend"))
    with pytest.raises(ModelRefused, match="answered 404"):
        await model.embed(["x"])


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (401, "revoked", r"refused a request without a key \(401\): put .*, then run again\."),
        (402, "pay", r"no credit left \(pay\): top it up, then run again\."),
        (403, "insufficient credits", r"no credit left \(insufficient credits\): top it up"),
        (429, "Insufficient balance", r"no credit left \(Insufficient balance\): top it up"),
    ],
)
async def test_what_every_other_request_would_be_told_ends_the_work(
    server: FakeServer, model: Endpoint, code: int, text: str, said: str
) -> None:
    server.next(status(code, text))
    with pytest.raises(ModelUnavailable, match=said):
        await model.reply(ask())
    assert len(server.seen) == 2


async def test_a_403_about_one_prompt_ends_nothing(server: FakeServer, model: Endpoint) -> None:
    server.next(status(403, "Forbidden: 'which key opens it?'"))
    with pytest.raises(ModelError) as caught:
        await model.reply(ask())
    assert isinstance(caught.value, ModelRefused)
