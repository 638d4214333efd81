"""LlamaIndex's retriever over one tenant's documents."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from rag.llama_index.port import BoundSearch, Found


class TenantRetriever(BaseRetriever):
    """Hybrid search, sync and async. Query engines, chat engines and agents take it as it is."""

    def __init__(self, knowledge: BoundSearch, *, similarity_top_k: int = 5) -> None:
        super().__init__()
        self._knowledge = knowledge
        self._limit = similarity_top_k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(self._knowledge.search(query_bundle.query_str, limit=self._limit))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(await self._knowledge.asearch(query_bundle.query_str, limit=self._limit))


def _nodes(found: Sequence[Found]) -> list[NodeWithScore]:
    return [NodeWithScore(node=_node(passage), score=passage.score) for passage in found]


def _node(passage: Found) -> TextNode:
    metadata = {"document_id": passage.document_id, "title": passage.title}
    # The model reads the text; where it comes from is for citations.
    return TextNode(text=passage.text, metadata=metadata, excluded_llm_metadata_keys=[*metadata])
