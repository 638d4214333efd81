"""A whole gateway in this process: the one place, beside `app`, that wires the parts together."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from isolation.guard.links import LinkGuard
from isolation.namespaces import NamespaceDeriver
from rag.retrieval.compression import SMALL_MODEL, Compressor
from serving.adapters.models import AdapterModels
from serving.admission.concurrency import ValkeyConcurrency
from serving.admission.rates import ValkeyRates
from serving.admission.suspects import Suspects
from serving.control.dead_letters import MOST_CRASHES
from serving.embedded.adapters import open_models
from serving.embedded.core import Core, runtime_of
from serving.embedded.engine import Engine, EngineKv, cache_scope, make_engine
from serving.embedded.public_prefixes import PublicPrefixes, keeping
from serving.embedded.rollouts import open_trials
from serving.embedded.valkey import open_valkey
from serving.engine.launch import Worker
from serving.engine.tokens import ByteCounter, TokenCounter, TokenizerCounter
from serving.gateway.chat import ChatService
from serving.gateway.chat_parts import ChatOptions, ChatParts
from serving.gateway.counting import Counting
from serving.gateway.refusal import Refusal
from serving.gateway.runtime import DemoTenant, Readiness, Runtime
from serving.key_files import derived_key
from serving.metering.metrics import Metrics
from serving.rollout.trials import Trials
from serving.scheduler.queue import FairQueue
from serving.settings import Settings
from serving.tracing import Traces, open_traces

# Parsers with which SGLang compiles the schemas of strict tools and of no others. With others it
# compiles those of a call that is forced, too, or has formats of its own.
_STRICT_TOOLS_ALONE = ("off", "hermes", "qwen", "qwen25")


@asynccontextmanager
async def open_gateway(
    core: Core,
    *,
    worker: Worker | None,
    on_refused: Callable[[str], None],
    demo: Callable[[], Sequence[DemoTenant]] = tuple,
) -> AsyncGenerator[Runtime, None]:
    """The parts of a gateway over `core`; the engine starts, and is not waited for.

    worker: the engine to run here; None where the settings name one by URL.
    on_refused: told why an engine was refused by the probe.
    """
    async with AsyncExitStack() as stack:
        engine = make_engine(core.settings, worker, core.operator, on_refused)
        stack.push_async_callback(engine.close)
        engine.start()
        core.deletion.clears(EngineKv(engine, ours=worker is not None))
        # Loading takes seconds, and the engine loads meanwhile.
        await core.embedder.embed(["ready"])
        if core.masking is not None:
            await core.masking.workers.start()
        metrics = Metrics()
        parts = await _chat_parts(core, engine, worker, metrics, stack)
        chat = ChatService(parts, _options(core.settings))
        stack.push_async_callback(chat.close)
        public = PublicPrefixes(core.public_prefixes, engine.client, parts.tokens)
        await stack.enter_async_context(keeping(public, core.operator))
        traces = _traces(core.settings)
        stack.push_async_callback(traces.close)
        runtime = runtime_of(
            core,
            chat=chat,
            public=public,
            metrics=metrics,
            readiness=lambda: Readiness(engine.ready, engine.detail),
            demo=demo,
        )
        yield replace(runtime, traces=traces)


async def _chat_parts(
    core: Core, engine: Engine, worker: Worker | None, metrics: Metrics, stack: AsyncExitStack
) -> ChatParts:
    settings = core.settings
    model = worker.model if worker is not None else settings.model_path
    redis = await stack.enter_async_context(open_valkey(settings))
    queue, counting = FairQueue(settings.engine_slots), Counting()
    masker = None if core.masking is None else core.masking.masker
    metrics.queue_waiting.set_function(lambda: queue.waiting)
    if masker is not None:
        metrics.masking_waiting.set_function(lambda: masker.slots.waiting)
    return ChatParts(
        engine=engine.client,
        tokens=_token_counter(model),
        counting=counting,
        namespaces=NamespaceDeriver(derived_key(settings, "namespace")),
        scope=cache_scope(settings, model),
        limiter=ValkeyConcurrency(redis),
        rates=ValkeyRates(redis, core.usage.tokens),
        suspects=Suspects(
            core.crashes, derived_key(settings, "suspected requests"), most=MOST_CRASHES
        ),
        queue=queue,
        usage=core.usage,
        policies=core.policies,
        masker=masker,
        retriever=core.retriever if settings.retrieval == "on" else None,
        refusal=_refusal(settings),
        guard=_guards(settings),
        conversations=core.conversations,
        compressor=_compressor(core, worker),
        models=await _models(core, engine, metrics, stack),
        trials=await _trials(core, stack),
    )


def _traces(settings: Settings) -> Traces:
    key = derived_key(settings, "tenants in traces")
    return open_traces(os.environ, key, takes_context=settings.trace_context == "taken")


async def _models(
    core: Core, engine: Engine, metrics: Metrics, stack: AsyncExitStack
) -> AdapterModels | None:
    opened = open_models(core.settings, core.adapters, core.operator, engine.client, metrics)
    return await stack.enter_async_context(opened)


async def _trials(core: Core, stack: AsyncExitStack) -> Trials | None:
    if core.adapters.parts is None:
        return None
    key = derived_key(core.settings, "rollout assignment")
    opened = open_trials(core.adapters.rollouts, core.operator, key, core.deletion)
    return await stack.enter_async_context(opened)


def _token_counter(model: Path | None) -> Callable[[], TokenCounter]:
    counter = TokenizerCounter(model) if model is not None else ByteCounter()
    return lambda: counter


def _guards(settings: Settings) -> Callable[[object], LinkGuard]:
    guard = LinkGuard(frozenset(host.lower() for host in settings.link_hosts))
    return lambda ctx: guard


def _refusal(settings: Settings) -> Refusal | None:
    if settings.refusal == "off" or settings.retrieval == "off":
        return None
    return Refusal(settings.refusal_threshold, settings.refusal_text, settings.refusal_texts)


def _compressor(core: Core, worker: Worker | None) -> Compressor | None:
    sentences = core.settings.prompt_sentences
    if sentences is None:
        # A larger model reads whole passages well, and a GPU has read them in no time.
        sentences = SMALL_MODEL if worker is not None and worker.device == "cpu" else 0
    if not sentences or core.settings.retrieval == "off":
        return None
    return Compressor(lambda: core.retriever.generation.embedder, sentences)


def _options(settings: Settings) -> ChatOptions:
    return ChatOptions(
        top_k=settings.top_k,
        passage_tokens=settings.passage_tokens,
        default_max_tokens=settings.default_max_tokens,
        queue_seconds=settings.queue_seconds,
        tools=settings.engine_tool_parser != "off",
        strict_tools=settings.engine_tool_parser not in _STRICT_TOOLS_ALONE,
    )
