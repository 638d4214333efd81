"""The parts of a running gateway, as its routes see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rag.embedding.port import Embedder
from serving.gateway.chat import ChatService
from serving.gateway.ports import (
    Ingestion,
    OperatorAuthenticator,
    Retrieval,
    TenantAuthenticator,
)
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether chats can be answered; `detail` says what is missing, and nothing of a tenant."""

    ready: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything the routes reach. Shared parts only: each is bound to a tenant at its use."""

    settings: Settings
    tenants_keys: TenantAuthenticator
    operator_keys: OperatorAuthenticator
    chat: ChatService
    retriever: Retrieval
    ingestor: Ingestion
    embedder: Embedder
    readiness: Callable[[], Readiness]
