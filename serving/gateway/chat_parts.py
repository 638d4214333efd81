"""What chats are made of: the shared parts, and what the operator chose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from isolation.context import TenantContext
from isolation.masking.conversations import ConversationTokens
from isolation.masking.policy import Policies
from isolation.namespaces import CacheScope, NamespaceDeriver
from serving.engine.client import EngineClient
from serving.engine.tokens import TokenCounter
from serving.gateway.counting import Counting
from serving.gateway.ports import (
    Compression,
    Concurrency,
    Models,
    Queue,
    Rates,
    Retrieval,
    Suspects,
    Trials,
)
from serving.gateway.privacy_ports import Guard, Masker
from serving.gateway.refusal import Refusal
from serving.metering.usage import UsageSink


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the operator chose. Token numbers are of the engine's model. tools: whether the engine
    tells tool calls from text; strict_tools: whether it may compile the schema of any of them."""

    top_k: int
    passage_tokens: int
    default_max_tokens: int
    queue_seconds: float
    tools: bool = True
    strict_tools: bool = False


@dataclass(frozen=True, slots=True)
class ChatParts:
    """The shared parts. None of them shows a tenant's state before it is bound.

    `engine` raises `EngineUnavailableError` until a probed engine is there; `policies` hold the
    canaries of answers that nothing was masked for; `masker`, `retriever`, `refusal` and
    `compressor`, which is for adapters, are None where the operator switched them off, as `models`
    and `trials` are: base model only.
    """

    engine: Callable[[], EngineClient]
    tokens: Callable[[], TokenCounter]
    counting: Counting
    namespaces: NamespaceDeriver
    scope: CacheScope
    limiter: Concurrency
    rates: Rates
    suspects: Suspects
    queue: Queue
    usage: UsageSink
    policies: Policies
    masker: Masker | None
    retriever: Retrieval | None
    refusal: Refusal | None
    guard: Callable[[TenantContext], Guard]
    conversations: ConversationTokens
    compressor: Compression | None = None
    models: Models | None = None
    trials: Trials | None = None
