"""How many tokens a prompt has, counted beside the event loop, a piece at a time, tenants in turns.

A body of two megabytes takes seconds to tokenize, and is refused for its length in the end: nobody
else waits for it, and counting stops where the answer is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from isolation.context import TenantContext, require_tenant
from isolation.fair_slots import FairSlots
from rag.windows import windows
from serving.admission.context_cap import check_context
from serving.engine.tokens import TokenCounter

# Characters: some 5 ms of words, 25 ms of random letters.
_PIECE = 2_048
# So short that it is not worth a thread: some 1 ms of words.
_SHORT = 512

T = TypeVar("T")


class Counting:
    """One thread that counts, and all tenants' lines before it. Bind it first."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="counting")
        self._line = FairSlots(1)

    def of(self, ctx: TenantContext) -> TenantCounting:
        """Counting for one tenant."""
        return TenantCounting(require_tenant(ctx, "counting"), self._thread, self._line)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


class TenantCounting:
    """Counts one tenant's texts."""

    def __init__(self, ctx: TenantContext, thread: ThreadPoolExecutor, line: FairSlots) -> None:
        self._ctx = ctx
        self._thread = thread
        self._line = line

    async def checked(self, text: str, tokens: TokenCounter, beside: int) -> int:
        """Tokens of a prompt, which with `beside` more are within the tenant's context cap.

        Of a text longer than 2,048 characters it may be a token more for each 2,048: it is counted
        in pieces, and not further than to the cap.

        Raises:
            ContextLimitError: they are above it.
        """
        total = 0
        for piece in windows(text, _PIECE) or [""]:
            total += await self.turn(len(piece), partial(tokens.count, piece))
            check_context(self._ctx, total + beside)
        return total

    async def turn(self, characters: int, work: Callable[[], T]) -> T:
        """The result of `work`, which counts about so many characters, when it is this tenant's
        turn; at once, if they are few."""
        if characters <= _SHORT:
            return work()
        async with self._line.turn(self._ctx, characters):
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
