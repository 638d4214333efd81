"""The one place where the tenant predicate is made. Every filter of the store begins here."""

from __future__ import annotations

from qdrant_edge import FieldCondition, Filter, MatchValue

from isolation.tenant_id import TenantId

TENANT = "tenant_id"
DOCUMENT = "document_id"
VERSION = "version"
STATE = "state"
STAGED, PUBLISHED = "staged", "published"


def published_of(tenant: TenantId, document_id: str | None = None) -> Filter:
    """What a tenant's reads may see: its own published points, of one document if named."""
    document = [] if document_id is None else [_is(DOCUMENT, document_id)]
    return Filter(must=[_is(TENANT, tenant), _is(STATE, PUBLISHED), *document])


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
