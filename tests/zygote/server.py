"""`python server.py LISTENING KIND`: forks processes from one that has loaded what they load.

Loads nothing before it is asked for the first time. Ends when its standard input does, and its
forks with it. A fork has the environment that was asked for; whoever asks for one that would have
it loaded otherwise is declined.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

_LEASH = 0


class Zygote:
    """Serves one request after the other; waits for its forks meanwhile."""

    def __init__(self, listening: socket.socket, kind: Any) -> None:
        self._listening = listening
        self._kind = kind
        self._loaded: dict[str, str] | None = None
        self._forks: dict[int, socket.socket] = {}
        self._wakeups, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Until the leash is let go."""
        while True:
            pids = {sock.fileno(): pid for pid, sock in self._forks.items()}
            ready, _, _ = select.select([_LEASH, self._wakeups, self._listening, *pids], [], [])
            if _LEASH in ready:
                for pid in self._forks:
                    _kill(pid, signal.SIGKILL)
                return
            for number in pids.keys() & set(ready):
                self._told(pids[number])
            if self._wakeups in ready:
                os.read(self._wakeups, 512)
                self._reap()
            if self._listening in ready:
                self._answer(self._listening.accept()[0])

    def _told(self, pid: int) -> None:
        """Whoever asked passes a SIGTERM on, or is gone."""
        said = b""
        with suppress(OSError):
            said = self._forks[pid].recv(1)
        _kill(pid, signal.SIGTERM if said == b"T" else signal.SIGKILL)
        if not said:
            self._forks.pop(pid).close()

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                _kill(ended[0], signal.SIGKILL)  # what it left
                if (asking := self._forks.pop(ended[0], None)) is not None:
                    code = os.waitstatus_to_exitcode(ended[1])
                    with asking, suppress(OSError):
                        asking.send(bytes([code if code >= 0 else 128 - code]))

    def _answer(self, asking: socket.socket) -> None:
        length, streams, _, _ = socket.recv_fds(asking, 4, 3)
        try:
            command, environment, folder = json.loads(_read(asking, int.from_bytes(length, "big")))
        except (OSError, EOFError, ValueError):  # gone before it had asked
            asking.close()
            return
        if self._takes(environment, command):
            pid = os.fork()
            if pid == 0:
                for other in (self._listening, asking, *self._forks.values()):
                    other.close()
                _become(command, environment, folder, streams, self._kind)
            self._forks[pid] = asking
            with suppress(OSError):  # gone, which the next turn sees
                asking.send(b"F")
        else:
            with asking, suppress(OSError):
                asking.send(b"N")
        for number in streams:
            os.close(number)

    def _takes(self, environment: dict[str, str], command: list[str]) -> bool:
        wanted = self._kind.read(environment)
        if wanted is None:
            return False
        if self._loaded is None:
            self._loaded = wanted
            os.environ.clear()
            os.environ.update(environment)
            _load(self._kind)
        if self._loaded != wanted:
            return False
        self._kind.prepare(command)
        return True


def _become(
    command: list[str],
    environment: dict[str, str],
    folder: str,
    streams: list[int],
    kind: Any,
) -> NoReturn:
    code: Any = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        kind.forked(environment)
        sys.argv = command
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())  # it may be the module's own
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def _load(kind: Any) -> None:
    # Loading makes little garbage; and what is loaded is not looked through again in each fork.
    gc.disable()
    kind.load()
    gc.freeze()
    gc.enable()


def _kill(pid: int, number: signal.Signals) -> None:
    """The whole of its session's first process group: SGLang's processes stay in it."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _read(asking: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = asking.recv(length - len(found))
        if not part:
            raise EOFError
        found += part
    return found


if __name__ == "__main__":
    Zygote(socket.socket(fileno=int(sys.argv[1])), import_module(f"kinds.{sys.argv[2]}")).serve()
