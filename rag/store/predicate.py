"""The one place where the tenant predicate is made. Every filter of the store begins here."""

from __future__ import annotations

from typing import assert_never

from qdrant_edge import FieldCondition, Filter, MatchValue, RangeFloat

from isolation.tenant_id import TenantId
from rag.filters import AllOf, AnyOf, Between, Equals, Metadata, Not, Scalar, Where

TENANT = "tenant_id"
DOCUMENT = "document_id"
VERSION = "version"
STATE = "state"
METADATA = "metadata"
_TEXT, _NUMBER, _BOOLEAN = "text", "number", "boolean"
STAGED, PUBLISHED = "staged", "published"


def published_of(
    tenant: TenantId, document_id: str | None = None, where: Where | None = None
) -> Filter:
    """What a tenant's reads may see: its own published points.

    document_id: of this document only. where: the caller's own filter, beside the tenant's
    predicate and never in its place.
    """
    document = [] if document_id is None else [_is(DOCUMENT, document_id)]
    asked = [] if where is None else [_compiled(where)]
    return Filter(must=[_is(TENANT, tenant), _is(STATE, PUBLISHED), *document, *asked])


def document_of(tenant: TenantId, document_id: str) -> Filter:
    """Every version of one of the tenant's documents, staged ones too."""
    return Filter(must=[_is(TENANT, tenant), _is(DOCUMENT, document_id)])


def version_of(tenant: TenantId, document_id: str, version: str) -> Filter:
    """One version of one of the tenant's documents."""
    return Filter(must=[_is(TENANT, tenant), _is(DOCUMENT, document_id), _is(VERSION, version)])


def other_versions_of(tenant: TenantId, document_id: str, version: str) -> Filter:
    """Every version of the document but this one."""
    return Filter(
        must=[_is(TENANT, tenant), _is(DOCUMENT, document_id)], must_not=[_is(VERSION, version)]
    )


def _is(key: str, value: str) -> FieldCondition:
    return FieldCondition(key=key, match=MatchValue(value=value))


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


def _compiled(where: Where) -> Filter:
    """A caller's filter: every field below the metadata's own path."""
    match where:
        case Equals(field, value):
            return Filter(must=[_equals(field, value)])
        case Between(field, at_least, at_most):
            bounds = RangeFloat(gte=at_least, lte=at_most)
            return Filter(must=[FieldCondition(key=_path(_NUMBER, field), range=bounds)])
        case AllOf(parts):
            return Filter(must=[_compiled(part) for part in parts])
        case AnyOf(parts):
            return Filter(should=[_compiled(part) for part in parts])
        case Not(part):
            return Filter(must_not=[_compiled(part)])
        case _:
            assert_never(where)


def _equals(field: str, value: Scalar) -> FieldCondition:
    kind, kept = _typed(value)
    if isinstance(kept, str):
        return _is(_path(kind, field), kept)
    return FieldCondition(key=_path(kind, field), range=RangeFloat(gte=kept, lte=kept))


def _typed(value: Scalar) -> tuple[str, str | float]:
    if isinstance(value, bool):
        return _BOOLEAN, str(value).lower()
    return (_TEXT, value) if isinstance(value, str) else (_NUMBER, float(value))


def _path(kind: str, field: str) -> str:
    return f"{METADATA}.{kind}.{field}"
