"""No request is suspected, whatever engines do: that is tested in `test_suspects`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from isolation.context import TenantContext


class Trying:
    worker = ""

    async def answered(self) -> None:
        pass


class Unsuspected:
    def of(self, ctx: TenantContext) -> Unsuspected:
        return self

    @asynccontextmanager
    async def trying(
        self, request: Callable[[], bytes], model: str, *, wait_seconds: float
    ) -> AsyncGenerator[Trying, None]:
        yield Trying()
