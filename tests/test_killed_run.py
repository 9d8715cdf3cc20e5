"""A run that is killed again and again ends as if it had not been, and pays nothing twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.models.fake_server import FakeServer
from tests.playing import data_file, pool_file, served
from trueup.store.calls import Calls

KILLS = int(os.environ.get("TRUEUP_KILLS", "4"))
IN_FLIGHT = 16


def started(folder: Path, url: str) -> subprocess.Popen[bytes]:
    source = str(Path(__file__).parents[1] / "src")
    arguments = [
        "align", "--policy", f"endpoint:{url}#fake", "--judge", "checks", "--writer", "none",
        "--data", data_file(folder.parent), "--demonstrations", pool_file(folder.parent),
        "--calls", "60", "--held-out", "16", "--out", "run",
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "trueup", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": source},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def asked(server: FakeServer) -> Counter[str]:
    return Counter(str(body) for body in server.bodies())


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    with served() as server:
        assert started(whole, server.url).wait(60) == 0
        clean = asked(server)
        port = server.port
    chance = random.Random(0)
    # The same address, since a model's name is part of what is written down.
    with served(delay=0.02, port=port) as server:
        for _ in range(KILLS):
            process = started(cut, server.url)
            until = len(server.seen) + chance.randrange(1, 30)
            while process.poll() is None and len(server.seen) < until:
                time.sleep(0.005)
            process.kill()
            process.wait()
        assert started(cut, server.url).wait(60) == 0
        paid = asked(server)
    assert (cut / "run" / "aligned.toml").read_bytes() == (
        whole / "run" / "aligned.toml"
    ).read_bytes()
    assert paid.keys() == clean.keys()
    # Only what was on its way when the process died can have been asked for again.
    assert paid.total() - len(paid) <= KILLS * IN_FLIGHT
    with Calls(cut / "run" / "calls.sqlite", read_only=True) as calls:
        assert sum(cost.calls_paid for cost in calls.ledger().file.values()) == len(clean)
