"""LlamaIndex's index over one tenant's documents, which the platform chunks, embeds and keeps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Self

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
)
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.indices.managed.base import BaseManagedIndex
from llama_index.core.llms.utils import LLMType, resolve_llm
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import BaseNode, Document
from llama_index.core.settings import Settings
from llama_index.core.vector_stores.types import MetadataFilters

from rag.errors import StoreError
from rag.llama_index.filters import translated
from rag.llama_index.nodes import kept_metadata, title_of
from rag.llama_index.port import BoundKnowledge
from rag.llama_index.retriever import TenantRetriever

_RETRIEVER = ("similarity_top_k", "filters")


class TenantIndex(BaseManagedIndex):
    """A managed index. Nothing of a document is kept in LlamaIndex's own in-memory stores.

    A document's id is the tenant's own; inserting it again replaces it whole. Arguments that would
    be ignored are refused: `qdrant_filters`, `node_ids` and their like filter nothing here.
    """

    index_struct_cls = IndexDict

    def __init__(self, knowledge: BoundKnowledge) -> None:
        super().__init__(index_struct=IndexDict(), transformations=[])
        self._knowledge = knowledge

    @classmethod
    def from_documents(cls, documents: Sequence[Document], *_: Any, **__: Any) -> Self:
        """Raises StoreError: an index is made of a tenant's knowledge base, and then filled."""
        raise StoreError("Make a TenantIndex of a tenant's knowledge base, then insert().")

    def as_retriever(
        self, *, similarity_top_k: int = 5, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> TenantRetriever:
        """The retriever.

        Raises:
            StoreError: an argument is given that would be ignored.
            InvalidFilterError: the filters have no equal here.
        """
        _refuse(kwargs, "as_retriever")
        where = None if filters is None else translated(filters)
        return TenantRetriever(self._knowledge, similarity_top_k=similarity_top_k, where=where)

    def as_query_engine(self, llm: LLMType | None = None, **kwargs: Any) -> BaseQueryEngine:
        """A query engine with the arguments of `RetrieverQueryEngine.from_args`.

        Raises:
            StoreError: an argument is given that would be ignored.
        """
        retriever, rest = self._split(kwargs)
        _refuse_unknown(rest, RetrieverQueryEngine.from_args, "as_query_engine")
        return RetrieverQueryEngine.from_args(retriever, llm=_llm(llm), **rest)

    def as_chat_engine(
        self, chat_mode: ChatMode = ChatMode.BEST, llm: LLMType | None = None, **kwargs: Any
    ) -> BaseChatEngine:
        """A chat engine with the arguments of its own `from_defaults`.

        Raises:
            StoreError: an argument that would be ignored, or a mode that asks no documents.
        """
        retriever, rest = self._split(kwargs)
        where = "as_chat_engine"
        match chat_mode:
            case ChatMode.CONTEXT:
                _refuse_unknown(rest, ContextChatEngine.from_defaults, where)
                return ContextChatEngine.from_defaults(retriever, llm=_llm(llm), **rest)
            case ChatMode.CONDENSE_PLUS_CONTEXT | ChatMode.BEST:
                _refuse_unknown(rest, CondensePlusContextChatEngine.from_defaults, where)
                return CondensePlusContextChatEngine.from_defaults(retriever, llm=_llm(llm), **rest)
            case ChatMode.CONDENSE_QUESTION:
                _refuse_unknown(rest, CondenseQuestionChatEngine.from_defaults, where)
                engine = RetrieverQueryEngine.from_args(retriever, llm=_llm(llm))
                return CondenseQuestionChatEngine.from_defaults(engine, llm=_llm(llm), **rest)
            case _:
                raise StoreError(f"The chat mode {chat_mode.value} does not ask this index.")

    def insert(self, document: Document, *, groups: Sequence[str] = (), **kwargs: Any) -> None:
        """Insert, or replace whole. groups: who of the tenant sees it; none, everybody."""
        _refuse(kwargs, "insert")
        self._knowledge.put(document.id_, document.text, **_kept(document, groups))

    async def ainsert(
        self, document: Document, *, groups: Sequence[str] = (), **kwargs: Any
    ) -> None:
        """`insert`."""
        _refuse(kwargs, "ainsert")
        await self._knowledge.aput(document.id_, document.text, **_kept(document, groups))

    def update_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        self.insert(document, **update_kwargs)

    async def aupdate_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        await self.ainsert(document, **update_kwargs)

    def delete_ref_doc(
        self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        _refuse(delete_kwargs, "delete_ref_doc")
        self._knowledge.delete(ref_doc_id)

    async def adelete_ref_doc(
        self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        _refuse(delete_kwargs, "adelete_ref_doc")
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

    def _split(self, kwargs: dict[str, Any]) -> tuple[TenantRetriever, dict[str, Any]]:
        """The retriever, and the arguments that are not its own."""
        own = {name: value for name, value in kwargs.items() if name in _RETRIEVER}
        rest = {name: value for name, value in kwargs.items() if name not in _RETRIEVER}
        return self.as_retriever(**own), rest


def _kept(document: Document, groups: Sequence[str]) -> dict[str, Any]:
    metadata = document.metadata
    return {"title": title_of(metadata), "metadata": kept_metadata(metadata), "groups": groups}


def _llm(llm: LLMType | None) -> Any:
    return resolve_llm(llm) if llm is not None else Settings.llm


def _refuse(unknown: dict[str, Any], where: str) -> None:
    if unknown:
        raise StoreError(f"{where} does not know: {', '.join(sorted(unknown))}.")


def _refuse_unknown(given: dict[str, Any], taker: Callable[..., object], where: str) -> None:
    """LlamaIndex's own functions swallow what they do not know."""
    known = {
        name
        for name, parameter in inspect.signature(taker).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    # What this index decides.
    known -= {"retriever", "query_engine"}
    _refuse({name: value for name, value in given.items() if name not in known}, where)


def _whole_documents() -> StoreError:
    return StoreError(
        "This index takes and deletes whole documents: insert(), delete_ref_doc(); "
        "a pipeline of nodes ends in rag.llama_index.ingestion."
    )
