"""The same request once more, to the version that is compared; what it says goes nowhere."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from isolation.context import TenantContext
from serving.engine.client import EngineClient
from serving.gateway.chat_parts import ChatParts
from serving.gateway.generating import Generating
from serving.gateway.model_choice import ModelChoice, shadow_of
from serving.gateway.preparing import Prepared
from serving.gateway.trial import Watched
from serving.metering.meter import Meter
from serving.rollout.comparison import agreement
from serving.rollout.figures import ArmFigures, Scores

Observed = Callable[[ModelChoice, ArmFigures | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ShadowRequest:
    """Asks on the tenant's account, behind an answer that was sent."""

    ctx: TenantContext
    parts: ChatParts
    generating: Generating
    observed: Observed

    async def ask(
        self, engine: EngineClient, real: ModelChoice, prepared: Prepared, sent: str
    ) -> None:
        """Ask, and count how alike it is to what was `sent`.

        Raises:
            RequestRefusedError: there is no place for it, or no version any more.
        """
        model = await shadow_of(real)
        if model is None:
            return
        meter = Meter(self.ctx, secrets.token_hex(16), model.name)
        asked, watched = replace(prepared.job, request_id=meter.request_id), Watched(meter)
        again = replace(prepared, job=asked)
        answering = self.generating.answer(engine, model, again, meter, watched)
        async with self.parts.limiter.of(self.ctx).slot(meter.request_id):
            try:
                async with aclosing(answering) as pieces:
                    async for _ in pieces:
                        pass
            finally:
                figures = watched.figures()
                await self.parts.usage.of(self.ctx).record(meter.record())
                if figures is not None:
                    alike = Scores.of([agreement(sent, meter.written)])
                    await self.observed(model, replace(figures, agreement=alike))
