"""A search through a proxy that breaks 30% of the answers ends with the same prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.fake_server import FakeServer

from .proxy import FAULTS, STRANGE, FaultProxy, jumping_clock
from .world import deterministic, search


@pytest.mark.parametrize("judged_by", ["dynamic", "likelihood"])
async def test_the_same_prompt_for_few_more_calls(tmp_path: Path, judged_by: str) -> None:
    async with FakeServer() as server:
        deterministic(server)
        found, calls = [], []
        for rate, seed in ((0.0, 0), (0.3, 1)):
            folder = tmp_path / f"{rate}-{seed}"
            folder.mkdir()
            async with FaultProxy(server.url, rate=rate, seed=seed) as proxy:
                with jumping_clock(seed):
                    found.append(
                        await search(proxy.url, folder, judged_by=judged_by, calls=60, timeout=1)
                    )
            calls.append(proxy.calls)
            assert set(proxy.whole.values()) == {1}, "no whole answer is asked for again"
    assert found[1] == found[0]
    assert calls[1] <= 1.6 * calls[0]
    seen = set(proxy.faults)
    assert len(seen) >= len(FAULTS) + len(STRANGE) - 4
    assert ("NaN" in seen) == (judged_by == "likelihood")
