"""One event loop on a thread of its own, for callers with and without a loop.

The store's locks and the database's connections belong to one loop: so everything runs on this one,
whoever calls.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from isolation.errors import BulkheadError

P = ParamSpec("P")
T = TypeVar("T")


class LoopThread:
    """Running from its making to `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bulkhead", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; blocks the calling thread, and no event loop but the caller's."""
        self._check(work)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """The same, awaited on the caller's loop."""
        self._check(work)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._loop.is_closed()

    def close(self) -> None:
        """Stop the loop and end the thread. Closing again does nothing."""
        if self.closed:
            return
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _check(self, work: Coroutine[Any, Any, T]) -> None:
        # From the loop itself it would wait for itself.
        if self.closed or threading.current_thread() is self._thread:
            work.close()
            raise LibraryClosedError


class OnLoop(Protocol):
    """What runs its methods on such a loop."""

    _loop: LoopThread


S = TypeVar("S", bound=OnLoop)
Awaited = Callable[Concatenate[S, P], Coroutine[Any, Any, T]]


def both_ways(method: Awaited[S, P, T]) -> tuple[Callable[Concatenate[S, P], T], Awaited[S, P, T]]:
    """A method that runs on the loop's thread: for callers that block, and for those that await.

    So that it is written once, in the body of its class: `put, aput = both_ways(_put)`.
    """

    @functools.wraps(method)
    def blocking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.run(method(self, *args, **kwargs))

    @functools.wraps(method)
    async def awaited(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._loop.arun(method(self, *args, **kwargs))

    return blocking, awaited


class LibraryClosedError(BulkheadError):
    """Used after it was closed."""

    code = "library_closed"

    def __init__(self) -> None:
        super().__init__("The library is closed. Open it again.")
