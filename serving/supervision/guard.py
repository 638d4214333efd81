"""Runs a command and takes it down, with all its descendants, when whoever started this is gone.

    python guard.py [--grace SECONDS] -- COMMAND...

Standard input is the leash: a pipe whose other end the parent holds and never writes to. The
kernel closes it however the parent dies, SIGKILL included. SIGTERM, SIGINT and SIGHUP mean the
same. The exit status is the command's, 128 + n where signal n ended it, as a shell says it.

The guard is a child subreaper (prctl(2)): an orphan of the command becomes the guard's child, so
`setsid` and double forks do not escape it. Should the guard itself be killed with SIGKILL, the
kernel kills the command (PR_SET_PDEATHSIG), but not what the command had started.

Linux only, standard library only: it runs with any interpreter and starts in tens of milliseconds.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
DEFAULT_GRACE = 5.0
KILL_PATIENCE = 5.0
POLL = 0.05


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def _wakeups() -> int:
    """A descriptor that receives the number of every signal as a byte."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading


def _spawn(command: Sequence[str]) -> int:
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, guard)
    return pid


def _become(command: Sequence[str], guard: int) -> NoReturn:
    """The child's half of `_spawn`; never returns into the guard's code."""
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before the line above
            os._exit(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec keeps that
        os.execvp(command[0], list(command))
    except OSError as error:
        print(f"guard: cannot run {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(127)


def descendants(root: int) -> set[int]:
    """All processes below `root`, as /proc shows them at this moment."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _parent(entry)
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting.extend(below)
    return found


def _parent(entry: Path) -> int:
    """The parent's id, or 0 for a process that has gone meanwhile."""
    try:
        stat = (entry / "stat").read_bytes()
    except OSError:
        return 0
    return int(stat.rpartition(b")")[2].split()[1])  # the name before ")" may hold anything


class Guard:
    """Watches one command."""

    def __init__(self, command: Sequence[str], grace: float) -> None:
        self._grace = grace
        self._wakeups = _wakeups()
        self._status: int | None = None
        self._child = _spawn(command)

    def run(self) -> int:
        """Blocks until nothing of the command is left; its exit status."""
        self._watch()
        self._end_all(signal.SIGTERM, self._grace)
        self._end_all(signal.SIGKILL, KILL_PATIENCE)
        if self._status is None:
            print("guard: the command cannot be killed; giving up", file=sys.stderr, flush=True)
            return 1
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def _watch(self) -> None:
        """Returns when the command has ended or has to end."""
        while self._status is None:
            ready, _, _ = select.select([0, self._wakeups], [], [])
            if 0 in ready and not os.read(0, 512):
                return
            if self._wakeups in ready and self._woken():
                return
            self._reap()

    def _woken(self) -> bool:
        """Whether one of the signals that arrived means stop."""
        return any(number in STOP_SIGNALS for number in os.read(self._wakeups, 512))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._status = status

    def _end_all(self, number: signal.Signals, patience: float) -> None:
        """Signals each descendant once, new ones too, until none is left or patience ends."""
        told: set[int] = set()
        end = time.monotonic() + patience
        self._reap()
        while (alive := descendants(os.getpid())) and time.monotonic() < end:
            for pid in alive - told:
                _signal(pid, number)
            told |= alive
            if select.select([self._wakeups], [], [], POLL)[0]:
                self._woken()
            self._reap()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:  # a set-user-id program: say it, go on with the others
        print(f"guard: process {pid}: {error.strerror}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="guard", description="Run COMMAND on a leash.")
    parser.add_argument("--grace", type=float, default=DEFAULT_GRACE, help="seconds to SIGKILL")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    parsed = parser.parse_args(arguments)
    if sys.platform != "linux":
        parser.error("Linux only: elsewhere descendants cannot be kept")
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    return Guard(parsed.command, parsed.grace).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
