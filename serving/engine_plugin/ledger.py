"""Costs of requests that have ended, until they are fetched."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

_MOST = 20_000


class Ledger:
    """By request id; the oldest go when there are too many. One event loop uses it."""

    def __init__(self) -> None:
        self._costs: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._waiting: dict[str, asyncio.Event] = {}

    def put(self, request_id: str, cost: dict[str, Any]) -> None:
        """A request ended."""
        self._costs[request_id] = cost
        if len(self._costs) > _MOST:
            self._costs.popitem(last=False)
        if event := self._waiting.get(request_id):
            event.set()

    def take(self, request_id: str) -> dict[str, Any] | None:
        """Its cost, once; None if it has not ended, or was never there."""
        return self._costs.pop(request_id, None)

    async def wait(self, request_id: str, seconds: float) -> dict[str, Any] | None:
        """Its cost, when it has ended; None when it does not in time."""
        event = self._waiting.setdefault(request_id, asyncio.Event())
        try:
            if request_id not in self._costs:
                async with asyncio.timeout(seconds):
                    await event.wait()
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(request_id, None)
        return self.take(request_id)
