"""The HTTP server: uvicorn on sockets that were opened before anything slow began."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from serving.errors import StartupError

_FAREWELL_SECONDS = 10


def listen(host: str, port: int) -> socket.socket:
    """The listening TCP socket.

    Raises:
        StartupError: the port is taken, or not allowed.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartupError(
                f"Port {port} is taken. Stop what uses it, or set BULKHEAD_PORT to another one."
            ) from None
        raise StartupError(f"{host}:{port} cannot be listened on: {error.strerror}.") from None


def listen_unix(path: Path) -> socket.socket:
    """The command line's socket, for this user alone. Its folder is private already."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(128)
    return listener


class Server(uvicorn.Server):
    """Serves until SIGINT or SIGTERM, and then returns: the parts are closed after it.

    uvicorn would raise the signal again when it has served, and end the process before that.
    """

    def __init__(self, app: ASGIApp, sockets: Sequence[socket.socket]) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            http="httptools",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_FAREWELL_SECONDS,
        )
        super().__init__(config)
        self._sockets = list(sockets)

    async def run_here(self) -> None:
        """Serve on the running loop."""
        await self.serve(sockets=self._sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.should_exit = True
