"""A Valkey of one test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from serving.admission.valkey import connect, valkey_command, valkey_socket
from serving.supervision.process import GuardedProcess


@asynccontextmanager
async def running_valkey(folder: Path) -> AsyncGenerator[Redis, None]:
    """A client of it, while the block runs."""
    socket = valkey_socket(folder)
    process = await GuardedProcess.start(
        valkey_command(folder, socket), log=folder / "log", grace=1.0
    )
    async with asyncio.timeout(30):
        while not socket.exists():
            await asyncio.sleep(0.01)
    redis = connect(socket)
    yield redis
    await redis.aclose()
    await process.stop()
