"""LlamaIndex's nodes as documents: whole texts from their pieces, and metadata that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, TextNode

from rag.filters import Metadata


@dataclass(frozen=True, slots=True)
class WholeDocument:
    """What is put into the knowledge base."""

    id: str
    title: str
    text: str
    metadata: Metadata


def whole_documents(nodes: Sequence[BaseNode]) -> list[WholeDocument]:
    """The documents that the nodes are pieces of, in the order of their first pieces.

    A node without a source is a document of its own. Of the metadata, what all pieces agree on.
    """
    pieces: dict[str, list[BaseNode]] = {}
    for node in nodes:
        pieces.setdefault(node.ref_doc_id or node.node_id, []).append(node)
    return [_whole(document_id, own) for document_id, own in pieces.items()]


def title_of(metadata: Mapping[str, Any]) -> str:
    """As readers give it."""
    return str(metadata.get("title") or metadata.get("file_name") or "")


def kept_metadata(metadata: Mapping[str, Any]) -> Metadata:
    """What a filter can ask for; None is as absent. The rest is checked where it is kept."""
    return {name: value for name, value in metadata.items() if value is not None}


def _whole(document_id: str, pieces: Sequence[BaseNode]) -> WholeDocument:
    first = pieces[0].metadata
    agreed = {
        name: value
        for name, value in first.items()
        if all(piece.metadata.get(name) == value for piece in pieces)
    }
    return WholeDocument(document_id, title_of(agreed), _joined(pieces), kept_metadata(agreed))


def _joined(pieces: Sequence[BaseNode]) -> str:
    """The pieces' texts; what two of them overlap in stands once, where they say where they lie."""
    text, end = "", None
    for piece in pieces:
        content = piece.get_content(MetadataMode.NONE)
        start = piece.start_char_idx if isinstance(piece, TextNode) else None
        if end is None or start is None:
            text += ("\n\n" if text else "") + content
        elif start <= end:
            text += content[end - start :]
        else:
            text += "\n\n" + content
        end = None if start is None else max(end or 0, start + len(content))
    return text
