"""A Valkey of one test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from serving.admission.valkey import connect, valkey_command, valkey_socket
from serving.supervision.process import GuardedProcess


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncGenerator[Redis, None]:
    socket = valkey_socket(tmp_path)
    process = await GuardedProcess.start(
        valkey_command(tmp_path, socket), log=tmp_path / "log", grace=1.0
    )
    async with asyncio.timeout(30):
        while not socket.exists():
            await asyncio.sleep(0.01)
    redis = connect(socket)
    yield redis
    await redis.aclose()
    await process.stop()
