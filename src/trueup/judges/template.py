"""Wording with slots, filled in one pass; and fences around text nobody vouches for.

    template = Template.from_file("score.txt", beside=__file__)      # wording/score.txt
    messages = template.messages(rubric=rubric, **fenced(query=query.text, reply=reply))

A wording file holds `{{slot}}` placeholders and, where it is a conversation, lines `[system]` and
`[user]` that open its turns. Both are looked for in the file alone: a value is never read as a
template, so a reply that contains `{{query}}` or `[system]` puts these characters in front of the
model and does nothing else.

A fence tells the model where untrusted text begins and ends:

    BEGIN REPLY bavotikunemagosi
    ... whatever the policy wrote ...
    END REPLY bavotikunemagosi

The code must be the same whenever the same request is built, or a stored reply would not be found
again, and yet the author of the text must not be able to write the closing line. Both hold when
the code is a hash of the text itself: to close the fence a text would have to contain its own hash,
and should one ever do so, another salt is taken. Codes chain: the second text's code
depends on the first text too, not the other way round, so that the fenced query is the same
characters for every reply to it and a server can reuse its work on them.

Rules go before the fences and name no code, so the beginning of a prompt stays constant. A fence is
a convention the model may ignore; what is certain is only that the text cannot close it, cannot
pose as another turn by way of chat control tokens, and is never parsed for a verdict.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from trueup.errors import SettingsError
from trueup.types import Message, Role

_SLOT = re.compile(r"\{\{([a-z][a-z0-9_]*)\}\}")
_TURN = re.compile(r"^\[(system|user|assistant)\][ \t]*$", re.MULTILINE)

_CONSONANTS, _VOWELS = "bdfghklmnprstvwxz", "aeiou"
_SYLLABLES = 8
"""Of a code: 85**8 are 51 bits. Syllables are half as many tokens as digits that say as much, and
every judgement pays for four codes."""

_MARKER = re.compile(
    rf"\b(BEGIN|END)([ \t_-]+[A-Z]+){{0,3}}[ \t_-]+"
    rf"(?:(?:[{_CONSONANTS}][{_VOWELS}]){{{_SYLLABLES - 2},}}|[0-9A-F]{{12,}})\b",
    re.IGNORECASE,
)
"""What a fence's line looks like, whatever its code: no text needs it, so none keeps it."""

_CONTROL = re.compile(
    r"<[|｜][^<>\n]{1,40}[|｜]>|</?s>|\[/?(?:INST|SYSTEM_PROMPT)\]|<</?SYS>>|<(?:start|end)_of_turn>"
)
"""Tokens that open and close turns in common chat templates. Servers read them as control tokens
even inside a message, so an untouched one would really end the turn."""


_LIKE = str.maketrans({"ſ": "s", "ı": "i", "İ": "i"})
"""The letters besides capitals and the Kelvin sign that `re.IGNORECASE` takes for others."""


@dataclass(frozen=True, slots=True)
class Template:
    """A wording with `{{slot}}` placeholders."""

    name: str
    """What to call it in errors: its file's name."""
    text: str

    def __post_init__(self) -> None:
        if "{{" in _SLOT.sub("", self.text):
            raise SettingsError(
                f"The wording {self.name!r} has a '{{{{' that opens no slot. "
                "Write slots as {{name}}: lower-case letters, digits and underscores."
            )

    @classmethod
    def from_file(cls, name: str, beside: str | Path = __file__) -> Template:
        """Read `wording/<name>` in the folder of the module `beside`. Raises `SettingsError`."""
        path = Path(beside).parent / "wording" / name
        try:
            return cls(name, path.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"The wording {path} cannot be read ({error}). Reinstall the package."
            ) from error

    @classmethod
    def lines_from_file(cls, name: str, beside: str | Path = __file__) -> tuple[Template, ...]:
        """Each line of `wording/<name>` as a template: several phrasings of one question."""
        lines = cls.from_file(name, beside).text.splitlines()
        return tuple(cls(f"{name}:{at}", line) for at, line in enumerate(lines, 1) if line)

    @property
    def slots(self) -> frozenset[str]:
        """The names that `fill` asks for."""
        return frozenset(_SLOT.findall(self.text))

    def fill(self, **values: str) -> str:
        """The text with every slot filled, in one pass.

        Raises `SettingsError` when a slot is missing or a value has no slot.
        """
        self._check(values)
        return _SLOT.sub(lambda found: values[found[1]], self.text)

    def messages(self, **values: str) -> tuple[Message, ...]:
        """The conversation with every slot filled; without turn lines it is one user's turn.

        Raises `SettingsError` when a slot is missing or a value has no slot.
        """
        self._check(values)
        # The template is cut into turns before anything is filled in.
        head, *rest = _TURN.split(self.text)
        turns = [("user", head)] if head.strip() else []
        turns += zip(rest[::2], rest[1::2], strict=True)
        return tuple(
            Message(cast(Role, role), _SLOT.sub(lambda found: values[found[1]], text.strip()))
            for role, text in turns
        )

    def _check(self, values: dict[str, str]) -> None:
        missing = sorted(self.slots - values.keys())
        unknown = sorted(values.keys() - self.slots)
        if missing or unknown:
            raise SettingsError(
                f"The wording {self.name!r} has the slots {sorted(self.slots)}: "
                f"missing {missing}, unknown {unknown}. Fill each slot once."
            )


def fenced(**texts: str) -> dict[str, str]:
    """Each text between marker lines named for its keyword, in the order given.

        fenced(query="Hello", reply="Hi")  # {"query": "BEGIN QUERY ...", "reply": "BEGIN ..."}

    A text's code depends on itself and on the texts before it, and occurs in none of the texts.
    """
    codes: list[str] = []
    before: list[str] = []
    for text in texts.values():
        before.append(text)
        codes.append(nonce_for(before))
    return {
        name: fence(text, code, name, others=codes)
        for (name, text), code in zip(texts.items(), codes, strict=True)
    }


def nonce_for(texts: Iterable[str]) -> str:
    """Eight syllables decided by the texts and contained in none of them."""
    texts = [text.casefold() for text in texts]
    for salt in range(1000):  # a second turn is already a chance of one in 2**51 per place
        tally = hashlib.sha256(f"trueup/fence/1/{salt}".encode())
        for text in texts:
            content = text.encode("utf-8", "surrogatepass")
            tally.update(f"\n{len(content)}\n".encode() + content)
        nonce = _spelled(int.from_bytes(tally.digest(), "big"))
        if not any(nonce in text for text in texts):
            return nonce
    raise SettingsError("No fence code could be found for a text. Please report this text.")


def _spelled(number: int) -> str:
    letters = []
    for _ in range(_SYLLABLES):
        number, consonant = divmod(number, len(_CONSONANTS))
        number, vowel = divmod(number, len(_VOWELS))
        letters += [_CONSONANTS[consonant], _VOWELS[vowel]]
    return "".join(letters)


def fence(text: str, nonce: str, label: str = "text", *, others: Iterable[str] = ()) -> str:
    """The neutralised text between `BEGIN LABEL nonce` and `END LABEL nonce`."""
    label = label.upper().replace("_", " ")
    inside = neutralised(text, (nonce, *others))
    return f"BEGIN {label} {nonce}\n{inside}\nEND {label} {nonce}"


def neutralised(text: str, nonces: Iterable[str] = ()) -> str:
    """The text without fence codes, lines that look like a fence's, or chat control tokens.

    Control tokens are kept readable (`<|im_end|>` becomes `< |im_end| >`); the rest is replaced.
    """
    folded = _folded(text)
    for nonce in nonces:
        if nonce in folded:  # hardly ever, and a pattern takes longer to compile than all the rest
            text = re.sub(re.escape(nonce), "[code removed]", text, flags=re.IGNORECASE)
            folded = _folded(text)
    text = _MARKER.sub("[marker removed]", text)
    return _CONTROL.sub(lambda found: f"{found[0][0]} {found[0][1:-1]} {found[0][-1]}", text)


def _folded(text: str) -> str:
    """In small letters, as `re.IGNORECASE` takes them for the same."""
    return text.translate(_LIKE).lower()


def shortened(text: str, limit: int) -> str:
    """The text, or where it is longer than `limit` characters its beginning and its end.

    Two thirds of what is kept is the beginning; a note says how much was left out.
    """
    if len(text) <= limit:
        return text
    tail = limit // 3
    note = f"\n[... {len(text) - limit} characters left out ...]\n"
    return text[: limit - tail] + note + text[len(text) - tail :]
