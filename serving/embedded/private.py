"""What lies between the platform and an engine of vectors: the tenants' keys, and their vaults."""

from __future__ import annotations

from dataclasses import dataclass

from isolation.masking.policy import Policies
from rag.masked_source import Masking
from rag.store.port import VectorStore
from rag.store.sealed import SealedVectorStore, TextKeys
from rag.store.vaulted import VaultedVectorStore
from rag.store.vaults import DocumentVaults


@dataclass(frozen=True, slots=True)
class Private:
    """What keeps texts from whoever holds the engine's files: their keys, and masked documents'
    vaults. policies: who reads those. masking: None, no document is masked."""

    keys: TextKeys
    vaults: DocumentVaults
    policies: Policies
    masking: Masking | None

    def over(self, engine: VectorStore, *, filling: bool = False) -> VectorStore:
        """The store as it is used."""
        sealed = SealedVectorStore(engine, self.keys)
        return VaultedVectorStore(sealed, self.vaults, self.policies, filling=filling)
