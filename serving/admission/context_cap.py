"""The tier's context cap: prompt, passages and maximum output of one request together."""

from __future__ import annotations

from isolation.context import TenantContext
from serving.errors import ContextLimitError


def check_context(ctx: TenantContext, tokens: int) -> None:
    """Refuse a request that needs more context than the tenant's tier allows.

    Raises:
        ContextLimitError: `tokens` is above the cap.
    """
    limit = ctx.tier.max_context_tokens
    if tokens > limit:
        raise ContextLimitError(tokens, limit)
