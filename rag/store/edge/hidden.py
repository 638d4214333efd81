"""What reads pass over while a large change is under way (docs/decisions/0012).

One call of the engine holds the GIL to its end, so a large document is changed in many. What a
search finds must change in one moment all the same: this is the moment.
"""

from __future__ import annotations

from isolation.tenant_id import TenantId
from rag.store.conditions import Condition, No


class Hidden:
    """One condition a document at most, in memory: at open, `settle` comes before any read."""

    def __init__(self) -> None:
        self._of: dict[TenantId, dict[str, Condition]] = {}

    def put(self, tenant: TenantId, document_id: str, condition: Condition) -> None:
        """Hide what fulfils `condition`, in place of what was hidden of the document before."""
        self._of.setdefault(tenant, {})[document_id] = condition

    def clear(self, tenant: TenantId, document_id: str) -> None:
        """The document is one version again."""
        mine = self._of.get(tenant, {})
        mine.pop(document_id, None)
        if not mine:
            self._of.pop(tenant, None)

    def conditions(self, tenant: TenantId) -> tuple[Condition, ...]:
        """What a read of the tenant fulfils beside its predicate; usually nothing."""
        return tuple(No(condition) for condition in self._of.get(tenant, {}).values())
