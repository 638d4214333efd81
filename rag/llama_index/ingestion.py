"""The end of a LlamaIndex ingestion pipeline: one tenant's knowledge base.

The platform cuts and embeds texts itself, so the pieces of a document are put together again, and
the whole is written under the document's id: running the pipeline again replaces it whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NoReturn

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import BaseNode, TransformComponent

from rag.errors import StoreError
from rag.llama_index.nodes import WholeDocument, whole_documents
from rag.llama_index.port import BoundKnowledge


class TenantSink(TransformComponent):
    """Writes whatever comes, and passes it on. The last of a pipeline's transformations.

    All pieces of a document come in one run. groups: who of the tenant sees them.
    """

    _knowledge: BoundKnowledge = PrivateAttr()
    _groups: tuple[str, ...] = PrivateAttr()

    def __init__(self, knowledge: BoundKnowledge, *, groups: Sequence[str] = ()) -> None:
        super().__init__()
        self._knowledge = knowledge
        self._groups = tuple(groups)

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        for document in whole_documents(nodes):
            self._knowledge.put(document.id, document.text, **self._kept(document))
        return nodes

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        for document in whole_documents(nodes):
            await self._knowledge.aput(document.id, document.text, **self._kept(document))
        return nodes

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Never twice the same: a pipeline's cache goes by it and by the nodes, and would take one
        tenant's write for another's, or a write after a deletion for done."""
        return {"class_name": self.class_name(), "call": uuid.uuid4().hex}

    @classmethod
    def class_name(cls) -> str:
        return "TenantSink"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # A pipeline with several workers would send the tenant's credential to other processes.
        raise StoreError("A pipeline into a knowledge base runs in one process: num_workers=None.")

    def _kept(self, document: WholeDocument) -> dict[str, Any]:
        return {
            "title": document.title,
            "metadata": document.metadata,
            "groups": self._groups,
        }


def tenant_pipeline(
    knowledge: BoundKnowledge,
    transformations: Sequence[TransformComponent] = (),
    *,
    groups: Sequence[str] = (),
) -> IngestionPipeline:
    """A pipeline of these transformations that ends in the tenant's knowledge base.

    It has no cache and no document store of LlamaIndex's: both would keep texts, and a shared one
    would mix tenants up. Run it with `run` or `arun`.
    """
    chain = [*transformations, TenantSink(knowledge, groups=groups)]
    return IngestionPipeline(transformations=chain, disable_cache=True)
