"""A model from a line of text, as it stands in a job file or on the command line.

    open_model("embedded")
    open_model("gguf:models/qwen.gguf?slots=8&context=4096")
    open_model("hub:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf")
    open_model("endpoint:http://localhost:8000#my-model")
    open_model("endpoint:http://a:8000,http://b:8000#my-model")      # balanced over both
    open_model("openai:gpt-4o-mini"), open_model("ollama:llama3.2")
    open_model("sentences:all-mpnet-base-v2")                        # embeds, and nothing else

The name says where and what, never with which key: keys come from the environment, or from a file
that only its owner can read. A key made for one company is sent to no other server. Opening is
cheap: no connection is made and no weights are loaded before the first request (a `hub:` file is
downloaded when it is not there yet).
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from trueup.errors import ModelUnavailable, SettingsError
from trueup.models.address import SECRET_NAMES
from trueup.models.balanced import balanced
from trueup.models.embedded import Embedded
from trueup.models.endpoint import Endpoint
from trueup.models.model import Model
from trueup.models.sentences import Sentences
from trueup.paths import expanded

FORMS = (
    "embedded",
    "gguf:PATH",
    "hub:OWNER/REPO/FILE.gguf",
    "endpoint:URL#MODEL",
    "openai:MODEL",
    "openrouter:MODEL",
    "ollama:MODEL",
    "vllm:MODEL",
    "sentences:NAME",
)
"""The forms a name can have; `gguf:` and `hub:` take ?slots=N&context=N, `sentences:` embeds."""

_PLACES = {
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "ollama": "http://127.0.0.1:11434/v1",
    "vllm": "http://127.0.0.1:8000/v1",
}

CONCURRENCY = 64
"""Requests in flight at a server at most; how many it is given is learnt from its answers."""

OWN_KEY = "TRUEUP_API_KEY"
"""The variable whose key goes to whatever server is named."""
KEY_FILE = "TRUEUP_API_KEY_FILE"
"""The variable that names a file with the key instead."""

_COMPANIES = {"api.openai.com": "OPENAI_API_KEY", "openrouter.ai": "OPENROUTER_API_KEY"}
"""Whose servers, by what their hosts end in, and the variable whose key goes to no others."""

_SECRET = re.compile(
    rf"//[^/#]*@|^\s*endpoint:([^#]*,)?[^/#]*@|[?&][^=&#]*({SECRET_NAMES})[^=&#]*=", re.IGNORECASE
)
"""A login, with http:// before it or without, or a parameter that is called like a key."""


@dataclass(frozen=True, slots=True)
class _Key:
    """A key and the variable it came from, or those it was looked for in."""

    variable: str
    secret: str | None


def open_model(
    name: str, *, concurrency: int | None = None, api_key_env: str | None = None
) -> Model:
    """The model of that name, ready for its first request.

    `concurrency` is how many requests may be in flight (for a GGUF file: its slots).
    `api_key_env` names the only environment variable to take the key from.
    Raises `SettingsError` for a name of no known form, `ModelUnavailable` for a model that is not
    installed or cannot be downloaded; of a file it is said when its identity is asked for.
    """
    form, _, rest = name.strip().partition(":")
    if form == "embedded" and not rest:
        return _embedded(None, {}, concurrency)
    if form == "gguf" and rest:
        path, options = _options(rest)
        return _embedded(expanded(path), options, concurrency)
    if form == "hub" and rest:
        path, options = _options(rest)
        return _embedded(_downloaded(path), options, concurrency)
    if form == "sentences" and rest:
        return Sentences(rest)
    if form == "endpoint" and rest:
        url, _, model = rest.partition("#")
        return _endpoint(url, model, name, concurrency, api_key_env)
    if form in _PLACES and rest:
        return _endpoint(_PLACES[form], rest, name, concurrency, api_key_env)
    raise SettingsError(f"{_shown(name)!r} names no model: write one of {', '.join(FORMS)}.")


def _embedded(path: Path | None, options: Mapping[str, int], concurrency: int | None) -> Embedded:
    chosen: dict[str, Any] = dict(options)
    if concurrency is not None:
        chosen.setdefault("slots", concurrency)
    return Embedded(path, **chosen)


def _endpoint(
    url: str, model: str, name: str, concurrency: int | None, api_key_env: str | None
) -> Model:
    if not url or not model:
        raise SettingsError(
            f"{_shown(name)!r} lacks {'the URL' if not url else 'the model'}: write "
            "endpoint:URL#MODEL, as in endpoint:http://localhost:8000#my-model."
        )
    most = CONCURRENCY if concurrency is None else concurrency
    # A comma after a question mark belongs to the query of one URL.
    urls = [one.strip() for one in url.split(",") if one.strip()] if "?" not in url else [url]
    if len(urls) > 1:
        keys = [_key(one, api_key_env) for one in urls]
        return balanced(
            urls,
            model,
            api_keys=[key.secret for key in keys],
            api_key_env=keys[0].variable,
            concurrency=most,
        )
    key = _key(url, api_key_env)
    return Endpoint(
        url,
        model,
        api_key=key.secret,
        api_key_env=key.variable,
        concurrency=most,
    )


def _options(rest: str) -> tuple[str, dict[str, int]]:
    """A path and the numbers after its question mark."""
    path, mark, text = rest.rpartition("?")
    if not mark or "/" in text:
        return rest, {}
    options: dict[str, int] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if key not in ("slots", "context") or not value.isascii() or not value.isdigit():
            raise SettingsError(
                f"{key}={value} is no setting of a GGUF file: write ?slots=N&context=N."
            )
        options[key] = int(value)
    return path, options


def _downloaded(rest: str) -> Path:
    """A file of a hub repository, from the local cache or the network."""
    parts = rest.split("/", 2)
    if len(parts) != 3 or not all(parts) or not parts[2].lower().endswith(".gguf"):
        raise SettingsError(f"hub:{rest} names no GGUF file: write hub:OWNER/REPO/FILE.gguf.")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ModelUnavailable(
            'Downloading from the hub needs one more package: run `pip install "trueup[hub]"`, or '
            "download the file yourself and write gguf:PATH."
        ) from error
    try:
        return Path(hf_hub_download(f"{parts[0]}/{parts[1]}", parts[2]))
    except Exception as error:
        raise ModelUnavailable(
            f"hub:{rest} could not be downloaded ({type(error).__name__}): check the name and the "
            "network, or download the file elsewhere and write gguf:PATH."
        ) from error


def _key(url: str, api_key_env: str | None) -> _Key:
    """The key for a server, from the first place that has one."""
    if api_key_env is not None:
        return _Key(api_key_env, os.environ.get(api_key_env) or None)
    variables = _variables(url)
    for variable in variables:
        if os.environ.get(variable):
            return _Key(variable, os.environ[variable])
        if variable == OWN_KEY and os.environ.get(KEY_FILE):
            return _Key(KEY_FILE, _kept(expanded(os.environ[KEY_FILE])))
    return _Key(" or ".join(variables), None)


def _variables(url: str) -> tuple[str, ...]:
    """Which variables may hold a key for this server, first choice first."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host = f".{parts.hostname or ''}"
    except ValueError:
        return (OWN_KEY,)
    for company, variable in _COMPANIES.items():
        # Over plain HTTP everyone between could read it.
        if parts.scheme == "https" and host.endswith(f".{company}"):
            return (variable, OWN_KEY)
    return (OWN_KEY,)


def _kept(path: Path) -> str:
    """A key from a file that nobody else can read."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The key file {path} cannot be read: correct {KEY_FILE} or remove it."
        ) from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"Others can read the key file {path}: run `chmod 600 {path}`.")
    if not text:
        raise SettingsError(f"The key file {path} is empty: write the key into it.")
    return text


def storable(name: str) -> str:
    """The name itself, where it may be written down: files are shared, and keys are not.

    Raises `SettingsError` where it holds a login or a key.
    """
    if _SECRET.search(name):
        raise SettingsError(
            f"{_shown(name)!r} was given with a login or a key, and names are written down: take "
            f"it out and put the key into the environment variable {OWN_KEY}."
        )
    return name


def _shown(name: str) -> str:
    """The name as an error may repeat it: without a login and a query, cut short."""
    if re.search(r"\?.*@", name):  # which of the two has the @ cannot be told
        name = f"{name.partition(':')[0]}:…"
    name = re.sub(r"^(endpoint:(?:\w+://)?|.*?//).*@", r"\1", name)
    name = re.sub(r"\?[^#]*", "", name)
    return name if len(name) <= 120 else f"{name[:119]}…"


def is_remote(model: Model) -> bool:
    """Whether using the model may cost money: it, or one of its servers, is not on this machine."""
    # A balanced model is named by all its servers, or by all its members.
    members = (one.partition(":") for one in model.identity.split("|"))
    places = (rest.partition("#")[0] for form, _, rest in members if form == "endpoint")
    return not all(_here(url) for place in places for url in place.split(","))


def _here(url: str) -> bool:
    """Whether the server is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
