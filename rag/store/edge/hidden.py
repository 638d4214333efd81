"""What reads pass over: what is staged, and while a large change is under way more than that
(docs/decisions/0012, 0030).

One call of the engine holds the GIL to its end, so a large document is changed in many. What a
search finds must change in one moment all the same: this is the moment.
"""

from __future__ import annotations

from collections.abc import Iterable

from isolation.tenant_id import TenantId
from rag.store import predicate
from rag.store.conditions import Condition, Every, No


class Hidden:
    """One condition a document at most, in memory: at open, `settle` comes before any read.

    staged: tenants of which a point may be staged. A tenant of none has no need of the condition
    that keeps them out, which is up to a quarter of a large tenant's search.
    """

    def __init__(self, staged: Iterable[TenantId] = ()) -> None:
        self._of: dict[TenantId, dict[str, Condition]] = {}
        self._staged = set(staged)

    def stage(self, tenant: TenantId) -> None:
        """Points are staged from now on; in one job with their writing."""
        self._staged.add(tenant)

    def none_staged(self, tenant: TenantId) -> None:
        """No point is staged; in one job with the looking."""
        self._staged.discard(tenant)

    def put(self, tenant: TenantId, document_id: str, condition: Condition) -> None:
        """Hide what fulfils `condition`, in place of what was hidden of the document before."""
        self._of.setdefault(tenant, {})[document_id] = condition

    def clear(self, tenant: TenantId, document_id: str) -> None:
        """The document is one version again."""
        mine = self._of.get(tenant, {})
        mine.pop(document_id, None)
        if not mine:
            self._of.pop(tenant, None)

    def seen(self, tenant: TenantId, condition: Every) -> Every:
        """What a read of the tenant asks for, where it wants what fulfils `condition`."""
        parts = (*condition.parts, *self.conditions(tenant))
        if tenant in self._staged:
            return Every(parts)
        return Every(tuple([part for part in parts if part is not predicate.IS_PUBLISHED]))

    def conditions(self, tenant: TenantId) -> tuple[Condition, ...]:
        """What a read of the tenant fulfils beside its predicate; usually nothing."""
        return tuple(No(condition) for condition in self._of.get(tenant, {}).values())
