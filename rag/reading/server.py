"""The parsers' own process: `python -m rag.reading.server`.

It holds the libraries, reads nothing itself, and forks a process for each file, which takes ten
milliseconds. So a file that kills its parser takes nothing else with it, what a parser has read is
gone with it, and no two files meet in one. Jobs are JSON lines on standard input, answers JSON
lines on standard output; when standard input ends, so does everything.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import selectors
import signal
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from isolation.errors import RequestRefusedError
from rag.reading.limits import ReadingLimits

_BLOCK = 65_536
_SET_PARENT_DEATH_SIGNAL = 1


@dataclass(slots=True)
class _Job:
    id: int
    process: int
    answer: int
    deadline: float
    late: bool = False


class _Server:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ)
        self._jobs: dict[int, _Job] = {}
        self._unread = b""

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.data is not None:
                    self._ended(key.fd, key.data)
                elif not self._commands():
                    return
            self._kill_late()

    def _patience(self) -> float | None:
        deadlines = [job.deadline for job in self._jobs.values() if not job.late]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _commands(self) -> bool:
        block = os.read(0, _BLOCK)
        *lines, self._unread = (self._unread + block).split(b"\n")
        for line in lines:
            asked = json.loads(line)
            if "cancel" in asked:
                self._cancel(asked["cancel"])
            else:
                self._start(asked)
        return bool(block)

    def _start(self, asked: dict[str, Any]) -> None:
        limits = ReadingLimits(**asked["limits"])
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(reading)
            _parse(asked, limits, writing)
        os.close(writing)
        job = _Job(asked["id"], process, reading, time.monotonic() + limits.seconds)
        self._jobs[job.id] = job
        self._selector.register(os.pidfd_open(process), selectors.EVENT_READ, job)

    def _cancel(self, job_id: int) -> None:
        if (job := self._jobs.get(job_id)) is not None:
            os.kill(job.process, signal.SIGKILL)

    def _kill_late(self) -> None:
        now = time.monotonic()
        for job in self._jobs.values():
            if not job.late and now >= job.deadline:
                job.late = True
                os.kill(job.process, signal.SIGKILL)

    def _ended(self, pidfd: int, job: _Job) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        os.waitpid(job.process, 0)
        with os.fdopen(job.answer, "rb") as pipe:
            answer = pipe.read()
        del self._jobs[job.id]
        outcome = {"late": True} if job.late else json.loads(answer or b'{"died": true}')
        _say(1, {"id": job.id, **outcome})


def _parse(asked: dict[str, Any], limits: ReadingLimits, writing: int) -> NoReturn:
    """The forked process, to its end."""
    try:
        _confine(limits)
        outcome = _outcome(asked, limits)
        _say(writing, outcome)
    finally:
        # Without the exit handlers, which are the server's.
        os._exit(0)


def _outcome(asked: dict[str, Any], limits: ReadingLimits) -> dict[str, Any]:
    from rag.reading.reader import read_file

    try:
        source, target = Path(asked["source"]), Path(asked["target"])
        reading = read_file(source, asked["name"], target, limits, asked["encoding"])
    except RequestRefusedError as error:
        return {"refused": error.code, "message": error.message}
    return {
        "title": reading.title,
        "metadata": reading.metadata,
        "characters": reading.characters,
    }


def _confine(limits: ReadingLimits) -> None:
    """Less of the processor than the gateway has, bounded memory and time, an end with the
    server's, and nothing of its input and output."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    os.nice(10)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    _at_most(resource.RLIMIT_AS, _address_space() + limits.memory)
    _at_most(resource.RLIMIT_CPU, int(limits.seconds) + 1)
    _at_most(resource.RLIMIT_FSIZE, 4 * limits.size + _BLOCK)
    _at_most(resource.RLIMIT_CORE, 0)


def _at_most(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _say(descriptor: int, message: dict[str, Any]) -> None:
    line = json.dumps(message).encode() + b"\n"
    while line:
        line = line[os.write(descriptor, line) :]


def main() -> None:
    """Serve until standard input ends."""
    # Loading makes little garbage, and looking for it is a fifth of the time.
    gc.disable()
    import_module("rag.reading.reader")
    # What is loaded is not looked through again in every fork, which would copy its pages.
    gc.freeze()
    gc.enable()
    sys.setrecursionlimit(1_000)
    _Server().run()


if __name__ == "__main__":
    main()
