"""Versions of the whole store: one answers, and another one may be filled to take its place.

A generation is made with one engine and one embedding model, and says so. An engine's adapter keeps
them apart as it can: in folders with a pointer, or in collections with an alias.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from isolation.context import OperatorContext
from isolation.tenant_id import TenantId
from rag.errors import UnsafeCollectionError
from rag.store.port import VectorStore
from rag.store.terms import TermSpace


@dataclass(frozen=True, slots=True)
class MadeWith:
    """What vectors depend on. `checksum`: of the model's files."""

    model: str
    dimension: int
    checksum: str
    terms: TermSpace = TermSpace.own

    @classmethod
    def read(cls, manifest: Mapping[str, Any]) -> MadeWith:
        """What a manifest says; one of before terms were the tenant's own says nothing of them.

        Raises:
            TypeError, ValueError: it is not one of this version's.
        """
        terms = TermSpace(manifest.get("terms", TermSpace.shared))
        return cls(**{**manifest, "terms": terms})

    @property
    def with_shared_terms(self) -> MadeWith:
        """The same, of before there were manifests."""
        return replace(self, terms=TermSpace.shared)


class Generations(ABC):
    """All generations of one installation."""

    @abstractmethod
    async def open(self, made: MadeWith) -> VectorStore:
        """The generation that answers; the first one is made here.

        Raises:
            UnsafeCollectionError: it was made with another model, or by another engine's version;
                the message says the way out.
        """

    @abstractmethod
    async def fill(self, operator: OperatorContext, made: MadeWith, *, resume: bool) -> VectorStore:
        """The generation to be filled: what a kill left of one made with the same, if `resume`,
        else a new, empty one. Whatever else was left is dropped.
        """

    @abstractmethod
    async def switch(self, operator: OperatorContext) -> None:
        """The filled generation is the one that answers, from the next `open` on: one atomic step.
        The stores that are open stay so.
        """

    @abstractmethod
    async def drop_others(self, operator: OperatorContext) -> None:
        """Remove every generation but the one that answers. Nobody uses them any more."""

    @abstractmethod
    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        """A tenant is deleted: no generation holds anything of it when this returns, also none that
        a kill left unfinished.

        Raises:
            StoreError: that is not known.
        """


def require_same_model(found: MadeWith, made: MadeWith) -> None:
    """Raises UnsafeCollectionError, with the way out, where vectors are another model's."""
    if replace(found, terms=made.terms) != made:
        raise UnsafeCollectionError(
            f"The vectors were made with {found.model}, and BULKHEAD_EMBEDDING names {made.model} "
            "or another version of it. Name the one they were made with; 'bulkhead reembed' makes "
            "them anew with another."
        )
