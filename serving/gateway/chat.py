"""One chat request, in the order it happens (ARCHITECTURE.md, "One request")."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import structlog

from isolation.context import TenantContext, require_tenant
from isolation.masking.conversations import Conversation
from serving.engine.client import TokenUsage
from serving.gateway.answer import AnswerAdmitted, AnswerEnd, AnswerPart, AnswerText, cite
from serving.gateway.chat_parts import ChatOptions, ChatParts
from serving.gateway.chat_request import ChatRequest
from serving.gateway.generating import Generating
from serving.gateway.model_choice import ModelChoice, choose_model
from serving.gateway.ports import Hold, Trying
from serving.gateway.preparing import Prepared, Preparing
from serving.gateway.privacy_ports import Vault
from serving.gateway.shadow_request import ShadowRequest
from serving.gateway.shadows import Shadows
from serving.gateway.trial import Watched
from serving.metering.meter import Meter
from serving.rollout.figures import ArmFigures
from serving.tracing import NO_TRACE, RequestTrace

log = structlog.get_logger(__name__)

_NO_TOKENS = TokenUsage(0, 0, 0)


class ChatService:
    """Answers chats. Bind it first."""

    def __init__(self, parts: ChatParts, options: ChatOptions) -> None:
        self._parts = parts
        self._options = options
        self._shadows = Shadows()

    def of(self, ctx: TenantContext) -> TenantChat:
        """The service as this tenant sees it."""
        tenant = require_tenant(ctx, "the chat")
        return TenantChat(tenant, self._parts, self._options, self._shadows)

    async def close(self) -> None:
        """End what still runs behind the answers."""
        await self._shadows.close()
        self._parts.counting.close()


class TenantChat:
    """Chat for one tenant."""

    def __init__(
        self, ctx: TenantContext, parts: ChatParts, options: ChatOptions, shadows: Shadows
    ) -> None:
        self._ctx = ctx
        self._parts = parts
        self._options = options
        self._shadows = shadows
        self._preparing = Preparing(ctx, parts, options)
        self._generating = Generating(ctx, parts, options)

    async def answer(
        self, request: ChatRequest, trace: RequestTrace = NO_TRACE
    ) -> AsyncGenerator[AnswerPart, None]:
        """The answer, piece by piece. Closing the generator stops the engine.

        trace: where its steps are told.

        Raises:
            RequestRefusedError: the request is refused; always before the first piece, except
                for an engine that breaks off in the middle.
        """
        model = await self._model(request)
        engine = self._parts.engine()
        meter = Meter(self._ctx, secrets.token_hex(16), model.name, trace)
        watched = Watched(meter)
        hold = self._parts.rates.of(self._ctx).hold(meter.request_id)
        async with (
            self._parts.limiter.of(self._ctx).slot(meter.request_id),
            self._trying(request, model) as trying,
        ):
            try:
                prepared = await self._preparing.prepare(request, model, meter, hold)
                yield self._admitted(hold)
                if isinstance(prepared, str):
                    yield AnswerText(meter.emitted(prepared))
                    yield AnswerEnd("stop", [], _NO_TOKENS)
                    return
                answering = self._generating.answer(engine, model, prepared, meter, watched)
                trying.worker = engine.worker
                async with aclosing(answering) as pieces:
                    async for piece in pieces:
                        yield piece
                await trying.answered()
                yield await self._end(prepared, meter)
            finally:
                figures = watched.figures()
                record = meter.record()
                await self._parts.usage.of(self._ctx).record(record)
                await hold.settle(record.prompt_tokens + record.completion_tokens)
                await self._observed(model, figures)
        # It has ended, and was received: now a shadow may be asked the same.
        if model.trial is not None and model.trial.rollout.proposal.shadow:
            shadow = ShadowRequest(self._ctx, self._parts, self._generating, self._observed)
            self._shadows.begin(shadow.ask(engine, model, prepared, meter.written))

    def _trying(
        self, request: ChatRequest, model: ModelChoice
    ) -> AbstractAsyncContextManager[Trying]:
        mine = self._parts.suspects.of(self._ctx)
        seconds = self._options.queue_seconds
        return mine.trying(lambda: request.substance, model.name, wait_seconds=seconds)

    def _admitted(self, hold: Hold) -> AnswerAdmitted:
        standing = hold.standing
        return AnswerAdmitted({} if standing is None else standing.headers(self._ctx.tier))

    async def _model(self, request: ChatRequest) -> ModelChoice:
        models, trials = self._parts.models, self._parts.trials
        return await choose_model(
            None if models is None else models.of(self._ctx),
            None if trials is None else trials.of(self._ctx),
            request.model,
            request.conversation,
        )

    async def _observed(self, model: ModelChoice, figures: ArmFigures | None) -> None:
        trials = self._parts.trials
        if trials is not None and model.trial is not None and figures is not None:
            await trials.of(self._ctx).observed(model.trial, figures)

    async def _end(self, prepared: Prepared, meter: Meter) -> AnswerEnd:
        citations = cite(prepared.sources, meter.answer, self._clean(prepared.vault))
        if prepared.vault.tripped:
            log.warning("canary_in_answer", tenant=self._ctx.tenant_id, request=meter.request_id)
        conversation = await self._conversation(prepared, meter)
        return AnswerEnd(meter.finish_reason, citations, meter.tokens, conversation)

    async def _conversation(self, prepared: Prepared, meter: Meter) -> Conversation | None:
        if not prepared.keeps_placeholders:
            return None
        tokens = self._parts.conversations
        return await prepared.vault.conversation(self._ctx, tokens, meter.request_id)

    def _clean(self, vault: Vault) -> Callable[[str], str]:
        """Sources are shown as they are, but for what must not leave."""
        guard = self._parts.guard(self._ctx)
        return lambda text: guard.clean(vault.clean(text))
