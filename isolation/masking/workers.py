"""Detectors in processes of their own, so that analysis never holds the event loop.

spaCy keeps the interpreter's lock for milliseconds at a time: on a thread, every stream of the
gateway stutters with it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Self

import orjson

from isolation.errors import RequestRefusedError
from isolation.masking.findings import Finding
from isolation.masking.recognizers import version
from isolation.masking.worker import HEADER, frame

_COMMAND = (sys.executable, "-m", "isolation.masking.worker")
_PRIVATE = "BULKHEAD_"  # the settings hold keys, and a worker needs none


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
    """An `Analyzer`. Start it; each worker takes seconds and 400 MB, and is replaced if it dies."""

    def __init__(self, workers: list[_Worker], recognizers: Sequence[str]) -> None:
        self._workers = workers
        self._recognizers = recognizers

    @classmethod
    async def start(cls, count: int, recognizers: Sequence[str] = ()) -> Self:
        """`count` workers, loaded, with recognizers of these names beside the platform's own."""
        workers = await asyncio.gather(*(_Worker.start(recognizers) for _ in range(count)))
        return cls(workers, recognizers)

    @property
    def version(self) -> str:
        return self._workers[0].version

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        """See `Analyzer`.

        Raises:
            MaskingUnavailableError: the worker died of it, or could not read it.
        """
        index = min(range(len(self._workers)), key=lambda i: self._workers[i].waiting)
        if self._workers[index].dead:
            self._workers[index] = await self._replaced(index)
        return await self._workers[index].find(text, locale)

    async def _replaced(self, index: int) -> _Worker:
        gone = self._workers[index]
        async with gone.replacing:
            if self._workers[index] is gone:
                await gone.close()
                self._workers[index] = await _Worker.start(self._recognizers)
            return self._workers[index]

    async def close(self) -> None:
        """End the workers."""
        await asyncio.gather(*(worker.close() for worker in self._workers))


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


class _Worker:
    """One process, and who waits for its answers."""

    def __init__(self, process: Process, version: str) -> None:
        self.version = version
        self.replacing = asyncio.Lock()
        self._process = process
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[list[Finding]]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, recognizers: Sequence[str]) -> Self:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            *recognizers,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=_environment(os.environ),
        )
        version = await _received(process)
        if version is None:
            await process.wait()
            raise MaskingUnavailableError
        return cls(process, version)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def dead(self) -> bool:
        return self._reader.done()

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        if self.dead:
            raise MaskingUnavailableError
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            # Lone surrogates are no characters, and JSON does not take them.
            readable = text.encode("utf-8", "replace").decode()
            self._process.stdin.write(frame((number, readable, locale)))
            await self._process.stdin.drain()
            found: list[Finding] = await answer
            return found
        except ConnectionError:
            raise MaskingUnavailableError from None
        finally:
            self._waiting.pop(number, None)

    async def _read(self) -> None:
        try:
            while (message := await _received(self._process)) is not None:
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
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait({self._reader})
        await self._process.wait()


async def _received(process: Process) -> Any:
    """The next message; None when the process has ended."""
    assert process.stdout is not None
    try:
        head = await process.stdout.readexactly(HEADER.size)
        return orjson.loads(await process.stdout.readexactly(*HEADER.unpack(head)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not name.startswith(_PRIVATE)}
