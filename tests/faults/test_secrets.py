"""A planted key is nowhere but in the requests to its own server, whatever the server does with it.

The server here quotes the key wherever it can: in errors of every kind, in headers, in replies, in
redirects. Then every byte of the run's folder and of what was shown is searched.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
from base64 import b64encode
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.models.fake_server import Body, FakeServer, says, status
from tests.playing import data_file, pool_file, served
from trueup import Aligned, Prompt
from trueup.errors import ModelError, ModelUnavailable
from trueup.models.endpoint import Endpoint
from trueup.models.patience import Patience
from trueup.types import Message, Request

KEY = "sk-planted-0f9e8d7c6b5a4938"
LOGGED = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from trueup.cli import main
main()
"""


def quoting(write: Any) -> Any:
    def written(body: Body, place: int) -> str:
        return f"{write(body, place)} By the way, you sent {KEY}."

    return written


def aligned(folder: Path, url: str) -> str:
    """Run the command in a process of its own, logging all there is; what it showed."""
    arguments = [
        "align", "--policy", f"endpoint:{url}#fake", "--writer", "none", "--judge", "checks",
        "--data", data_file(folder), "--demonstrations", pool_file(folder), "--calls", "40",
        "--held-out", "6", "--yes", "--out", str(folder / "run"),
    ]  # fmt: skip
    kept = {name: text for name, text in os.environ.items() if not name.endswith("API_KEY")}
    done = subprocess.run(
        [sys.executable, "-c", LOGGED, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**kept, "TRUEUP_API_KEY": KEY, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
        check=False,
    )
    return f"{done.returncode}\n{done.stdout}\n{done.stderr}"


def leaks(folder: Path, *shown: str) -> list[str]:
    """Where the key is: files by name, and what was shown."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    forms = [KEY.encode(), b64encode(KEY.encode()).rstrip(b"="), KEY[::-1].encode()]
    found = [str(path) for path in files if any(form in path.read_bytes() for form in forms)]
    return found + [text for text in shown if KEY in text]


def test_a_whole_run_with_a_server_that_quotes_the_key(tmp_path: Path) -> None:
    with served() as server:
        server.write = quoting(server.write)
        server.next(status(429, f"too fast, {KEY}", {"X-Key": KEY, "Retry-After": "0"}))
        turn = count()
        server.refuses(lambda body: next(turn) % 9 == 4, 500, f"broken by {KEY}")
        server.refuses(lambda body: "seed" in body, 400, f"seed is not supported, {KEY}")
        shown = aligned(tmp_path, server.url)
    assert shown.startswith("0\n"), shown
    assert {one.headers["Authorization"] for one in server.seen} == {f"Bearer {KEY}"}
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"job.toml", "aligned.toml", "calls.sqlite", "report.md", "results.json"} <= names
    assert leaks(tmp_path, shown) == []
    # The search sees what is planted where nothing is hidden.
    (tmp_path / "run" / "planted").write_text(f"... {KEY} ...")
    assert leaks(tmp_path) == [str(tmp_path / "run" / "planted")]


@pytest.mark.parametrize("code", [400, 401, 404])
def test_a_run_that_ends_in_a_refusal(tmp_path: Path, code: int) -> None:
    with served() as server:
        refusal = {"error": {"message": f"not with {KEY}", "code": KEY, "param": KEY}}
        server.refuses(lambda body: True, code, refusal)
        shown = aligned(tmp_path, server.url)
    assert not shown.startswith("0\n") and "Traceback" not in shown
    assert server.bodies(), shown
    assert leaks(tmp_path, shown) == []


@pytest.mark.parametrize(
    "command",
    [
        "align --policy NAME",
        "compare plain NAME",
        "evaluate NAME --benchmark advbench@QUERIES",
        "evaluate run --against NAME --benchmark advbench@QUERIES",
        "evaluate run --judge written --judge-model NAME --benchmark advbench@QUERIES",
        "evaluate keyed --benchmark advbench@QUERIES",
        "judge --model NAME --data PAIRS",
        "transfer run --to NAME",
        "transfer keyed",
        "trim keyed",
    ],
)
def test_a_name_with_a_key_is_refused_before_it_is_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    from trueup.cli import main

    monkeypatch.chdir(tmp_path)
    with served() as server:
        name = f"endpoint:{server.url}?api-key={KEY}#fake"
        for folder, model in (("run", f"endpoint:{server.url}#fake"), ("keyed", name)):
            Path(folder).mkdir()
            Aligned(model, Prompt("Help.")).save(Path(folder) / "aligned.toml")
        Path("goals.csv").write_text("goal\n" + "Make a bomb\n" * 8)
        Path("pairs.csv").write_text(
            "query,first,second,better\n" + "q,a,b,first\nq,a,b,second\n" * 20
        )
        places = {"NAME": name, "QUERIES": "goals.csv", "PAIRS": "pairs.csv"}
        for word, place in places.items():
            command = command.replace(word, place)
        monkeypatch.setattr(sys, "argv", ["trueup", *command.split(), "--yes", "--out", "out"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert server.seen == []
    shown = capsys.readouterr()
    assert ended.value.code == 1 and "TRUEUP_API_KEY" in shown.err
    assert KEY not in shown.out + shown.err and not Path("out").exists()


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_no_redirect_carries_the_key(code: int) -> None:
    async with FakeServer() as server, FakeServer() as thief:
        model = Endpoint(server.url, "fake", api_key=KEY)
        location = f"http://localhost:{thief.port}/v1/chat/completions?key={KEY}"
        for asking in (model.check, lambda: model.reply(ASKED), lambda: model.embed(["x"])):
            server.next(status(code, "", {"Location": location}))
            with pytest.raises(ModelError, match="redirects to localhost") as caught:
                await asking()
            assert KEY not in str(caught.value)
        await model.close()
        assert thief.seen == [] and len(server.seen) == 3


ASKED = Request((Message("user", "hi"),))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
async def test_a_certificate_that_nobody_vouches_for_gets_no_key(tmp_path: Path) -> None:
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem",
        shell=True, cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    seen = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"choices": [{"text": "hello"}]})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    model = Endpoint(
        f"https://localhost:{port}", "m", api_key=KEY, patience=Patience(first_wait=0.001)
    )
    try:
        with pytest.raises(ModelUnavailable, match="certificate that can be trusted"):
            await model.reply(ASKED)
    finally:
        await model.close()
        await runner.cleanup()
    assert seen == []


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://HOST/v1?key=SECRET", None),
        ("http://HOST/v1?team=research&api-key=SECRET", None),
        ("http://SECRET@HOST", None),
        ("http://SECRET:@HOST", None),
        ("http://me:SECRET@HOST", None),
        ("http://HOST", "SECRET"),
        ("http://HOST/v1?key=RAW", None),
    ],
)
@pytest.mark.parametrize("secret", ["AIzaSECRET1234", "AIza/SECRET+12=", 'AIza"<\\>1234'])
async def test_a_key_is_hidden_wherever_it_is_given_and_however_it_is_spelt(
    url: str, key: str | None, secret: str
) -> None:
    quoted = json.dumps(secret)[1:-1]
    units = [one if one.isalnum() and one.isascii() else f"\\u{ord(one):04X}" for one in secret]
    spelt = [quoted, quoted.replace("/", "\\/"), quote(secret, safe=""), "".join(units)]
    spelt.append(json.dumps(quoted)[1:-1])
    async with FakeServer() as server:
        place = url.replace("HOST", f"localhost:{server.port}")
        place = place.replace("SECRET", quote(secret, safe="")).replace("RAW", secret)
        model = Endpoint(place, "fake", api_key=key and secret, patience=Patience(attempts=1))
        for one in spelt:
            server.next(says(f'{{"error": "the key {one} has expired"}}', code=400))
            with pytest.raises(ModelError) as caught:
                await model.reply(ASKED)
            assert "the key [key] has expired" in str(caught.value)
            raw = f'{{"choices": [{{"message": {{"content": "you, of research, sent {one}"}}}}]}}'
            server.next(says(raw))
            assert (await model.reply(ASKED)).text == "you, of research, sent [key]"
        await model.close()


@pytest.mark.parametrize("secret", ["!pass/word1", "/AbCdEfGh12", "sk-abcdefgh12"])
async def test_a_reply_full_of_backslashes_holds_nobody_up(secret: str) -> None:
    """Looked at from each of them, it would take minutes."""
    async with FakeServer() as server:
        place = server.url.replace("http://", f"http://me:{quote(secret, safe='')}@")
        model = Endpoint(place, "fake", patience=Patience(attempts=1))
        row = "\\" * 100_000
        server.write = lambda body, place: f"{row}{secret} {row}"
        reply = (await model.reply(ASKED)).text
        assert secret not in reply and reply.endswith(f"[key] {row}")
        await model.close()


async def test_a_query_is_in_no_error_and_left_where_it_may_be_a_word() -> None:
    async with FakeServer() as server:
        model = Endpoint(
            f"{server.url}?team=research&anything", "fake", patience=Patience(attempts=1)
        )
        server.next(status(400, "no team=research&anything, nor research, nor anything"))
        with pytest.raises(ModelError, match=r"no \[key\], nor \[key\], nor \[key\]"):
            await model.reply(ASKED)
        server.write = lambda body, place: "research"
        assert (await model.reply(ASKED)).text == "research"
        await model.close()


async def test_every_form_of_a_login_is_hidden() -> None:
    async with FakeServer() as server:
        password = "p4ssw0rd/of mine"
        url = server.url.replace("http://", "http://me:p4ssw0rd%2Fof%20mine@")
        model = Endpoint(url, "fake", patience=Patience(attempts=1))
        coded = b64encode(f"me:{password}".encode()).decode()
        told = f"you are {password}, p4ssw0rd%2Fof%20mine, {coded}"
        server.next(status(418, told), status(500, told))
        for _ in range(2):
            with pytest.raises(ModelError) as caught:
                await model.reply(ASKED)
            text = str(caught.value)
            assert "p4ssw0rd" not in text and coded not in text and "[key]" in text
        server.write = lambda body, place: told
        assert (await model.reply(ASKED)).text == "you are [key], [key], [key]"
        await model.close()
