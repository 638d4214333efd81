"""A detector on a thread of its own: for tests, and for programs that serve nobody else."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from isolation.masking.findings import Detector, Finding


class Threaded:
    """An `Analyzer` around a detector. It competes with the event loop for the interpreter."""

    def __init__(self, detector: Detector, version: str) -> None:
        self.version = version
        self._detector = detector
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="masking")

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, self._detector.find, text, locale)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)
