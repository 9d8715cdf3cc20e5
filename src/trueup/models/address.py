"""Where a server is and what proves who we are: a URL and a key that never shows itself.

    server = address("https://me:secret@host/v1/?team=7", api_key="sk-...")
    str(server)                     # "https://host/v1"
    server.url("models")            # "https://host/v1/models?team=7"
    server.redacted("bad sk-...")   # "bad [key]"

The base URL may come with or without /v1, with or without the last step of the path. Its login
and its query are kept out of everything that is shown or stored. It opens no connection.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html.entities import html5
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
    """What lets us in, in all forms in which it may be quoted once unescaped, the longest first."""
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
        if not (needles := _needles(self.secrets)):
            return raw
        if not (coding := json.detect_encoding(raw)).startswith("utf-8"):
            raw = raw.decode(coding, "replace").encode()
        # Most answers hold no key, and every one comes by here.
        if not any(map(raw.__contains__, needles)) and not any(one.search(raw) for one in _ESCAPED):
            return raw
        text = _without(_long(self.secrets), raw.decode("utf-8", "surrogateescape"))
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
    """Each as it is, as it stands in a URL, as it was before that, and in base64; without escapes
    too."""
    plain = {one for secret in secrets for one in (secret, unquote(secret), unquote_plus(secret))}
    coded = {one for secret in plain for one in (quote(secret), quote_plus(secret), _units(secret))}
    bare = {_bare(one) for one in plain | coded}
    in_base64 = {one for secret in _long(plain) for one in _base64(secret.encode())}
    return tuple(sorted((plain | bare | in_base64) - {""}, key=lambda one: (-len(one), one)))


def _long(secrets: Iterable[str]) -> tuple[str, ...]:
    return tuple(secret for secret in secrets if len(secret) >= SHORTEST_KEY)


def _units(text: str) -> str:
    """The text as JSON escapes it: what is beyond 16 bits in two parts."""
    raw = text.encode("utf-16-be", "surrogatepass")
    return "".join(chr(high << 8 | low) for high, low in zip(raw[::2], raw[1::2], strict=True))


def _base64(secret: bytes) -> Iterator[str]:
    """What base64 makes of it, by itself and wherever in a longer text it stands."""
    for code in (b64encode, urlsafe_b64encode):
        yield code(secret).decode()
        for before in range(3):
            # Of a letter that holds bits of a neighbour as well nothing is known.
            first, last = -(-before * 4 // 3), (before + len(secret)) * 4 // 3
            yield code(bytes(before) + secret).decode()[first:last]


_ESCAPE = re.compile(
    r"(?:%|\\+u0025)(?:25)*([0-9a-f]{2})"
    r"|(?:&|\\+u0026)(?:amp;)*(?:#0*(\d{1,7})|#x0*([0-9a-f]{1,6})|([a-z]{2,31}\d*));"
    r"|\\+(?:u([0-9a-f]{4}))?",
    re.IGNORECASE,
)
"""One letter in a URL, in HTML or in JSON, however often quoted; backslashes alone mean nothing.
A row of them is one place to look, not as many as it is long."""
_ESCAPED = (
    re.compile(rb"""\\(?:[^a-zA-Z0-9"\\]|u0026[#a-zA-Z]|u00(?!26|27|3[cCeE])[2-7])"""),
    re.compile(rb"%[0-9a-fA-F]{2}"),
    re.compile(rb"&[#a-zA-Z]\w*;"),
)
"""What may stand for a letter of most keys in JSON. Some servers escape `<`, `>`, `&` and `'`."""
_UNUSUAL = re.compile(r"""[<>'"\\]|[^\0-\x7f]""")


def _bare(text: str) -> str:
    """The text without escapes."""
    return _ESCAPE.sub(_meant, text)


def _meant(escape: re.Match[str]) -> str:
    if (kind := escape.lastindex) is None:
        return ""
    if kind == 4:
        return html5.get(f"{escape[kind]};", escape[0])
    code = int(escape[kind], 10 if kind == 2 else 16)
    return chr(code) if code < 0x110000 else ""


@lru_cache(maxsize=256)
def _needles(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """Of what is no key but by chance, nothing. What no answer is without that holds a key and
    does not escape it."""
    long = _long(secrets)
    if any(map(_UNUSUAL.search, long)):
        return (b"",)
    shortest = [one for one in long if not any(two in one for two in long if two != one)]
    return tuple(one.encode() for one in shortest)


def _without(secrets: Iterable[str], text: str) -> str:
    bare = _bare(text)
    found = [re.escape(secret) for secret in secrets if secret in bare]
    if not found:
        return text
    spans = [hit.span() for hit in re.finditer("|".join(found), bare)]
    places = _places(text, [number for span in spans for number in span])
    # Between the hits, so that what stays keeps its escapes.
    starts, ends = [*places[::2], len(text)], [0, *places[1::2]]
    return "[key]".join(text[end:start] for end, start in zip(ends, starts, strict=True))


def _places(text: str, numbers: Sequence[int]) -> list[int]:
    """Where in the text those letters are that have these numbers, rising, without escapes."""
    places: list[int] = []
    letters = at = 0
    for escape in _ESCAPE.finditer(text):
        until = letters + escape.start() - at
        while len(places) < len(numbers) and numbers[len(places)] <= until:
            places.append(at + numbers[len(places)] - letters)
        letters, at = until + len(_meant(escape)), escape.end()
    return places + [at + number - letters for number in numbers[len(places) :]]


def _authorization(key: str, login: str) -> str | None:
    if key:
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise SettingsError("The API key holds characters that no key has: copy it again.")
        return f"Bearer {key}"
    return f"Basic {b64encode(login.encode()).decode()}" if login else None
