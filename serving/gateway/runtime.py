"""The parts of a running gateway, as its routes see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from isolation.masking.conversations import ConversationTokens
from rag.embedding.port import Embedder
from rag.reading.parsers import Parsers
from rag.spool import Spool
from rag.transfer import TenantTransfer
from serving.adapters.registry import AdapterRegistry
from serving.adapters.uploads import Uploads
from serving.admission.in_flight import InFlight
from serving.control.dead_letters import CrashLedger
from serving.control.deletion import TenantDeletion
from serving.control.placement import TenantPlaces
from serving.control.policies import PolicyRegistry
from serving.control.residency import ResidencyLedger
from serving.control.tenants import TenantRegistry
from serving.control.usage import UsageLedger
from serving.gateway.chat import ChatService
from serving.gateway.ports import (
    Exporter,
    Ingestion,
    OperatorAuthenticator,
    PublicPrefixes,
    Reembedding,
    Retrieval,
    TenantAuthenticator,
)
from serving.gateway.privacy_ports import Masker
from serving.metering.metrics import Metrics
from serving.rollout.service import Rollouts
from serving.settings import Settings
from serving.tracing import Traces


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether chats can be answered; `detail` says what is missing, and nothing of a tenant."""

    ready: bool
    detail: str


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """A demo merchant with its key."""

    id: str
    api_key: str
    tier: str

    def __repr__(self) -> str:
        return f"DemoTenant(id={self.id!r})"


@dataclass(frozen=True, slots=True)
class AdapterParts:
    """Adapters, as the routes see them."""

    registry: AdapterRegistry
    uploads: Uploads
    residency: ResidencyLedger
    rollouts: Rollouts


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything the routes reach. Shared parts only: each is bound to a tenant at its use.

    chat: None in a process that has no engine (the command line, without a gateway).
    demo: what the chat page may offer, in demo mode.
    adapters, masker: None where the operator switched them off.
    """

    settings: Settings
    registry: TenantRegistry
    policies: PolicyRegistry
    deletion: TenantDeletion
    places: TenantPlaces
    transfer: TenantTransfer
    usage: UsageLedger
    crashes: CrashLedger
    metrics: Metrics
    tenants_keys: TenantAuthenticator
    operator_keys: OperatorAuthenticator
    chat: ChatService | None
    retriever: Retrieval
    ingestor: Ingestion
    spool: Spool
    parsers: Parsers
    exporter: Exporter
    conversations: ConversationTokens
    embedder: Embedder
    reembedding: Reembedding
    public_prefixes: PublicPrefixes
    readiness: Callable[[], Readiness]
    demo: Callable[[], Sequence[DemoTenant]] = tuple
    adapters: AdapterParts | None = None
    masker: Masker | None = None
    traces: Traces = field(default_factory=Traces)
    in_flight: InFlight = field(default_factory=InFlight)
