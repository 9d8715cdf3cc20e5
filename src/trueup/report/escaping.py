"""Text of models and users inside Markdown, where it can do nothing.

    cell("a | b\\n<script>")         # one line of a table, nothing of it markup
    fence("```\\n# not a heading")    # a block with a fence longer than any in it

Replies, queries and proposed instructions are untrusted: one that holds a table's bar, a heading, a
link or the end of a code block must look like that and change nothing around it. In a template,
whatever is put in is escaped as a cell unless it is `Safe`, so nothing can be forgotten.
"""

from __future__ import annotations

import re

LONGEST_CELL = 300


class Safe(str):
    """Markdown of our own making: put in as it is."""

    __slots__ = ()


def cell(text: object, longest: int = LONGEST_CELL) -> Safe:
    """One line that no Markdown reader takes for markup, shortened."""
    line = " ".join(printable(str(text)).split())
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]#|~!$])", r"\\\1", line)
    # A bare address becomes a link in many readers, and "1." or "-" a list.
    line = line.replace("://", ":&#47;&#47;").replace("@", "&#64;")
    return Safe(re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", re.sub(r"^([-+=])", r"\\\1", line)))


def fence(text: object) -> Safe:
    """A block of code that holds the text as it is."""
    body = printable(str(text))
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    bars = "`" * max(3, longest + 1)
    return Safe(f"{bars}text\n{body}\n{bars}")


def printable(text: str) -> str:
    """The text without control characters: a terminal or a reader might obey them."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = (c if c in "\n\t" or not _is_control(c) else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(kept)


def _is_control(character: str) -> bool:
    code = ord(character)
    # C0, DEL and C1; line separators; marks that reverse the order of what follows; surrogates.
    return (
        code < 0x20
        or 0x7F <= code < 0xA0
        or code in (0x061C, 0x200E, 0x200F, 0x2028, 0x2029)
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xD800 <= code <= 0xDFFF
    )
