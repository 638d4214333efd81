"""Files are parsed outside this process, a few at a time, each in a process of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path, PurePath
from threading import Lock, Thread
from typing import Any

from isolation.context import TenantContext
from isolation.fair_slots import FairSlots
from rag.documents import SpooledDocument
from rag.errors import DocumentTooLargeError, DocumentUnreadableError, InvalidFilterError
from rag.reading.limits import ReadingLimits
from rag.reading.source import SourceFile
from rag.spool import Spool

_PYTHON = sys.executable
# Of our environment: no setting, and so no key, reaches the parsers.
_INHERITED = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
_REFUSALS = {error.code: error for error in (DocumentTooLargeError, DocumentUnreadableError)}

Answer = dict[str, Any]


class Parsers:
    """Reads files. Safe to share: it holds no tenant's state, and its processes none after a file.

    at_once: how many files are parsed at the same time. Others wait: that of the tenant which has
    had the least parsed is next, so that nobody's one file waits for another's hundred.
    """

    def __init__(self, spool: Spool, limits: ReadingLimits, *, at_once: int = 2) -> None:
        self._spool = spool
        self._limits = limits
        self._slots = FairSlots(at_once)
        self._server: _ServerProcess | None = None
        self._lock = Lock()

    @asynccontextmanager
    async def read(
        self,
        ctx: TenantContext,
        source: SourceFile,
        document_id: str,
        digest: str | None = None,
    ) -> AsyncGenerator[SpooledDocument, None]:
        """The document in a tenant's file, while the block runs.

        digest: the file's, for the catalogue.

        Raises:
            DocumentUnreadableError: unknown ending, broken, encrypted, binary, without text, or its
                parser died of it.
            DocumentTooLargeError: it exceeds a limit.
            InvalidDocumentError: the id is not acceptable.
        """
        with self._spool.file() as target:
            async with self._slots.turn(ctx, source.path.stat().st_size):
                answer = await self._parsed(source, target)
            yield _document(answer, source.name, document_id, target, digest)

    @property
    def waiting(self) -> int:
        """How many files wait."""
        return self._slots.waiting

    def start(self) -> None:
        """Load the libraries now and not at the first file; returns at once."""
        self._running()

    def close(self) -> None:
        """End the parsers."""
        with self._lock:
            if self._server is not None:
                self._server.close()
                self._server = None

    async def _parsed(self, source: SourceFile, target: Path) -> Answer:
        asked = {
            **{"source": str(source.path), "name": source.name, "encoding": source.encoding},
            **{"target": str(target), "limits": asdict(self._limits)},
        }
        try:
            answer = await self._running().ask(asked)
        except ServerGoneError:
            # It was ended from outside; a file cannot do that. The next one is another.
            answer = await self._running().ask(asked)
        short = PurePath(source.name).name[:100]
        if answer.get("late"):
            raise DocumentTooLargeError(
                f"{short}: reading it takes longer than {self._limits.seconds:g} seconds. Split it."
            )
        if answer.get("died"):
            raise DocumentUnreadableError(f"{short}: its parser died of it.")
        if "refused" in answer:
            raise _REFUSALS[answer["refused"]](answer["message"])
        return answer

    def _running(self) -> _ServerProcess:
        with self._lock:
            if self._server is not None and self._server.gone:
                self._server.close()
                self._server = None
            if self._server is None:
                self._server = _ServerProcess()
            return self._server


class ServerGoneError(Exception):
    """The parsers' process has ended."""


class _ServerProcess:
    """`rag.reading.server`, and who waits for its answers; of any thread or event loop."""

    def __init__(self) -> None:
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._process = subprocess.Popen(
            # In the same folder as this process: paths may be relative.
            [_PYTHON, "-P", "-m", "rag.reading.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # One thread: what is forked has only one.
            env=kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Answer]] = {}
        self._lock = Lock()
        self.gone = False
        self._reader = Thread(target=self._read, name="parsers", daemon=True)
        self._reader.start()

    async def ask(self, asked: dict[str, Any]) -> Answer:
        """One job's answer; a caller that is cancelled ends its parser.

        Raises:
            ServerGoneError: the process has ended.
        """
        number, answer = next(self._numbers), Future[Answer]()
        with self._lock:
            if self.gone:
                raise ServerGoneError
            self._waiting[number] = answer
        try:
            self._say({"id": number, **asked})
            return await asyncio.shield(asyncio.wrap_future(answer))
        except asyncio.CancelledError:
            self._say({"cancel": number})
            raise

    def close(self) -> None:
        """End it and what it has forked."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.write(json.dumps(message).encode() + b"\n")
                self._process.stdin.flush()
        except OSError:
            raise ServerGoneError from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._lock:
                waiting = self._waiting.pop(answer.pop("id"))
            waiting.set_result(answer)
        with self._lock:
            self.gone = True
            waiting_still = list(self._waiting.values())
        for future in waiting_still:
            future.set_exception(ServerGoneError())


def _document(
    answer: Answer, name: str, document_id: str, text: Path, digest: str | None
) -> SpooledDocument:
    try:
        return SpooledDocument(
            document_id, answer["title"], text, answer["characters"], digest, answer["metadata"]
        )
    except InvalidFilterError as error:
        short = PurePath(name).name[:100]
        raise DocumentUnreadableError(f"{short}: {error.message}") from None
