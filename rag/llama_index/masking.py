"""LlamaIndex's nodes with placeholders, between the retriever and the model."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle

from isolation.masking.standalone import MaskedConversation


class MaskingPostprocessor(BaseNodePostprocessor):
    """Masks what a model reads of the nodes that were found, in one conversation.

    The conversation masks the question, too, so that a person has one placeholder in both, and
    restores the answer: `conversation.restore(str(engine.query(conversation.mask(question))))`.
    """

    _conversation: MaskedConversation = PrivateAttr()

    def __init__(self, conversation: MaskedConversation) -> None:
        super().__init__()
        self._conversation = conversation

    @classmethod
    def class_name(cls) -> str:
        return "MaskingPostprocessor"

    def _postprocess_nodes(
        self, nodes: Sequence[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return [NodeWithScore(node=self._masked(one.node), score=one.score) for one in nodes]

    def _masked(self, node: BaseNode) -> BaseNode:
        # A copy: the node may be another conversation's as well.
        copy = node.model_copy(deep=True)
        copy.set_content(self._conversation.mask(node.get_content(MetadataMode.NONE)))
        hidden = set(copy.excluded_llm_metadata_keys)
        for name, value in copy.metadata.items():
            if name not in hidden and isinstance(value, str):
                copy.metadata[name] = self._conversation.mask(value)
        return copy
