"""What the tests of models have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .fake_server import FakeServer


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as fake:
        yield fake
