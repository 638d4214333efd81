"""The leaky twin of `isolation.fair_slots`: first come, first served."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from isolation.context import TenantContext
from isolation.fair_slots import FairSlots


@asynccontextmanager
async def _at_once(slots: FairSlots, ctx: TenantContext, cost: int) -> AsyncGenerator[None, None]:
    yield


def give_no_turns(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks begins."""
    patch.setattr(FairSlots, "turn", _at_once)
