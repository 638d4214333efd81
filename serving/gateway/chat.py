"""One chat request, in the order it happens (ARCHITECTURE.md, "One request")."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from isolation.context import TenantContext, require_tenant
from isolation.errors import InvalidRequestError
from isolation.masking.conversations import Conversation, ConversationTokens
from isolation.namespaces import CacheScope, NamespaceDeriver
from isolation.streaming import Chain, StreamTransform
from rag.documents import Passage
from rag.prompt import Message, Prompt, assemble
from rag.retrieval.follow_up import Question, question_of
from rag.retrieval.small_talk import is_small_talk
from serving.admission.context_cap import check_context
from serving.engine.client import Delta, EngineClient, Job, TenantEngine, TokenUsage
from serving.engine.tokens import TokenCounter
from serving.errors import EngineUnavailableError
from serving.gateway.answer import AnswerEnd, AnswerPart, AnswerText, cite
from serving.gateway.chat_request import ChatRequest
from serving.gateway.model_choice import ModelChoice, choose_model, shadow_of
from serving.gateway.ports import (
    Concurrency,
    Guard,
    Lease,
    Masker,
    Models,
    Queue,
    Retrieval,
    Trials,
    Vault,
)
from serving.gateway.refusal import Refusal
from serving.gateway.shadows import Shadows
from serving.gateway.trial import Watched
from serving.metering.meter import Meter
from serving.metering.usage import UsageSink
from serving.rollout.comparison import agreement
from serving.rollout.figures import ArmFigures, Scores

log = structlog.get_logger(__name__)

_NO_TOKENS = TokenUsage(0, 0, 0)


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the operator chose. Token numbers are of the engine's model."""

    top_k: int
    passage_tokens: int
    default_max_tokens: int
    queue_seconds: float


@dataclass(frozen=True, slots=True)
class ChatParts:
    """The shared parts. None of them shows a tenant's state before it is bound.

    `engine` raises `EngineUnavailableError` until a probed engine is there; `masker`,
    `retriever` and `refusal` are None where the operator switched them off, as `models` and
    `trials` are: base model only.
    """

    engine: Callable[[], EngineClient]
    tokens: Callable[[], TokenCounter]
    namespaces: NamespaceDeriver
    scope: CacheScope
    limiter: Concurrency
    queue: Queue
    usage: UsageSink
    masker: Masker | None
    retriever: Retrieval | None
    refusal: Refusal | None
    guard: Callable[[TenantContext], Guard]
    conversations: ConversationTokens
    models: Models | None = None
    trials: Trials | None = None


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


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request after steps 2 to 5: ready to queue."""

    job: Job
    prompt_tokens: int
    sources: list[Passage]
    vault: Vault | None
    keeps_placeholders: bool


class TenantChat:
    """Chat for one tenant."""

    def __init__(
        self, ctx: TenantContext, parts: ChatParts, options: ChatOptions, shadows: Shadows
    ) -> None:
        self._ctx = ctx
        self._parts = parts
        self._options = options
        self._shadows = shadows

    async def answer(self, request: ChatRequest) -> AsyncGenerator[AnswerPart, None]:
        """The answer, piece by piece. Closing the generator stops the engine.

        Raises:
            RequestRefusedError: the request is refused; always before the first piece, except
                for an engine that breaks off in the middle.
        """
        model = await self._model(request)
        engine = self._parts.engine()
        meter = Meter(self._ctx, secrets.token_hex(16), model.name)
        watched = Watched(meter)
        async with self._parts.limiter.of(self._ctx).slot(meter.request_id):
            try:
                prepared = await self._prepare(request, model, meter)
                if isinstance(prepared, str):
                    yield AnswerText(meter.emitted(prepared))
                    yield AnswerEnd("stop", [], _NO_TOKENS)
                    return
                answering = self._generate(engine, model, prepared, meter, watched)
                async with aclosing(answering) as pieces:
                    async for piece in pieces:
                        yield piece
                yield await self._end(prepared, meter)
            finally:
                figures = watched.figures()
                await self._parts.usage.of(self._ctx).record(meter.record())
                await self._observed(model, figures)
        # It has ended, and was received: now a shadow may be asked the same.
        if model.trial is not None and model.trial.rollout.proposal.shadow:
            self._shadows.begin(self._shadow(engine, model, prepared, meter.answer))

    async def _shadow(
        self, engine: EngineClient, real: ModelChoice, prepared: _Prepared, sent: str
    ) -> None:
        """Ask the version that is compared, on the tenant's account; what it says goes nowhere."""
        model = await shadow_of(real)
        if model is None:
            return
        meter = Meter(self._ctx, secrets.token_hex(16), model.name)
        asked, watched = replace(prepared.job, request_id=meter.request_id), Watched(meter)
        answering = self._generate(engine, model, replace(prepared, job=asked), meter, watched)
        async with self._parts.limiter.of(self._ctx).slot(meter.request_id):
            try:
                async with aclosing(answering) as pieces:
                    async for _ in pieces:
                        pass
            finally:
                figures = watched.figures()
                await self._parts.usage.of(self._ctx).record(meter.record())
                if figures is not None:
                    alike = Scores.of([agreement(sent, meter.answer)])
                    await self._observed(model, replace(figures, agreement=alike))

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

    async def _prepare(
        self, request: ChatRequest, model: ModelChoice, meter: Meter
    ) -> _Prepared | str:
        """What to generate, or what to say without generating."""
        if request.placeholders == "kept" and self._parts.masker is None:
            raise InvalidRequestError("Nothing is masked here.", param="placeholders")
        conversation = [turn.message() for turn in request.messages]
        max_tokens = request.output_limit or self._options.default_max_tokens
        tokens = self._parts.tokens()
        # Before any work: what the turn would need with a full set of passages.
        asked = tokens.count_messages(_as_dicts(conversation))
        passage_budget = self._options.passage_tokens if self._parts.retriever else 0
        check_context(self._ctx, asked + passage_budget + max_tokens)
        # The original text: the search stays inside the gateway, and a placeholder finds nothing.
        question = question_of(conversation)
        talk = self._parts.retriever is None or is_small_talk(question.text)
        passages = [] if talk else await self._retrieve(question)
        if not talk and (said := self._refused(question, passages)):
            return said
        model.prefetch()
        masked, masked_passages, vault = await self._mask(conversation, passages)
        prompt = assemble(
            self._ctx,
            masked,
            masked_passages,
            token_budget=passage_budget,
            count_tokens=tokens.count,
        )
        prompt_tokens = tokens.count_messages(_as_dicts(prompt.messages))
        check_context(self._ctx, prompt_tokens + max_tokens)
        meter.prepared(prompt_tokens, len(prompt.sources))
        kept = request.placeholders == "kept"
        # What the customer is shown of a source is the source, not what the engine saw of it.
        sources = _originals(prompt.sources, masked_passages if kept else passages)
        job = self._job(request, prompt, max_tokens, meter)
        return _Prepared(job, prompt_tokens, sources, vault, kept)

    async def _mask(
        self, conversation: list[Message], passages: list[Passage]
    ) -> tuple[list[Message], list[Passage], Vault | None]:
        if self._parts.masker is None:
            return conversation, passages, None
        masked = await self._parts.masker.mask(
            self._ctx,
            [turn.content for turn in conversation],
            [passage.masked or passage.text for passage in passages],
        )
        turns = zip(conversation, masked.texts, strict=True)
        sources = zip(passages, masked.documents, strict=True)
        return (
            [replace(turn, content=text) for turn, text in turns],
            [replace(passage, text=text) for passage, text in sources],
            masked.vault,
        )

    async def _retrieve(self, question: Question) -> list[Passage]:
        if self._parts.retriever is None:
            return []
        return await self._parts.retriever.of(self._ctx).search(question, limit=self._options.top_k)

    def _refused(self, question: Question, passages: list[Passage]) -> str | None:
        refusal = self._parts.refusal
        return None if refusal is None else refusal.of(self._ctx, question, passages)

    def _job(self, request: ChatRequest, prompt: Prompt, max_tokens: int, meter: Meter) -> Job:
        return Job(
            request_id=meter.request_id,
            messages=_as_dicts(prompt.messages),
            max_tokens=max_tokens,
            sampling=request.sampling,
        )

    async def _generate(
        self,
        engine: EngineClient,
        model: ModelChoice,
        prepared: _Prepared,
        meter: Meter,
        watched: Watched,
    ) -> AsyncGenerator[AnswerText, None]:
        out = self._outward(prepared)
        deadline = time.monotonic() + self._options.queue_seconds
        queue = self._parts.queue.of(self._ctx)
        async with queue.turn(prompt_tokens=prepared.prompt_tokens, deadline=deadline) as turn:
            watched.began(prepared.vault)
            async with model.lease(deadline) as lease:
                meter.started()
                stream = self._stream(engine, lease, prepared.job, meter)
                async with aclosing(stream) as deltas:
                    async for delta in deltas:
                        if delta.text:
                            turn.charge(output_tokens=1)
                        if text := out.feed(delta.text):
                            yield AnswerText(meter.emitted(text))
        if text := out.flush():
            yield AnswerText(meter.emitted(text))
        watched.said()

    async def _end(self, prepared: _Prepared, meter: Meter) -> AnswerEnd:
        citations = cite(prepared.sources, meter.answer, self._clean(prepared.vault))
        if prepared.vault is not None and prepared.vault.tripped:
            log.warning("canary_in_answer", tenant=self._ctx.tenant_id, request=meter.request_id)
        conversation = await self._conversation(prepared, meter)
        return AnswerEnd(meter.finish_reason, citations, meter.tokens, conversation)

    def _stream(
        self, engine: EngineClient, lease: Lease, job: Job, meter: Meter
    ) -> AsyncGenerator[Delta, None]:
        """The engine's pieces. Namespace and job name the adapter by the same one load of it."""
        scope = replace(self._parts.scope, adapter=lease.engine_name)
        own = engine.of(self._ctx, self._parts.namespaces.derive(self._ctx, scope))
        return lease.guarded(_metered(own, replace(job, adapter=lease.engine_name), meter))

    def _outward(self, prepared: _Prepared) -> StreamTransform:
        guard, vault = self._parts.guard(self._ctx).stream(), prepared.vault
        if vault is None:
            return guard
        kept = prepared.keeps_placeholders
        return Chain([vault.masked_answer(self._ctx) if kept else vault.answer(self._ctx), guard])

    async def _conversation(self, prepared: _Prepared, meter: Meter) -> Conversation | None:
        if prepared.vault is None or not prepared.keeps_placeholders:
            return None
        tokens = self._parts.conversations
        return await prepared.vault.conversation(self._ctx, tokens, meter.request_id)

    def _clean(self, vault: Vault | None) -> Callable[[str], str]:
        """Sources are shown as they are, but for what must not leave."""
        guard = self._parts.guard(self._ctx)
        return guard.clean if vault is None else lambda text: guard.clean(vault.clean(text))


async def _metered(engine: TenantEngine, job: Job, meter: Meter) -> AsyncGenerator[Delta, None]:
    """The job's pieces. Left early, it still says what it cost: the engine tells when it ended."""
    try:
        async with aclosing(engine.stream(job)) as deltas:
            async for delta in deltas:
                meter.saw(delta)
                yield delta
    except EngineUnavailableError:
        raise
    except BaseException:
        meter.settled(await engine.settle(job))
        raise


def _originals(sources: list[Passage], passages: list[Passage]) -> list[Passage]:
    """The passages that the prompt's sources were, before masking and cutting."""
    found = {_place(passage): passage for passage in passages}
    return [found[_place(source)] for source in sources]


def _place(passage: Passage) -> tuple[str, str, int]:
    return passage.document_id, passage.version, passage.ordinal


def _as_dicts(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]
