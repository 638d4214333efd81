"""The counters' server: the operator's own, or a child of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from serving.admission.valkey import connect, connect_url, valkey_command, valkey_socket
from serving.errors import StartupError
from serving.settings import Settings
from serving.supervision.supervisor import Supervisor

_START_SECONDS = 20.0


@asynccontextmanager
async def open_valkey(settings: Settings) -> AsyncGenerator[Redis, None]:
    """A client of it, while the block runs.

    Raises:
        StartupError: it does not answer.
    """
    if settings.redis_url is not None:
        redis = connect_url(settings.redis_url)
        try:
            await _answering(redis, "the server of BULKHEAD_REDIS_URL")
            yield redis
        finally:
            await redis.aclose()
        return
    run, log = settings.data_dir / "run", settings.data_dir / "logs" / "valkey.log"
    socket = valkey_socket(run)
    supervisor = Supervisor("valkey", lambda: valkey_command(run, socket), log)
    supervisor.start()
    redis = connect(socket)
    try:
        await _answering(redis, f"Valkey (its log: {log})")
        yield redis
    finally:
        await redis.aclose()
        await supervisor.close()


async def _answering(redis: Redis, name: str) -> None:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not await _pings(redis):  # noqa: ASYNC110 - it can only be asked
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise StartupError(f"There is no answer from {name}.") from None


async def _pings(redis: Redis) -> bool:
    try:
        return bool(await redis.ping())
    except RedisError:
        return False
