"""Detectors in processes of their own, so that analysis never holds the event loop.

spaCy keeps the interpreter's lock for milliseconds at a time: on a thread, every stream of the
gateway stutters with it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Self

import orjson

from isolation.errors import RequestRefusedError
from isolation.masking.findings import Finding
from isolation.masking.recognizers import version
from isolation.masking.worker import HEADER, frame

_PYTHON = sys.executable
_PRIVATE = "BULKHEAD_"  # the settings hold keys, and a worker needs none
# A fork has one thread; OpenBLAS would begin others while it is loaded.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class MaskingUnavailableError(RequestRefusedError):
    """A text could not be analysed, so it does not go on unmasked."""

    code = "masking_unavailable"
    status = 503
    kind = "server_error"

    def __init__(self) -> None:
        super().__init__(
            "The message could not be checked for personal data. Try again shortly.",
            headers={"Retry-After": "2"},
        )


class DetectorWorkers:
    """An `Analyzer`. Start it, which takes seconds and 400 MB; a worker that dies is replaced."""

    def __init__(self, forks: _ForkServer, workers: list[_Worker]) -> None:
        self._forks = forks
        self._workers = workers
        self._replacing = asyncio.Lock()

    @classmethod
    async def start(cls, count: int, recognizers: Sequence[str] = ()) -> Self:
        """`count` workers, loaded, with recognizers of these names beside the platform's own."""
        started = cls(await _ForkServer.start(recognizers), [])
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(count):
                    group.create_task(started._add())
        except* MaskingUnavailableError:
            raise MaskingUnavailableError from None
        finally:
            if len(started._workers) < count:
                await started.close()
        return started

    async def _add(self) -> None:
        self._workers.append(await _Worker.start(self._forks))

    @property
    def version(self) -> str:
        return self._workers[0].version

    @property
    def pids(self) -> list[int]:
        """Of the workers' processes, as they are now."""
        return [worker.pid for worker in self._workers]

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        """See `Analyzer`.

        Raises:
            MaskingUnavailableError: the worker died of it, or could not read it.
        """
        index = min(range(len(self._workers)), key=lambda i: self._workers[i].waiting)
        if self._workers[index].dead:
            await self._replace(index)
        return await self._workers[index].find(text, locale)

    async def _replace(self, index: int) -> None:
        async with self._replacing:
            if self._workers[index].dead:
                await self._workers[index].close()
                if self._forks.gone:
                    await self._forks.close()
                    self._forks = await _ForkServer.start(self._forks.recognizers)
                self._workers[index] = await _Worker.start(self._forks)

    async def close(self) -> None:
        """End the workers."""
        await asyncio.gather(*(worker.close() for worker in self._workers))
        await self._forks.close()


class WorkersOnDemand:
    """An `Analyzer`: workers that start when they are first needed.

    Raises:
        RecognizerError: there is no recognizer of one of these names.
    """

    def __init__(self, count: int, recognizers: Sequence[str] = ()) -> None:
        self._count = count
        self._recognizers = recognizers
        self.version = version(recognizers)
        self._starting = asyncio.Lock()
        self._workers: DetectorWorkers | None = None

    async def start(self) -> DetectorWorkers:
        """The workers, loaded."""
        async with self._starting:
            if self._workers is None:
                self._workers = await DetectorWorkers.start(self._count, self._recognizers)
            return self._workers

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        """As `DetectorWorkers.find`."""
        workers = self._workers or await self.start()
        return await workers.find(text, locale)

    async def close(self) -> None:
        """End the workers, if there are any."""
        if self._workers is not None:
            await self._workers.close()


class _ForkServer:
    """The process that has the detector loaded."""

    def __init__(self, process: Process, asking: socket.socket, recognizers: Sequence[str]) -> None:
        self.recognizers = recognizers
        self._process = process
        self._asking = asking

    @classmethod
    async def start(cls, recognizers: Sequence[str]) -> Self:
        """Returns at once; whoever asks for a worker waits until it has loaded."""
        asking, asked = socket.socketpair()
        with asked:
            process = await asyncio.create_subprocess_exec(
                *(_PYTHON, "-m", "isolation.masking.forkserver"),
                *recognizers,
                stdin=asked.fileno(),
                stdout=DEVNULL,
                stderr=DEVNULL,
                env=_environment(os.environ),
            )
        return cls(process, asking, recognizers)

    @property
    def gone(self) -> bool:
        return self._process.returncode is not None

    async def fork(self) -> tuple[StreamReader, StreamWriter]:
        """A worker's socket.

        Raises:
            ConnectionError: the process has ended.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._asking, [b"f"], [theirs.fileno()])
        return await asyncio.open_connection(sock=ours)

    async def close(self) -> None:
        self._asking.close()
        await self._process.wait()


class _Worker:
    """One process, and who waits for its answers."""

    def __init__(self, pid: int, version: str, reader: StreamReader, writer: StreamWriter) -> None:
        self.pid = pid
        self.version = version
        self._writer = writer
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[list[Finding]]] = {}
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def start(cls, forks: _ForkServer) -> Self:
        """
        Raises:
            MaskingUnavailableError: it ended before it was ready.
        """
        try:
            reader, writer = await forks.fork()
        except ConnectionError:
            raise MaskingUnavailableError from None
        try:
            if (said := await _received(reader)) is None:
                raise MaskingUnavailableError
        except BaseException:
            writer.close()
            raise
        pid, version = said
        return cls(pid, version, reader, writer)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def dead(self) -> bool:
        return self._reading.done()

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        if self.dead:
            raise MaskingUnavailableError
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            # Lone surrogates are no characters, and JSON does not take them.
            readable = text.encode("utf-8", "replace").decode()
            self._writer.write(frame((number, readable, locale)))
            await self._writer.drain()
            found: list[Finding] = await answer
            return found
        except ConnectionError:
            raise MaskingUnavailableError from None
        finally:
            self._waiting.pop(number, None)

    async def _read(self, reader: StreamReader) -> None:
        try:
            while (message := await _received(reader)) is not None:
                number, found = message
                answer = self._waiting.get(number)
                if answer is None or answer.done():
                    continue  # whoever asked has gone
                if found is None:
                    answer.set_exception(MaskingUnavailableError())
                else:
                    answer.set_result([Finding(*each) for each in found])
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(MaskingUnavailableError())

    async def close(self) -> None:
        if not self.dead:
            self._writer.write_eof()
        await asyncio.wait({self._reading})
        self._writer.close()


async def _received(reader: StreamReader) -> Any:
    """The next message; None when the process has ended."""
    try:
        head = await reader.readexactly(HEADER.size)
        return orjson.loads(await reader.readexactly(*HEADER.unpack(head)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in variables.items() if not name.startswith(_PRIVATE)}
    return kept | _ONE_THREAD
