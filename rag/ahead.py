"""One step ahead: while an item is worked on, the next one is made. Never more than one waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def ahead(source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """The items of `source` in order. Close it, with `aclosing`, to stop what it has begun."""
    coming = asyncio.ensure_future(_next(source))
    try:
        while (item := await coming) is not None:
            coming = asyncio.ensure_future(_next(source))
            yield item
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _next(source: AsyncIterator[T]) -> T | None:
    return await anext(source, None)
