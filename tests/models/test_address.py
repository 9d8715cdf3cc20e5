"""A key is taken out of what comes back, however it is spelt, and nothing else is."""

from __future__ import annotations

import html
import json
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.models.address import address

KEY = "AIza/SECRET+12=xyz&Q"
SERVER = address("http://host", KEY)


def small(text: str) -> str:
    return text.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d")


def units(text: str) -> str:
    return "".join(f"\\u{ord(one):04x}" for one in text)


def of_go(text: str) -> str:
    return html.escape(text).replace("+", "&#43;").replace("&", "\\u0026")


def in_base64(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "spell",
    [
        *(str, quote, html.escape, of_go, in_base64, units),
        lambda key: small(quote(key, safe="")),
        lambda key: "".join(f"%{ord(one):02x}" for one in key),
        lambda key: "".join(f"&#x{ord(one):x};" for one in key),
        lambda key: "".join(f"&#{ord(one)};" for one in key),
        lambda key: quote(quote(key, safe=""), safe=""),
        lambda key: html.escape(html.escape(key)),
        lambda key: key.replace("/", "&sol;").replace("+", "&plus;"),
        lambda key: key.replace("A", "\\u0041", 1),
        lambda key: key.replace("/", "\\/"),
        lambda key: urlsafe_b64encode(key.encode()).decode(),
    ],
)
def test_a_key_is_known_however_it_is_spelt(spell: Callable[[str], str]) -> None:
    answer = f'{{"text": "50% of \\"you\\", {spell(KEY)}, & more\\n"}}'
    found = json.loads(SERVER.without_key(answer.encode()))
    assert found == {"text": '50% of "you", [key], & more\n'}
    assert SERVER.redacted(f"you, {spell(KEY)}.") == "you, [key]."


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_key_is_known_inside_of_base64(before: str) -> None:
    found = SERVER.redacted(in_base64(f"{before}{KEY}:rest"))
    assert "[key]" in found
    assert len(found) < len(in_base64(before)) + len("[key]") + len(in_base64(":rest")) + 3


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_a_key_is_known_in_every_coding_that_json_has(coding: str) -> None:
    answer = json.dumps({"text": f"déjà {KEY}"}, ensure_ascii=False).encode(coding)
    assert json.loads(SERVER.without_key(answer)) == {"text": "déjà [key]"}


@given(
    st.text(), st.text(), st.sampled_from([KEY, 'pa"ss\\word', "pässwörd1", "pass\U0001f511word"])
)
def test_what_stays_is_the_same_json(before: str, after: str, key: str) -> None:
    server = address(f"http://me:{quote(key, safe='')}@host")
    for whole in (True, False):
        answer = json.dumps([before, f" {key} ", after], ensure_ascii=whole).encode(
            "utf-8", "surrogatepass"
        )
        assert json.loads(server.without_key(answer)) == [before, " [key] ", after]


def test_what_holds_no_key_is_not_touched() -> None:
    answer = rb'{"text": "100%41 &amp; \u0026amp; \\/ \/ \u0041 AIza/SECRET+12=xyz&q"}'
    assert SERVER.without_key(answer) == answer


def test_a_row_of_backslashes_is_one_place_to_look() -> None:
    server = address("http://me:" + quote("ab\\\\/xyz12", safe="") + "@host")
    began = time.process_time()
    assert b"xyz12" not in server.without_key(b"ab" + b"\\" * 1_000_000 + b"/xyz12 ")
    assert time.process_time() - began < 1
