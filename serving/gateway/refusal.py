"""The honest answer when nothing in the tenant's documents speaks of the question.

docs/decisions/0009: it is made of the question and the tenant's own passages alone, so it says
nothing of anybody else, and no engine is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isolation.context import TenantContext, require_same_tenant
from rag.documents import Passage
from rag.retrieval.follow_up import Question
from rag.retrieval.relevance import relevance


@dataclass(frozen=True, slots=True)
class Refusal:
    """When the documents do not hold the answer, and what is said then.

    threshold: of `relevance`, below it is refused. texts: of tenants that want their own words.
    """

    threshold: float
    text: str
    texts: Mapping[str, str] = field(default_factory=dict)

    def of(self, ctx: TenantContext, question: Question, passages: Sequence[Passage]) -> str | None:
        """What to say instead of an answer; None if the passages may hold one.

        Raises:
            CrossTenantError: a passage is not this tenant's, and would speak in its decision.
        """
        for passage in passages:
            require_same_tenant(ctx, passage.tenant_id, "the refusal")
        if relevance(question, passages) >= self.threshold:
            return None
        return self.texts.get(ctx.tenant_id, self.text)
