"""LlamaIndex's index over one tenant's documents, which the gateway chunks, embeds and keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.indices.managed.base import BaseManagedIndex
from llama_index.core.schema import BaseNode, Document

from rag.errors import StoreError
from rag.llama_index.port import BoundKnowledge
from rag.llama_index.retriever import TenantRetriever


class TenantIndex(BaseManagedIndex):
    """A managed index. Nothing of a document is kept in LlamaIndex's own in-memory stores.

    A document's id is the tenant's own; inserting it again replaces it whole.
    """

    index_struct_cls = IndexDict

    def __init__(self, knowledge: BoundKnowledge) -> None:
        super().__init__(index_struct=IndexDict(), transformations=[])
        self._knowledge = knowledge

    def as_retriever(self, *, similarity_top_k: int = 5, **kwargs: Any) -> TenantRetriever:
        """The retriever.

        Raises:
            StoreError: an argument is given that would be ignored, as filters would.
        """
        if kwargs:
            raise StoreError(f"as_retriever does not know: {', '.join(sorted(kwargs))}.")
        return TenantRetriever(self._knowledge, similarity_top_k=similarity_top_k)

    def insert(self, document: Document, **insert_kwargs: Any) -> None:
        self._knowledge.put(document.id_, document.text, title=_title(document))

    async def ainsert(self, document: Document, **insert_kwargs: Any) -> None:
        await self._knowledge.aput(document.id_, document.text, title=_title(document))

    def update_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        self.insert(document)

    async def aupdate_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        await self.ainsert(document)

    def delete_ref_doc(
        self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        self._knowledge.delete(ref_doc_id)

    async def adelete_ref_doc(
        self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        await self._knowledge.adelete(ref_doc_id)

    def insert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        raise _whole_documents()

    async def ainsert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        raise _whole_documents()

    def delete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        raise _whole_documents()

    async def adelete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        raise _whole_documents()

    def _insert(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        raise _whole_documents()


def _title(document: Document) -> str:
    return str(document.metadata.get("title") or document.metadata.get("file_name") or "")


def _whole_documents() -> StoreError:
    return StoreError("This index takes and deletes whole documents: insert(), delete_ref_doc().")
