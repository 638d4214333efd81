"""One request's placeholders and what they stand for. It lives and dies with the request."""

from __future__ import annotations

import json
from collections.abc import Mapping

from isolation.context import TenantContext, require_same_tenant
from isolation.masking.restoring import Restoring
from isolation.tenant_id import TenantId


class RequestVault:
    """Restores placeholders, for the tenant whose request it was and for nobody else."""

    __slots__ = ("_owner", "_values")

    def __init__(self, ctx: TenantContext, values: Mapping[str, str]) -> None:
        self._owner: TenantId = ctx.tenant_id
        self._values = dict(values)

    def stream(self, ctx: TenantContext) -> Restoring:
        """Restores a stream.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        require_same_tenant(ctx, self._owner, "the vault")
        return Restoring(self._values)

    def json_stream(self, ctx: TenantContext) -> Restoring:
        """Restores a stream of JSON, such as a tool call's arguments: values are escaped for the
        strings that they stand in.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        require_same_tenant(ctx, self._owner, "the vault")
        return Restoring(self._values, _in_a_json_string)

    def restore(self, ctx: TenantContext, text: str) -> str:
        """Restores a whole text.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        stream = self.stream(ctx)
        return stream.feed(text) + stream.flush()

    def __repr__(self) -> str:
        return f"<RequestVault of {len(self._values)} values>"


def _in_a_json_string(value: str) -> str:
    return json.dumps(value)[1:-1]
