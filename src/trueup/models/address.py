"""Where a server is and what proves who we are: a URL and a key that never shows itself.

    server = address("https://me:secret@host/v1/?team=7", api_key="sk-...")
    str(server)                     # "https://host/v1"
    server.url("models")            # "https://host/v1/models?team=7"
    server.redacted("bad sk-...")   # "bad [key]"

The base URL may come with or without /v1, with or without the last step of the path. Its login
and its query are kept out of everything that is shown or stored. It opens no connection.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from trueup.errors import SettingsError

SHORTEST_KEY = 8
"""Letters: what is shorter is no key, and may stand in a reply by chance."""
SECRET_NAMES = "key|token|secret|passw|pwd|auth|sig|credential"
"""A pattern: a URL's parameter with one of these in its name lets us in."""
_STEPS = ("/chat/completions", "/completions", "/embeddings", "/models")


@dataclass(frozen=True, slots=True)
class Address:
    """A server's base URL with what is needed to be let in."""

    base: str
    """Scheme, host, port and path, as far as /v1."""
    query: str = field(default="", repr=False)
    authorization: str | None = field(default=None, repr=False)
    """The Authorization header's value."""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.base

    def url(self, path: str) -> str:
        """The full URL of one of the server's paths."""
        return f"{self.base}/{path}{self.query}"

    def redacted(self, text: str) -> str:
        """The text without the key: servers quote what they were sent."""
        for secret in self.secrets:
            text = text.replace(secret, "[key]")
        return text

    def without_key(self, raw: bytes) -> bytes:
        """An answer's bytes without the key: what comes back is stored."""
        for secret in self.secrets:
            # A query is part of what is asked and may be a word like any other.
            if len(secret) >= SHORTEST_KEY and secret != self.query[1:]:
                raw = raw.replace(secret.encode(), b"[key]")
        return raw


def address(base_url: str, api_key: str | None = None) -> Address:
    """Read a base URL as people write it. Raises `SettingsError`."""
    text = base_url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        # The URL may hold a password, so it is not repeated.
        raise SettingsError("The server's URL cannot be read: give one like http://host:8000/v1.")
    login, _, host = parts.netloc.rpartition("@")
    path = parts.path.rstrip("/")
    for step in _STEPS:
        path = path.removesuffix(step)
    login, key = unquote(login), (api_key or "").strip()
    return Address(
        base=urlunsplit((parts.scheme, host.lower(), path or "/v1", "", "")),
        query=f"?{parts.query}" if parts.query else "",
        authorization=_authorization(key, login),
        secrets=_secrets(key, login, parts.query),
    )


def _secrets(key: str, login: str, query: str) -> tuple[str, ...]:
    """All forms in which what lets us in may be quoted, the longest first."""
    password = login.partition(":")[2]
    coded = b64encode(login.encode()).decode() if login else ""
    found = {key, password, quote(password, safe=""), coded, query}
    return tuple(sorted(found - {""}, key=lambda one: (-len(one), one)))


def _authorization(key: str, login: str) -> str | None:
    if key:
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise SettingsError("The API key holds characters that no key has: copy it again.")
        return f"Bearer {key}"
    return f"Basic {b64encode(login.encode()).decode()}" if login else None
