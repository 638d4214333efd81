"""Leaky twins: the platform with one thing broken. Each must be caught by the attacks.

Most are without the last check on what the engine returns, so that what catches them are the
attacks' own judgements.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

from isolation.tenant_id import TenantId
from rag.documents import DocumentPage
from rag.filters import Where
from rag.store import payload, predicate
from rag.store.conditions import Every, TextIs, Within
from rag.store.edge import collection, hybrid
from rag.store.point_ids import point_id
from rag.store.port import VectorStore
from rag.testing.post_filtered import PostFiltered

_PUBLISHED = Every((TextIs(predicate.STATE, predicate.PUBLISHED),))
_PREDICATE = "rag.store.predicate"
_EDGE, _HYBRID = "rag.store.edge.collection", "rag.store.edge.hybrid"
_CATALOGUE = "serving.control.catalog"


@dataclass(frozen=True, slots=True)
class Twin:
    """What is broken: module attributes (`patches`, by path) and what stands before the store.

    caught_by: the class of attacks that is made for it. blind: without the last check. scars: what
    it did stays in the world behind it.
    """

    name: str
    caught_by: str
    patches: dict[str, Any]
    blind: bool = True
    scars: bool = False
    wrap: Callable[[VectorStore], VectorStore] = lambda store: store

    @contextmanager
    def broken(self) -> Generator[None, None, None]:
        """The platform is this twin while the block runs."""
        blinded = {"rag.store.payload.require_same_tenant": lambda *_: None} if self.blind else {}
        with ExitStack() as stack:
            for path, broken in (blinded | self.patches).items():
                stack.enter_context(patch(path, broken))
            yield


def _everybodys(*_: Any, **__: Any) -> Every:
    return _PUBLISHED


def _of_anybody(table: Any, tenant: TenantId, document_id: str | None = None) -> Any:
    """The catalogue's one WHERE, without whose."""
    return table.tenant_id != "" if document_id is None else table.document_id == document_id


def _replaced(honest: Callable[..., Every]) -> Callable[..., Every]:
    """A caller's filter stands in for the tenant's, as in LlamaIndex's own store."""

    def visible_to(ctx: Any, document_id: Any = None, where: Where | None = None) -> Every:
        own = honest(ctx, document_id, where)
        return own if where is None else Every(own.parts[-1:])

    return visible_to


def _trusting(honest: Any) -> Any:
    """A cursor is taken for a proof that its page may be seen."""

    async def listing(self: Any, *, limit: int = 100, after: str | None = None) -> DocumentPage:
        everybodys = Every((*_PUBLISHED.parts, Within(predicate.ORDINAL, 0, 0)))
        with ExitStack() as stack:
            if after is not None:
                stack.enter_context(patch(f"{_PREDICATE}.documents_of", lambda _: everybodys))
            page: DocumentPage = await honest(self, limit=limit, after=after)
            return page

    return listing


def _posing(honest: Any) -> Any:
    """Metadata lies beside the store's own fields, and is written last."""
    return lambda ctx, version, chunk: honest(ctx, version, chunk) | dict(version.metadata)


def _without(module: ModuleType, name: str, *fields: str) -> Any:
    """The engine's class, deaf to these fields."""
    honest = vars(module)[name]
    return lambda **asked: honest(**{k: v for k, v in asked.items() if k not in fields})


TWINS = (
    Twin("predicate-without-tenant", "same-query", {f"{_PREDICATE}.visible_to": _everybodys}),
    Twin("second-line-alone", "same-query", {f"{_PREDICATE}.visible_to": _everybodys}, blind=False),
    Twin(
        "query-without-filter",
        "same-query",
        {
            f"{_HYBRID}.{name}": _without(hybrid, name, "filter")
            for name in ("Prefetch", "QueryRequest")
        },
    ),
    Twin(
        "filtered-after-the-search",
        "poisoning",
        {f"{_PREDICATE}.visible_to": _everybodys},
        wrap=PostFiltered,
        scars=True,
    ),
    Twin(
        "callers-filter-in-place-of-the-predicate",
        "filters",
        {f"{_PREDICATE}.visible_to": _replaced(predicate.visible_to)},
    ),
    Twin(
        "cursor-trusted",
        "foreign-cursors",
        {f"{_EDGE}.EdgeTenantCollection.list": _trusting(collection.EdgeTenantCollection.list)},
    ),
    Twin("reads-without-tenant", "vectors", {f"{_PREDICATE}.chunks_of": _everybodys}),
    Twin(
        "count-of-everybody",
        "membership",
        {f"{_EDGE}.CountRequest": _without(collection, "CountRequest", "filter")},
        blind=False,
    ),
    Twin("groups-forgotten", "groups", {f"{_PREDICATE}._access": lambda _: ()}, blind=False),
    Twin(
        "groups-forgotten-by-the-catalogue",
        "groups",
        {f"{_CATALOGUE}._visible": lambda _: True},
        blind=False,
    ),
    Twin(
        "catalogue-without-tenant",
        "unknown-or-foreign",
        {f"{_CATALOGUE}.of_document": _of_anybody},
        blind=False,
        scars=True,
    ),
    Twin(
        "metadata-over-the-stores-fields",
        "posing-metadata",
        {f"{_EDGE}.payload_of": _posing(payload.payload_of)},
        scars=True,
    ),
    Twin(
        "writes-without-tenant",
        "id-squatting",
        {f"{_PREDICATE}.document_of": lambda _, name: Every((TextIs(predicate.DOCUMENT, name),))},
        scars=True,
    ),
    Twin(
        "shared-point-ids",
        "id-squatting",
        {
            f"{_EDGE}.point_id": lambda _, *parts: point_id(TenantId("everybody"), *parts),
            f"{_PREDICATE}.everything_of": lambda _: Every(()),
        },
        scars=True,
    ),
    Twin(
        "term-statistics-of-everybody",
        "term-statistics",
        {f"{_HYBRID}.SearchParams": _without(hybrid, "SearchParams", "idf")},
        blind=False,
    ),
)
