"""The one place where the tenant predicate is made. Every filter of every engine begins here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import assert_never
from uuid import UUID

from isolation.access import Access
from isolation.context import TenantContext
from isolation.tenant_id import TenantId
from rag.filters import AllOf, AnyOf, Between, Equals, Metadata, Not, Scalar, Where
from rag.store.conditions import Condition, Every, No, PointAmong, Some, TextAmong, TextIs, Within

TENANT = "tenant_id"
DOCUMENT = "document_id"
VERSION = "version"
STATE = "state"
ACCESS = "access"
ORDINAL = "ordinal"
METADATA = "metadata"
STAGED, PUBLISHED = "staged", "published"
# What every read asks for; a store that knows that it holds for all of a tenant's points leaves it
# out, the same object.
IS_PUBLISHED = TextIs(STATE, PUBLISHED)
# No group is called so (`isolation.access`).
_EVERYBODY = "*"
_TEXT, _NUMBER, _BOOLEAN = "text", "number", "boolean"


def visible_to(
    ctx: TenantContext, document_id: str | None = None, where: Where | None = None
) -> Every:
    """What a read may see: the tenant's own published points, of documents of the credential's
    groups.

    document_id: of this document only. where: the caller's own filter, beside the tenant's
    predicate and never in its place.
    """
    document = () if document_id is None else (TextIs(DOCUMENT, document_id),)
    asked = () if where is None else (_compiled(where),)
    return Every((_owned_by(ctx.tenant_id), IS_PUBLISHED, *_access(ctx.access), *document, *asked))


def weighing_for(ctx: TenantContext) -> Every:
    """The points whose terms count, where it is counted how rare a term is: the tenant's own, of
    documents of the credential's groups.

    Staged ones too: what is about to be published may count a moment early, and one condition less
    is half the time of a large tenant's search.
    """
    return Every((_owned_by(ctx.tenant_id), *_access(ctx.access)))


def documents_of(ctx: TenantContext) -> Every:
    """One point of each document that a read may see: its first chunk."""
    return Every((*visible_to(ctx).parts, Within(ORDINAL, 0, 0)))


def everything_of(tenant: TenantId) -> Every:
    """All points of a tenant, staged ones too: for its deletion, and for what writes to it."""
    return Every((_owned_by(tenant),))


def document_of(tenant: TenantId, document_id: str) -> Every:
    """Every version of one of the tenant's documents, staged ones too."""
    return Every((_owned_by(tenant), TextIs(DOCUMENT, document_id)))


def version_of(tenant: TenantId, document_id: str, version: str) -> Every:
    """One version of one of the tenant's documents."""
    return Every((*document_of(tenant, document_id).parts, TextIs(VERSION, version)))


def staged(tenant: TenantId, document_id: str, version: str) -> Every:
    """What no read sees yet of one version."""
    mine = version_of(tenant, document_id, version).parts
    return Every((*mine, TextIs(STATE, STAGED)))


def all_staged(tenant: TenantId) -> Every:
    """What no read of a tenant sees yet, of whatever document."""
    return Every((_owned_by(tenant), TextIs(STATE, STAGED)))


def anybodys_staged() -> Every:
    """What no read of anybody sees yet: to learn whose it is when a store is opened, never read."""
    return Every((TextIs(STATE, STAGED),))


def chunks_of(ctx: TenantContext, ids: Sequence[UUID]) -> Every:
    """Of these points, those that a read may see."""
    return Every((*visible_to(ctx).parts, PointAmong(tuple(ids))))


def replaced_by(
    tenant: TenantId, document_id: str, version: str, versions: Collection[str] | None = None
) -> Every:
    """Every version of the document but this one; of `versions` only, where they are given."""
    others = (*document_of(tenant, document_id).parts, No(TextIs(VERSION, version)))
    if versions is None:
        return Every(others)
    return Every((*others, TextAmong(VERSION, tuple(sorted({*versions, version})))))


def versions_of(
    tenant: TenantId, document_id: str, versions: Collection[str] | None = None
) -> Every:
    """These versions of a document, staged ones too; None: every version."""
    whole = document_of(tenant, document_id)
    if versions is None:
        return whole
    # Never empty: no version is called so.
    return Every((*whole.parts, TextAmong(VERSION, tuple(sorted({*versions, ""})))))


def anybody_elses(tenant: TenantId, points: PointAmong) -> Every:
    """Of points that the tenant was about to write, those of others: to be counted, never read."""
    return Every((No(_owned_by(tenant)), points))


def stored_access(groups: frozenset[str]) -> list[str]:
    """A document's groups as the payload keeps them."""
    return sorted(groups) or [_EVERYBODY]


def stored_metadata(metadata: Metadata) -> dict[str, dict[str, str | float]]:
    """Metadata as the payload keeps it: a path for each type, so that true is not 1 is not "1".

    Edge's binding takes a bool in a match for a whole number, and matches whole numbers and floats
    apart; as text and as ranges they mean what the caller means.
    """
    stored: dict[str, dict[str, str | float]] = {_TEXT: {}, _NUMBER: {}, _BOOLEAN: {}}
    for field, value in metadata.items():
        kind, kept = _typed(value)
        stored[kind][field] = kept
    return stored


def groups_of(access: Sequence[str]) -> frozenset[str]:
    """What `stored_access` was given."""
    return frozenset(access) - {_EVERYBODY}


def metadata_of(stored: Mapping[str, Mapping[str, str | float]]) -> dict[str, Scalar]:
    """What `stored_metadata` was given; whole numbers come back as floats."""
    booleans = {field: kept == "true" for field, kept in stored.get(_BOOLEAN, {}).items()}
    return {**stored.get(_TEXT, {}), **stored.get(_NUMBER, {}), **booleans}


def _owned_by(tenant: TenantId) -> TextIs:
    return TextIs(TENANT, tenant)


def _access(access: Access) -> tuple[Condition, ...]:
    if access.unrestricted:
        return ()
    return (TextAmong(ACCESS, (_EVERYBODY, *sorted(access.groups))),)


def _compiled(where: Where) -> Condition:
    """A caller's filter: every field below the metadata's own path."""
    match where:
        case Equals(field, value):
            return _equals(field, value)
        case Between(field, at_least, at_most):
            return Within(_path(_NUMBER, field), at_least, at_most)
        case AllOf(parts):
            return Every(tuple(_compiled(part) for part in parts))
        case AnyOf(parts):
            return Some(tuple(_compiled(part) for part in parts))
        case Not(part):
            return No(_compiled(part))
        case _:
            assert_never(where)


def _equals(field: str, value: Scalar) -> Condition:
    kind, kept = _typed(value)
    if isinstance(kept, str):
        return TextIs(_path(kind, field), kept)
    return Within(_path(kind, field), kept, kept)


def _typed(value: Scalar) -> tuple[str, str | float]:
    if isinstance(value, bool):
        return _BOOLEAN, str(value).lower()
    return (_TEXT, value) if isinstance(value, str) else (_NUMBER, float(value))


def _path(kind: str, field: str) -> str:
    return f"{METADATA}.{kind}.{field}"
