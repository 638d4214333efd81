"""What holds data: the database, the vector store, and what reads and writes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from isolation.context import OperatorContext
from isolation.masking.conversations import ConversationTokens
from rag.embedding.port import Embedder
from rag.export import Exporter
from rag.ingest import Ingestor
from rag.live import LiveRetriever
from rag.reading.limits import ReadingLimits
from rag.reading.parsers import Parsers
from rag.spool import Spool
from rag.transfer import TenantTransfer
from serving.control.authentication import ApiKeyAuthenticator, OperatorKeyAuthenticator
from serving.control.database import Database
from serving.control.dead_letters import CrashLedger
from serving.control.deletion import TenantDeletion
from serving.control.placement import TenantPlaces
from serving.control.policies import PolicyRegistry
from serving.control.public_prefixes import PublicPrefixRecords
from serving.control.tenants import TenantRegistry
from serving.control.usage import UsageLedger
from serving.control.vaults import SqlDocumentVaults
from serving.data_folder import owned
from serving.embedded.adapters import AdapterStore, open_adapters
from serving.embedded.following import Following
from serving.embedded.knowledge import Knowledge, open_knowledge
from serving.embedded.masking import OpenMasking, open_masking
from serving.embedded.private import Private
from serving.embedded.public_prefixes import PublicPrefixes
from serving.embedded.reconciling import Reconciling
from serving.embedded.records import Records, open_records
from serving.embedded.reembedding import GatewayReembedding
from serving.embedded.store import placement_of
from serving.engine.client import EngineClient
from serving.engine.tokens import ByteCounter
from serving.errors import EngineUnavailableError
from serving.gateway.chat import ChatService
from serving.gateway.runtime import DemoTenant, Readiness, Runtime
from serving.metering.metrics import Metrics
from serving.settings import Settings
from serving.training.folders import TrainingFolders


@dataclass(frozen=True, slots=True)
class Core:
    """The parts that the gateway and the command line share."""

    settings: Settings
    operator: OperatorContext
    database: Database
    registry: TenantRegistry
    policies: PolicyRegistry
    masking: OpenMasking | None
    conversations: ConversationTokens
    tenants_keys: ApiKeyAuthenticator
    operator_keys: OperatorKeyAuthenticator
    knowledge: Knowledge
    spool: Spool
    parsers: Parsers
    deletion: TenantDeletion
    places: TenantPlaces
    reembedding: GatewayReembedding
    public_prefixes: PublicPrefixRecords
    usage: UsageLedger
    crashes: CrashLedger
    adapters: AdapterStore

    @property
    def ingestor(self) -> Ingestor:
        return self.knowledge.ingestor

    @property
    def retriever(self) -> LiveRetriever:
        return self.knowledge.retriever

    @property
    def embedder(self) -> Embedder:
        return self.retriever.embedder


@asynccontextmanager
async def open_core(
    settings: Settings, *, embedder: Embedder | None = None
) -> AsyncGenerator[Core, None]:
    """Own the data folder, migrate the database, open the shard, finish interrupted writes.

    embedder: instead of the one that the settings name.

    Raises:
        StartupError: something is in the way; the message is one line with the way out.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(owned(settings.data_dir))
        records = await open_records(settings, stack)
        masking = open_masking(settings, records.policies, stack)
        private = _private(records, masking)
        knowledge = await stack.enter_async_context(
            open_knowledge(settings, records.database, records.registry, private, embedder)
        )
        yield await _core(settings, records, masking, knowledge, stack)


async def _core(
    settings: Settings,
    records: Records,
    masking: OpenMasking | None,
    knowledge: Knowledge,
    stack: AsyncExitStack,
) -> Core:
    """What stands on the open knowledge base; interrupted writes and deletions are finished."""
    reembedding, usage = _reembedding(knowledge, stack), _usage(records, stack)
    await _caught_up(settings, records, knowledge, stack)
    spool, parsers = _reading(settings, stack)
    deletion = _deletion(records, masking, knowledge)
    adapters = await _adapters(settings, records, deletion, stack)
    deletion.clears(knowledge.generations)
    crashes = CrashLedger(records.database)
    deletion.clears(crashes)
    await deletion.resume(records.operator)
    return Core(
        settings=settings,
        operator=records.operator,
        database=records.database,
        registry=records.registry,
        policies=records.policies,
        masking=masking,
        conversations=ConversationTokens(records.token_keys),
        tenants_keys=records.tenants_keys,
        operator_keys=records.operator_keys,
        knowledge=knowledge,
        spool=spool,
        parsers=parsers,
        deletion=deletion,
        places=_places(records, knowledge),
        reembedding=reembedding,
        public_prefixes=PublicPrefixRecords(records.database),
        usage=usage,
        crashes=crashes,
        adapters=adapters,
    )


def _private(records: Records, masking: OpenMasking | None) -> Private:
    vaults = SqlDocumentVaults(records.database, records.vault_keys)
    masker = None if masking is None else masking.masker
    return Private(records.text_keys, vaults, records.policies, masker)


def _reembedding(knowledge: Knowledge, stack: AsyncExitStack) -> GatewayReembedding:
    reembedding = GatewayReembedding(knowledge)
    stack.push_async_callback(reembedding.close)
    return reembedding


def _usage(records: Records, stack: AsyncExitStack) -> UsageLedger:
    usage = UsageLedger(records.database)
    usage.start()
    stack.push_async_callback(usage.close)
    return usage


async def _caught_up(
    settings: Settings, records: Records, knowledge: Knowledge, stack: AsyncExitStack
) -> None:
    """Finish interrupted writes; beside other gateways, again and again, and follow their moves."""
    alone = settings.qdrant_url is None
    await knowledge.ingestor.reconcile(records.operator, alone=alone)
    if not alone:
        reconciling = Reconciling(knowledge.ingestor, records.operator)
        reconciling.start()
        stack.push_async_callback(reconciling.close)
    if knowledge.moves is not None:
        following = Following(knowledge, knowledge.moves, records.operator)
        await following.start()
        stack.push_async_callback(following.close)


def _reading(settings: Settings, stack: AsyncExitStack) -> tuple[Spool, Parsers]:
    limits = ReadingLimits(
        size=settings.max_file_bytes,
        seconds=settings.parse_seconds,
        memory=settings.parse_memory_bytes,
    )
    spool = Spool(settings.data_dir / "spool")
    parsers = Parsers(spool, limits, at_once=settings.parsers)
    stack.callback(parsers.close)
    return spool, parsers


def _deletion(
    records: Records, masking: OpenMasking | None, knowledge: Knowledge
) -> TenantDeletion:
    deletion = TenantDeletion(records.registry, knowledge.ingestor)
    for part in (records.policies, records.text_keys, records.vault_keys, records.token_keys):
        deletion.reaches(part)
    if masking is not None:
        deletion.reaches(masking.masker)
    return deletion


async def _adapters(
    settings: Settings, records: Records, deletion: TenantDeletion, stack: AsyncExitStack
) -> AdapterStore:
    """A deletion destroys the tenant's key first."""
    deletion.clears(records.keys)
    adapters = await open_adapters(
        settings, records.database, records.keys, records.operator, stack
    )
    deletion.clears(adapters.registry)
    deletion.clears(adapters.rollouts.rollouts)
    deletion.clears(TrainingFolders(settings.data_dir / "training"))
    deletion.reaches(adapters.rollouts.plans)
    return adapters


def _places(records: Records, knowledge: Knowledge) -> TenantPlaces:
    return TenantPlaces(
        records.registry,
        knowledge.catalog,
        lambda: placement_of(knowledge.engine, on_a_server=knowledge.moves is not None),
        knowledge.moves,
    )


def runtime_of(
    core: Core,
    *,
    chat: ChatService | None,
    public: PublicPrefixes,
    metrics: Metrics,
    readiness: Callable[[], Readiness],
    demo: Callable[[], Sequence[DemoTenant]] = tuple,
) -> Runtime:
    """The parts as the routes see them. chat, demo: as in `Runtime`."""
    return Runtime(
        settings=core.settings,
        registry=core.registry,
        policies=core.policies,
        deletion=core.deletion,
        places=core.places,
        transfer=TenantTransfer(core.ingestor),
        usage=core.usage,
        crashes=core.crashes,
        metrics=metrics,
        tenants_keys=core.tenants_keys,
        operator_keys=core.operator_keys,
        chat=chat,
        retriever=core.retriever,
        ingestor=core.ingestor,
        spool=core.spool,
        parsers=core.parsers,
        exporter=Exporter(core.ingestor, core.spool),
        conversations=core.conversations,
        embedder=core.embedder,
        reembedding=core.reembedding,
        public_prefixes=public,
        readiness=readiness,
        demo=demo,
        adapters=core.adapters.parts,
        masker=None if core.masking is None else core.masking.masker,
    )


def runtime_without_engine(core: Core) -> Runtime:
    """Everything but chats: for the command line, when no gateway runs."""
    away = Readiness(False, "there is no engine in this process")
    public = PublicPrefixes(core.public_prefixes, _no_engine, ByteCounter)
    return runtime_of(core, chat=None, public=public, metrics=Metrics(), readiness=lambda: away)


def _no_engine() -> EngineClient:
    raise EngineUnavailableError
