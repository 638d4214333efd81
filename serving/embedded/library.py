"""The library without a gateway: a knowledge base of many tenants inside one application.

The application registers how it knows its users (`isolation.identity`); a credential opens its
tenant's knowledge base, and there is no function that opens another one.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding

from isolation.context import TenantContext
from isolation.identity import CredentialVerifier, RegisteredAuthenticator
from rag.background import LoopThread, both_ways
from rag.in_process import SharedKnowledge, TenantKnowledge
from rag.llama_index.embedding import LlamaIndexEmbedder
from serving.control.errors import TenantExistsError, TenantNotFoundError
from serving.embedded.core import Core, open_core
from serving.settings import Settings

Credential = TypeVar("Credential")


class Library(Generic[Credential]):
    """One data folder, owned by this process. Open it once; a context manager.

    verifier: says whose a credential is. embedding: any LlamaIndex model, always the same for one
    folder; None, the built-in one. Tenants are added when they first come.

    Raises on opening:
        StartupError: another process has the folder, or a setting is wrong.
        UnsafeCollectionError: the folder's vectors are of another size.
    """

    def __init__(
        self,
        folder: Path,
        verifier: CredentialVerifier[Credential],
        *,
        embedding: BaseEmbedding | None = None,
    ) -> None:
        self._authenticator = RegisteredAuthenticator(verifier)
        embedder = None if embedding is None else LlamaIndexEmbedder(embedding)
        self._stack = AsyncExitStack()
        self._loop = LoopThread()
        try:
            opening = open_core(Settings(data_dir=folder), embedder=embedder)
            self._core: Core = self._loop.run(self._stack.enter_async_context(opening))
        except BaseException:
            self._loop.close()
            raise
        self._knowledge = SharedKnowledge(self._core.ingestor, self._core.retriever, self._loop)

    async def _bound(self, credential: Credential) -> TenantKnowledge:
        """The knowledge base of the credential's tenant.

        Raises:
            InvalidCredentialError: the credential is nobody's.
            AuthenticatorFailedError: the verifier broke.
        """
        return self._knowledge.of(await self._context(credential))

    authenticate, aauthenticate = both_ways(_bound)

    def close(self) -> None:
        """Close everything. Bound knowledge bases raise from now on."""
        if not self._loop.closed:
            self._loop.run(self._stack.aclose())
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _context(self, credential: Credential) -> TenantContext:
        ctx = await self._authenticator.authenticate(credential)
        registry, operator = self._core.registry, self._core.operator
        try:
            await registry.require_active(operator, ctx.tenant_id)
        except TenantNotFoundError:
            await self._added(ctx)
        return ctx

    async def _added(self, ctx: TenantContext) -> None:
        try:
            await self._core.registry.add(self._core.operator, ctx.tenant_id, ctx.tier.name)
        except TenantExistsError:
            # Deleted, and its id is not given again; or added by a request beside this one.
            await self._core.registry.require_active(self._core.operator, ctx.tenant_id)
