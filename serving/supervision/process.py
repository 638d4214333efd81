"""A child process that cannot outlive this one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.supervision import guard


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. Secrets go into `env`, which is never printed, and never into `argv`."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)


class GuardedProcess:
    """A command under `serving.supervision.guard`.

    This process holds the write end of the guard's leash. The descriptor is close-on-exec: other
    children do not inherit it, else they would keep the command alive after this process died.
    """

    def __init__(self, popen: subprocess.Popen[bytes], leash: int) -> None:
        self._popen = popen
        self._leash: int | None = leash
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(popen.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @classmethod
    async def start(
        cls, command: Command, *, log: Path, grace: float = guard.DEFAULT_GRACE
    ) -> GuardedProcess:
        """Starts `command`; its output is appended to `log`, which only the owner may read.

        Standard input is empty and the environment is exactly `command.env`. A command that
        cannot be run ends with status 127 and a line in the log. `grace` is in seconds.
        """
        reading, writing = os.pipe()
        output = _open_log(log)
        own = (sys.executable, "-I", "-S", guard.__file__, "--grace", str(grace), "--")
        try:
            popen = subprocess.Popen(  # noqa: ASYNC220 - returns at once; nothing to wait for
                [*own, *command.argv],
                env=dict(command.env),
                stdin=reading,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C at the terminal is for this process alone
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
            os.close(output)
        return cls(popen, writing)

    @property
    def pid(self) -> int:
        """The guard's id; the command is its child."""
        return self._popen.pid

    @property
    def exited(self) -> bool:
        """Whether nothing of the command is left."""
        return self._exited.done()

    async def wait(self) -> int:
        """The command's exit status (128 + n for signal n), once nothing of it is left."""
        return await asyncio.shield(self._exited)

    async def stop(self) -> int:
        """Ends the command with all its descendants. May be called again, and after its end.

        Being cancelled does not undo it: the leash is let go before anything is awaited.
        """
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None
        return await self.wait()

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._popen.wait()
        self._exited.set_result(code if code >= 0 else 128 - code)


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)  # one that was there before may have had another mode
    return descriptor
