"""Where the operator switched masking off: nothing is replaced, and canaries do not leave all the
same."""

from __future__ import annotations

from isolation.context import TenantContext, require_tenant
from isolation.masking.policy import MaskingPolicy, ToolLinks
from isolation.masking.vault import Outgoing, RequestVault


def unmasked(ctx: TenantContext, policy: MaskingPolicy) -> RequestVault:
    """The vault of a request of which nothing was masked."""
    links = policy.tool_links is ToolLinks.removed
    outgoing = Outgoing(canaries=policy.canaries, tool_links=links)
    return RequestVault(require_tenant(ctx, "an answer's canaries"), {}, outgoing)
