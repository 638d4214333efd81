"""What the gateway needs of its parts, as it uses them. `of(ctx)` binds; nothing else has data."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from isolation.context import OperatorContext, TenantContext
from rag.catalog import CatalogEntry
from rag.documents import Passage, Source
from rag.export import DocumentBegins
from rag.filters import Where
from rag.retrieval.follow_up import Question
from serving.adapters.ports import AdapterRecord
from serving.admission.standing import Standing
from serving.control.public_prefixes import KeptPrefix, PrefixStep, SharedText
from serving.engine.client import Delta
from serving.engine.public import PublicState
from serving.rollout.figures import ArmFigures
from serving.rollout.trials import Route, Trial


class TenantRetrieval(Protocol):
    """One tenant's search."""

    async def search(
        self, question: Question, *, limit: int, where: Where | None = None
    ) -> list[Passage]:
        """The best passages, best first."""


class Retrieval(Protocol):
    """Search. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantRetrieval:
        """The tenant's own."""


class TenantCompression(Protocol):
    """What shortens one tenant's passages."""

    async def compress(self, question: Question, passages: Sequence[Passage]) -> list[Passage]:
        """The passages as a prompt gets them, in their order."""


class Compression(Protocol):
    """What shortens passages. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantCompression:
        """For the tenant's own."""


class Lease(Protocol):
    """A hold on what answers a request: the base model, or an adapter in the engine."""

    @property
    def engine_name(self) -> str:
        """What the engine calls it: opaque, new at every load. Empty: the base model."""

    def guarded(self, stream: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
        """The stream, until its end or until the adapter is taken out of service."""


class TenantModels(Protocol):
    """One tenant's adapters."""

    async def resolve(self, model: str) -> AdapterRecord:
        """The adapter that is meant; raises ModelNotFoundError."""

    def prefetch(self, record: AdapterRecord) -> None:
        """Begin to load it."""

    def lease(self, record: AdapterRecord, deadline: float) -> AbstractAsyncContextManager[Lease]:
        """Holds it in the engine; waits for a place until `deadline` (monotonic, seconds)."""


class Models(Protocol):
    """Adapters as models. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantModels:
        """The tenant's own."""


class TenantTrials(Protocol):
    """One tenant's rollouts, as requests meet them."""

    async def route(self, model: str, conversation: str) -> Route:
        """The name to resolve in place of the one that was asked for."""

    async def observed(self, trial: Trial, figures: ArmFigures) -> None:
        """Count an answer."""


class Trials(Protocol):
    """Rollouts. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantTrials:
        """The tenant's own."""


class TenantConcurrency(Protocol):
    """One tenant's requests in flight."""

    def slot(self, request_id: str) -> AbstractAsyncContextManager[None]:
        """Holds one place; raises ConcurrencyLimitError when the tier has no more."""


class Concurrency(Protocol):
    """The concurrency limit of every tier. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantConcurrency:
        """The tenant's own."""


class Hold(Protocol):
    """What one request holds of its tenant's requests and tokens."""

    @property
    def standing(self) -> Standing | None:
        """How the tenant stands since; None where nothing was reserved."""

    async def reserve(self, tokens: int) -> None:
        """Hold the most that it may need; raises RequestRateError, TokenRateError or
        QuotaExhaustedError."""

    async def settle(self, used: int) -> None:
        """It is over, and used so many."""


class TenantRates(Protocol):
    """One tenant's limits of a minute and a month."""

    def hold(self, request_id: str) -> Hold:
        """Of a request that has its place: nothing yet."""


class Rates(Protocol):
    """The limits of a minute and a month. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantRates:
        """The tenant's own."""


class Trying(Protocol):
    """A request that is tried on an engine."""

    worker: str

    async def answered(self) -> None:
        """The engine has answered it and lives."""


class TenantSuspects(Protocol):
    """One tenant's requests that an engine had when it died."""

    def trying(
        self, request: Callable[[], bytes], model: str, *, wait_seconds: float
    ) -> AbstractAsyncContextManager[Trying]:
        """Try one; raises RequestQuarantinedError for a dead letter."""


class Suspects(Protocol):
    """Requests that an engine had when it died. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantSuspects:
        """The tenant's own."""


class Turn(Protocol):
    """A place at the engine."""

    def charge(self, *, output_tokens: int) -> None:
        """Charge the tenant's virtual counter."""


class TenantQueue(Protocol):
    """One tenant's waiting line."""

    def turn(self, *, prompt_tokens: int, deadline: float) -> AbstractAsyncContextManager[Turn]:
        """Waits for a place until `deadline` (monotonic clock, seconds)."""


class Queue(Protocol):
    """The fair queue before the engine. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantQueue:
        """The tenant's own line."""


class IngestOutcome(Protocol):
    """What an ingestion did."""

    @property
    def status(self) -> str:
        """`created`, `replaced` or `unchanged`."""

    @property
    def chunks(self) -> int:
        """How many chunks the document has now."""


class TenantIngestion(Protocol):
    """One tenant's documents."""

    async def ingest(self, document: Source) -> IngestOutcome:
        """Make `document` the one version of its id."""

    async def unchanged(self, document_id: str, source: str, groups: frozenset[str]) -> bool:
        """Whether the document is what a file of this digest gives."""

    async def page(self, *, after: str | None, limit: int) -> list[CatalogEntry]:
        """The first `limit` by id; of those behind `after`."""

    async def get(self, document_id: str) -> CatalogEntry:
        """One; raises DocumentNotFoundError."""

    async def delete(self, document_id: str) -> None:
        """Delete one; raises DocumentNotFoundError."""


class Ingestion(Protocol):
    """Documents. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantIngestion:
        """The tenant's own."""


TenantPieces = AsyncGenerator[DocumentBegins | str, None]


class Exporter(Protocol):
    """A tenant's own documents, out again."""

    def pieces(self, ctx: TenantContext) -> TenantPieces:
        """Each document, and then its text."""


class Reembedding(Protocol):
    """All vectors anew with another model, in the background."""

    async def start(self, operator: OperatorContext, embedding: str) -> None:
        """Begin; raises ReembeddingRunsError while one is under way."""

    def status(self, operator: OperatorContext) -> dict[str, Any]:
        """How far it is."""


PrefixState = Literal["published", "waiting", "refused"]


@dataclass(frozen=True, slots=True)
class ListedPrefix:
    """A public prefix, and whether the engine has it. reason: why it was refused there. length: in
    tokens, right after it was published."""

    kept: KeptPrefix
    state: PrefixState
    reason: str = ""
    length: int | None = None


class PublicPrefixes(Protocol):
    """What the operator shares with all tenants."""

    async def publish(self, operator: OperatorContext, name: str, text: SharedText) -> ListedPrefix:
        """Share it; raises PublicPrefixRefusedError or TooManyPublicPrefixesError."""

    async def list(
        self, operator: OperatorContext
    ) -> tuple[Sequence[ListedPrefix], PublicState | None]:
        """All, and the engine's public part where it can be asked."""

    async def get(
        self, operator: OperatorContext, name: str
    ) -> tuple[KeptPrefix, Sequence[PrefixStep]]:
        """One, and the audit trail of its name; raises PublicPrefixNotFoundError."""

    async def withdraw(self, operator: OperatorContext, name: str, *, now: bool) -> None:
        """Share it no more; raises PublicPrefixNotFoundError, and EngineUnavailableError where it
        was to be out of the engine now."""


class TenantAuthenticator(Protocol):
    """The way to a tenant's context."""

    async def authenticate(self, bearer: str) -> TenantContext:
        """Raises InvalidApiKeyError or TenantSuspendedError."""


class OperatorAuthenticator(Protocol):
    """The way to an operator's context."""

    def authenticate(self, bearer: str) -> OperatorContext:
        """Raises InvalidApiKeyError."""
