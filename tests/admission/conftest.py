"""The counters' server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.valkey import running_valkey


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncGenerator[Redis, None]:
    async with running_valkey(tmp_path) as redis:
        yield redis
