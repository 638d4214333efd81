"""Tenant ids: short, printable, safe in file names, log labels and URLs."""

from __future__ import annotations

import re
from typing import NewType

from isolation.errors import InvalidTenantIdError

TenantId = NewType("TenantId", str)

PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def tenant_id(text: str) -> TenantId:
    """`text` as a tenant id.

    Raises:
        InvalidTenantIdError: not 1 to 63 characters of a-z, 0-9 and inner hyphens.
    """
    if not PATTERN.fullmatch(text):
        raise InvalidTenantIdError(
            "A tenant id has 1 to 63 characters: a to z, 0 to 9, and hyphens inside."
        )
    return TenantId(text)
