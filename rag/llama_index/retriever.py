"""LlamaIndex's retriever over one tenant's documents."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import (
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)

from rag.filters import Where
from rag.llama_index.port import BoundSearch, Found

_NAMESPACE = uuid.UUID("a1f9c06e-5a0f-4f1e-9d4c-6b1a2f7f5e21")


class TenantRetriever(BaseRetriever):
    """Hybrid search, sync and async. Query engines, chat engines and agents take it as it is."""

    def __init__(
        self, knowledge: BoundSearch, *, similarity_top_k: int = 5, where: Where | None = None
    ) -> None:
        super().__init__()
        self._knowledge = knowledge
        self._limit = similarity_top_k
        self._where = where

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        question = query_bundle.query_str
        return _nodes(self._knowledge.search(question, limit=self._limit, where=self._where))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        question = query_bundle.query_str
        return _nodes(await self._knowledge.asearch(question, limit=self._limit, where=self._where))


def _nodes(found: Sequence[Found]) -> list[NodeWithScore]:
    return [NodeWithScore(node=_node(passage), score=passage.score) for passage in found]


def _node(passage: Found) -> TextNode:
    """A node made of what the knowledge base says of the passage, and of nothing else."""
    metadata = {"document_id": passage.document_id, "title": passage.title}
    return TextNode(
        # The same passage is the same node: fusion and de-duplication go by the id.
        id_=str(uuid.uuid5(_NAMESPACE, f"{passage.document_id}\0{passage.text}")),
        text=passage.text,
        metadata=metadata,
        # The model reads the text; where it comes from is for citations.
        excluded_llm_metadata_keys=[*metadata],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=passage.document_id)},
    )
