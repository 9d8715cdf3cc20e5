"""A line of text becomes a model, and keys come only from where they may."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trueup.errors import ModelRefused, ModelUnavailable, SettingsError
from trueup.models.balanced import Balanced
from trueup.models.embedded import Embedded
from trueup.models.endpoint import Endpoint
from trueup.models.named import is_remote, open_model
from trueup.models.pace import Pace
from trueup.types import Message, Request

from .fake_server import FakeServer

VARIABLES = ("TRUEUP_API_KEY", "TRUEUP_API_KEY_FILE", "OPENAI_API_KEY", "OPENROUTER_API_KEY")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


async def sent_key(name: str, server: FakeServer, **settings: Any) -> str | None:
    """The Authorization header that a model of that name sends."""
    model = open_model(name, **settings)
    try:
        await model.reply(Request((Message("user", "hi"),)))
    finally:
        await model.close()
    return server.seen[-1].headers.get("Authorization")


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("endpoint:http://host:9/v1#a/b", "endpoint:http://host:9/v1#a/b"),
        ("endpoint:host:9#a", "endpoint:http://host:9/v1#a"),
        ("endpoint:https://me:pw@host/api/v1?x=y#a", "endpoint:https://host/api/v1#a"),
        ("openai:gpt-x", "endpoint:https://api.openai.com/v1#gpt-x"),
        ("openrouter:org/m:free", "endpoint:https://openrouter.ai/api/v1#org/m:free"),
        ("ollama:llama3:8b", "endpoint:http://127.0.0.1:11434/v1#llama3:8b"),
        ("vllm:Qwen/Q", "endpoint:http://127.0.0.1:8000/v1#Qwen/Q"),
    ],
)
def test_servers(name: str, identity: str) -> None:
    model = open_model(name)
    assert isinstance(model, Endpoint) and model.identity == identity


def test_several_servers_of_one_model() -> None:
    model = open_model("endpoint:http://b:9, http://me:pw@a:9/v1#m")
    assert (
        isinstance(model, Balanced) and model.identity == "endpoint:http://a:9/v1,http://b:9/v1#m"
    )
    assert isinstance(open_model("endpoint:http://a:9/v1?x=1,2#m"), Endpoint)


@pytest.mark.parametrize(
    ("name", "remote"),
    [
        ("embedded", False),
        ("ollama:m", False),
        ("endpoint:http://[::1]:8000#m", False),
        ("endpoint:http://127.0.0.1:8000,http://localhost:8001#m", False),
        ("endpoint:http://127.0.0.1:8000/v1,https://api.example.com/v1#m", True),
        ("endpoint:http://10.0.0.7:8000#m", True),
        ("openai:m", True),
    ],
)
def test_a_model_is_remote_when_one_of_its_servers_is(name: str, remote: bool) -> None:
    assert is_remote(open_model(name)) is remote


def test_a_model_of_several_members_is_remote_when_one_of_them_is() -> None:
    members = [Endpoint("http://localhost:8000", "m"), Endpoint("https://api.example.com", "m")]
    for given in (members, members[::-1]):
        assert is_remote(Balanced([(one, Pace(4)) for one in given]))
    assert not is_remote(Balanced([(members[0], Pace(4))]))


def test_a_gguf_file_with_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "a?b.gguf"
    path.write_bytes(b"GGUF")
    model = open_model(f"gguf:{path}?slots=3&context=512", concurrency=9)
    assert isinstance(model, Embedded)
    assert (model.path, model.slots, model.context) == (path, 3, 512)
    model = open_model(f" gguf:{tmp_path}/plain.gguf ", concurrency=9)
    assert isinstance(model, Embedded)
    assert (model.path, model.slots) == (tmp_path / "plain.gguf", 9)


@pytest.mark.parametrize(
    "name",
    ["", "embedded:x", "gguf:", "endpoint:", "gpt-4", "openai:", "http://host", "hub:", "x" * 999],
)
def test_a_name_of_no_form_lists_the_forms(name: str) -> None:
    with pytest.raises(SettingsError, match=r"embedded, gguf:PATH, hub:OWNER") as caught:
        open_model(name)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("endpoint:http://host:8000", "lacks the model: write endpoint:URL#MODEL"),
        ("endpoint:#m", "lacks the URL"),
        ("gguf:a.gguf?slot=3", "slot=3 is no setting"),
        ("gguf:a.gguf?slots=many", "slots=many is no setting"),
        ("gguf:a.gguf?slots=0", "slots=0"),
        ("hub:owner/file.gguf", "names no GGUF file"),
        ("hub:owner/repo/file.bin", "names no GGUF file"),
    ],
)
def test_a_name_that_is_almost_right_says_what_is_wrong(name: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_model(name)
    assert message in str(caught.value)


def test_an_error_does_not_show_a_login() -> None:
    with pytest.raises(SettingsError) as caught:
        open_model("endpoint:http://me:sesame@host:8000")
    assert "sesame" not in str(caught.value) and "//host:8000" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "endpoint:me:sesame@host:8000",
        "endpoint:https://host/v1?api-key=sesame",
        "endpoint:https://host/v1?api-key=open@sesame",
        "endpoint:https://me:open?sesame@host/v1",
        "endpoint:https://host/v1,https://me:sesame@other/v1",
        "https://me:sesame@host",
        "https://host/v1?team=sesame",
    ],
)
def test_an_error_shows_no_key_however_the_name_is_written(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_model(name)
    assert "sesame" not in str(caught.value)


async def test_the_own_variable_is_sent_to_the_named_server(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"endpoint:{server.url}#fake"
    assert await sent_key(name, server) is None
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    assert await sent_key(name, server) is None  # it was made for another company
    assert await sent_key(name, server, api_key_env="OPENAI_API_KEY") == "Bearer sk-openai"
    monkeypatch.setenv("TRUEUP_API_KEY", "sk-own\n")
    assert await sent_key(name, server) == "Bearer sk-own"
    assert await sent_key(name, server, api_key_env="NOT_SET") is None


async def test_a_key_file_is_read_only_when_nobody_else_can(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, path = f"endpoint:{server.url}#fake", tmp_path / "key"
    monkeypatch.setenv("TRUEUP_API_KEY_FILE", str(path))
    with pytest.raises(SettingsError, match=r"cannot be read: correct TRUEUP_API_KEY_FILE"):
        open_model(name)
    path.write_text("sk-file\n")
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(SettingsError, match=r"Others can read .* run `chmod 600") as caught:
            open_model(name)
        assert "sk-file" not in str(caught.value)
    path.chmod(0o600)
    assert await sent_key(name, server) == "Bearer sk-file"
    path.write_text(" ")
    with pytest.raises(SettingsError, match="is empty"):
        open_model(name)


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("openrouter:m", ["OPENROUTER_API_KEY", "TRUEUP_API_KEY"]),
        ("endpoint:https://eu.openrouter.ai/v1#m", ["OPENROUTER_API_KEY", "TRUEUP_API_KEY"]),
        ("openai:m", ["OPENAI_API_KEY", "TRUEUP_API_KEY"]),
        ("endpoint:https://eu.api.openai.com/v1#m", ["OPENAI_API_KEY", "TRUEUP_API_KEY"]),
        ("endpoint:http://api.openai.com/v1#m", ["TRUEUP_API_KEY"]),
        ("endpoint:https://other-company.example/v1#m", ["TRUEUP_API_KEY"]),
        ("endpoint:https://myapi.openai.com.example/v1#m", ["TRUEUP_API_KEY"]),
        ("endpoint:https://notopenrouter.ai/v1#m", ["TRUEUP_API_KEY"]),
        ("ollama:m", ["TRUEUP_API_KEY"]),
    ],
)
def test_a_key_goes_to_the_servers_it_is_for(
    name: str, variables: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr("trueup.models.named.Endpoint", lambda *_, **kw: made.append(kw))
    open_model(name)
    for variable in VARIABLES:
        if variable != "TRUEUP_API_KEY_FILE":
            monkeypatch.setenv(variable, f"key of {variable}")
    for variable in variables:
        open_model(name)
        monkeypatch.delenv(variable)
    open_model(name)
    keys = [(one["api_key"], one["api_key_env"]) for one in made]
    none = (None, " or ".join(variables))
    assert keys == [none, *((f"key of {one}", one) for one in variables), none]


async def test_whose_key_is_for_others_is_told_which_is_sent(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    server.key = "sk-own"
    told = r"without a key \(401\): put a valid key .* variable TRUEUP_API_KEY\."
    with pytest.raises(ModelRefused, match=told):
        await sent_key(f"endpoint:{server.url}#fake", server)


def test_a_hub_file_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def download(repo: str, file: str) -> str:
        asked.append((repo, file))
        return str(tmp_path / "m.gguf")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    model = open_model("hub:org/repo/sub/m.gguf?slots=2")
    assert isinstance(model, Embedded)
    assert (model.path, model.slots) == (tmp_path / "m.gguf", 2)
    assert asked == [("org/repo", "sub/m.gguf")]


def test_without_the_network_or_the_package_the_remedy_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def download(repo: str, file: str) -> str:
        raise ConnectionError("token hf_secret")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    with pytest.raises(ModelUnavailable, match=r"could not be downloaded.*gguf:PATH") as caught:
        open_model("hub:org/repo/m.gguf")
    assert "hf_secret" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelUnavailable, match=r'pip install "trueup\[hub\]"'):
        open_model("hub:org/repo/m.gguf")
