"""Steps 6 to 9 of a chat: queue, engine, unmask, guard."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from isolation.context import TenantContext
from isolation.errors import RequestRefusedError
from isolation.masking.json_stream import JsonStream
from isolation.streaming import Chain, StreamTransform
from serving.engine.client import Delta, EngineClient, Job, TenantEngine
from serving.gateway.answer import AnswerPiece
from serving.gateway.chat_parts import ChatOptions, ChatParts
from serving.gateway.model_choice import ModelChoice
from serving.gateway.outward import Outward
from serving.gateway.ports import Lease
from serving.gateway.preparing import Prepared
from serving.gateway.trial import Watched
from serving.metering.meter import Meter


class Generating:
    """Generates one tenant's answers."""

    def __init__(self, ctx: TenantContext, parts: ChatParts, options: ChatOptions) -> None:
        self._ctx = ctx
        self._parts = parts
        self._options = options

    async def answer(
        self,
        engine: EngineClient,
        model: ModelChoice,
        prepared: Prepared,
        meter: Meter,
        watched: Watched,
    ) -> AsyncGenerator[AnswerPiece, None]:
        """What may leave of the answer, piece by piece."""
        out = self._outward(prepared, meter)
        deadline = time.monotonic() + self._options.queue_seconds
        queue = self._parts.queue.of(self._ctx)
        watched.began(prepared.vault)
        # The place comes before the slot: who waits for a place must not keep a slot from those
        # who need none.
        with meter.step("queue") as waiting:
            async with (
                model.lease(deadline) as lease,
                queue.turn(prompt_tokens=prepared.prompt_tokens, deadline=deadline) as turn,
            ):
                meter.started()
                waiting.end()
                stream = self._stream(engine, lease, prepared.job, meter)
                async with aclosing(stream) as deltas:
                    async for delta in deltas:
                        if delta.generated:
                            turn.charge(output_tokens=1)
                        async for piece in out.feed(delta):
                            yield piece
        async for piece in out.flush():
            yield piece
        watched.said()

    def _stream(
        self, engine: EngineClient, lease: Lease, job: Job, meter: Meter
    ) -> AsyncGenerator[Delta, None]:
        """The engine's pieces. Namespace and job name the adapter by the same one load of it."""
        scope = replace(self._parts.scope, adapter=lease.engine_name)
        own = engine.of(self._ctx, self._parts.namespaces.derive(self._ctx, scope))
        return lease.guarded(_metered(own, replace(job, adapter=lease.engine_name), meter))

    def _outward(self, prepared: Prepared, meter: Meter) -> Outward:
        names = {tool["function"]["name"] for tool in prepared.job.tools}
        guard, vault = self._parts.guard(self._ctx), prepared.vault
        kept = prepared.keeps_placeholders
        whole, one = (
            (vault.masked_answer, vault.masked_answer) if kept else (vault.answer, vault.argument)
        )

        def string() -> StreamTransform:
            links = [guard.stream()] if vault.guards_tool_links else []
            return Chain([one(self._ctx), *links])

        text = Chain([whole(self._ctx), guard.stream()])
        return Outward(meter, text, vault.names(self._ctx), lambda: JsonStream(string), names)


async def _metered(engine: TenantEngine, job: Job, meter: Meter) -> AsyncGenerator[Delta, None]:
    """The job's pieces. Left early, it still says what it cost: the engine tells when it ended."""
    with meter.step("engine") as step:
        try:
            async with aclosing(engine.stream(job)) as deltas:
                async for delta in deltas:
                    meter.saw(delta)
                    yield delta
        except RequestRefusedError:  # by the engine: nothing runs
            raise
        except BaseException:
            meter.settled(await engine.settle(job))
            raise
        finally:
            meter.told(step)
