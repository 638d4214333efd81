"""The counters' server: the operator's own, or a child of this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from serving.admission.valkey import (
    Counters,
    answering,
    connect,
    connect_url,
    valkey_command,
    valkey_socket,
)
from serving.settings import Settings
from serving.supervision.supervisor import Supervisor


@asynccontextmanager
async def open_valkey(settings: Settings) -> AsyncGenerator[Counters, None]:
    """A client of it, while the block runs.

    Raises:
        StartupError: it does not answer.
    """
    if settings.redis_url is not None:
        redis = connect_url(settings.redis_url)
        try:
            await answering(redis, "the server of BULKHEAD_REDIS_URL")
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
        await answering(redis, f"Valkey (its log: {log})")
        yield redis
    finally:
        await redis.aclose()
        await supervisor.close()
