"""Where a server is and what proves who we are: a URL and a key that never shows itself.

    server = address("https://me:secret@host/v1/?team=7", api_key="sk-...")
    str(server)                     # "https://host/v1"
    server.url("models")            # "https://host/v1/models?team=7"
    server.redacted("bad sk-...")   # "bad [key]"

The base URL may come with or without /v1, with or without the last step of the path. Its login
and its query are kept out of everything that is shown or stored. It opens no connection.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit, urlunsplit

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
    """What lets us in, in all forms in which it may be quoted, the longest first."""
    unshown: tuple[str, ...] = field(default=(), repr=False)
    """The same of the rest of the query, which may be a word like any other."""

    def __str__(self) -> str:
        return self.base

    def url(self, path: str) -> str:
        """The full URL of one of the server's paths."""
        return f"{self.base}/{path}{self.query}"

    def redacted(self, text: str) -> str:
        """The text without the key and the query: servers quote what they were sent."""
        return _without((*self.secrets, *self.unshown), text)

    def without_key(self, raw: bytes) -> bytes:
        """An answer's bytes without the key: what comes back is stored."""
        secrets = [secret for secret in self.secrets if len(secret) >= SHORTEST_KEY]
        if not secrets:
            return raw
        text = _without(secrets, raw.decode("utf-8", "surrogateescape"))
        return text.encode("utf-8", "surrogateescape")


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
    key = (api_key or "").strip()
    fields = [piece.partition("=") for piece in parts.query.split("&")]
    named = [value for name, _, value in fields if re.search(SECRET_NAMES, name, re.IGNORECASE)]
    long = [one for name, _, value in fields if len(one := value or name) >= SHORTEST_KEY]
    return Address(
        base=urlunsplit((parts.scheme, host.lower(), path or "/v1", "", "")),
        query=f"?{parts.query}" if parts.query else "",
        authorization=_authorization(key, unquote(login)),
        secrets=_forms(key, *_of_login(login), *named),
        unshown=_forms(parts.query, *long),
    )


def one_line(text: str, most: int = 300) -> str:
    """What a server says, as a line that can be printed."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in text[:4000]).split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _of_login(login: str) -> tuple[str, ...]:
    """What of a login as it stands in a URL is secret: a name alone may be a token."""
    name, _, password = login.partition(":")
    coded = b64encode(unquote(login).encode()).decode()
    return (password or (name if len(name) >= SHORTEST_KEY else ""), coded)


def _forms(*secrets: str) -> tuple[str, ...]:
    """Each as it is, as it stands in a URL, and as it was before that; the longest first."""
    plain = {one for secret in secrets for one in (secret, unquote(secret), unquote_plus(secret))}
    coded = {one for secret in plain for one in (quote(secret, safe=""), quote_plus(secret))}
    return tuple(sorted((plain | coded) - {""}, key=lambda one: (-len(one), one)))


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        text = _spelt(secret).sub("[key]", text)
    return text


@lru_cache(maxsize=256)
def _spelt(secret: str) -> re.Pattern[str]:
    r"""The secret as JSON may spell it, however often quoted: `/` as `\/`, `+` as `\u002b`."""
    letters = "".join(map(_letter, secret))
    if not (secret[0].isascii() and secret[0].isalnum()):
        # It may be escaped: a row of backslashes is one place to look, not as many as it is long.
        letters = rf"(?<!\\){letters}"
    return re.compile(letters)


def _letter(one: str) -> str:
    if one.isascii() and one.isalnum():
        return one
    units = one.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    coded = "".join(rf"\\+u(?i:{unit})" for unit in units)
    return rf"(?:\\*{re.escape(one)}|{coded})"


def _authorization(key: str, login: str) -> str | None:
    if key:
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise SettingsError("The API key holds characters that no key has: copy it again.")
        return f"Bearer {key}"
    return f"Basic {b64encode(login.encode()).decode()}" if login else None
