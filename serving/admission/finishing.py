"""Calls to the counters' server are not left half-way: what they did has to be undone later."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finished(call: Coroutine[Any, Any, T]) -> T:
    """The call's result. Whoever is cancelled meanwhile is so when the call is over."""
    running = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # nobody else asks for it
        raise
