"""Point ids: a function of the tenant first, so that no tenant can name another's point."""

from __future__ import annotations

import uuid

from isolation.errors import InvalidRequestError
from isolation.tenant_id import TenantId

_NAMESPACE = uuid.UUID("5b0ff1c8-7a0e-4f0e-9f57-2a3c1de0b7ad")


def point_id(tenant: TenantId, document_id: str, version: str, ordinal: int) -> uuid.UUID:
    """The id of one chunk. The parts hold no NUL (`Document` refuses it), so none run together."""
    return uuid.uuid5(_NAMESPACE, "\0".join((tenant, document_id, version, str(ordinal))))


def cursor(after: str | None) -> uuid.UUID | None:
    """Where a listing goes on: at the point that the page before ended with.

    Raises:
        InvalidRequestError: it is not what a page gave.
    """
    if after is None:
        return None
    try:
        return uuid.UUID(after)
    except ValueError:
        raise InvalidRequestError("'after' is what a listing gave.", param="after") from None
