"""LlamaIndex's ingestion pipeline into one tenant's knowledge base: whole, repeatable, its own."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document, TextNode, TransformComponent

from isolation.errors import RequestRefusedError
from rag.errors import StoreError
from rag.llama_index.index import TenantIndex
from rag.llama_index.ingestion import TenantSink, tenant_pipeline
from rag.llama_index.nodes import whole_documents
from rag.llama_index.port import BoundKnowledge
from rag.sdk import GatewayError
from tests.sdk.platforms import FACTS, QUESTION, knowledge, texts


@pytest.fixture(scope="module", params=["over HTTP", "in this process"])
def bound(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, BoundKnowledge]]:
    with knowledge(request.param, tmp_path_factory.mktemp("data")) as opened:
        yield opened


class Shouting(TransformComponent):
    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        return [TextNode(id_=n.node_id, text=n.get_content().upper()) for n in nodes]


def _documents(name: str) -> list[Document]:
    text = f"Returns are accepted within {FACTS[name]}. " + "Parcels are sent every day. " * 60
    return [Document(id_="returns", text=text, metadata={"lang": "en", "author": None})]


def _found(one: BoundKnowledge, question: str = QUESTION) -> str:
    return texts(TenantIndex(one).as_retriever(similarity_top_k=50).retrieve(question))


async def test_documents_through_a_splitter_come_whole_and_to_their_own_tenant(
    bound: dict[str, BoundKnowledge],
) -> None:
    splitter = SentenceSplitter(chunk_size=64, chunk_overlap=16)
    tenant_pipeline(bound["acme"], [splitter]).run(documents=_documents("acme"))
    await tenant_pipeline(bound["birch"], [splitter]).arun(documents=_documents("birch"))
    for name, other in (("acme", "birch"), ("birch", "acme")):
        assert FACTS[name] in _found(bound[name])
        assert FACTS[other] not in _found(bound[name])
        assert [one.chunks for one in _listed(bound[name])] == [_listed(bound[name])[0].chunks]


def test_running_it_again_changes_nothing_and_new_text_replaces_the_old(
    bound: dict[str, BoundKnowledge],
) -> None:
    acme, splitter = bound["acme"], SentenceSplitter(chunk_size=64, chunk_overlap=16)
    pipeline = tenant_pipeline(acme, [splitter])
    pipeline.run(documents=_documents("acme"))
    before = [(one.title, one.chunks) for one in _listed(acme)]
    pipeline.run(documents=_documents("acme"))
    assert [(one.title, one.chunks) for one in _listed(acme)] == before
    pipeline.run(documents=[Document(id_="returns", text="Returns within 60 days.")])
    assert "60 days" in _found(acme)
    assert FACTS["acme"] not in _found(acme)


def test_nodes_without_a_source_are_documents_of_their_own(
    bound: dict[str, BoundKnowledge],
) -> None:
    birch = bound["birch"]
    tenant_pipeline(birch, [Shouting()]).run(nodes=[TextNode(id_="note", text="Closed on Monday")])
    assert "CLOSED ON MONDAY" in _found(birch, "Closed on Monday?")
    assert "CLOSED" not in _found(bound["acme"], "Closed on Monday?")
    birch.delete("note")


def test_one_cache_for_two_tenants_takes_no_write_for_anothers(
    bound: dict[str, BoundKnowledge],
) -> None:
    cache, same = IngestionCache(), [Document(id_="same", text="The canary sings at dawn.")]
    for one in bound.values():
        IngestionPipeline(transformations=[TenantSink(one)], cache=cache).run(documents=same)
        assert "canary sings" in _found(one, "When does the canary sing?")
    for one in bound.values():
        one.delete("same")
        IngestionPipeline(transformations=[TenantSink(one)], cache=cache).run(documents=same)
        assert "canary sings" in _found(one, "When does the canary sing?")
        one.delete("same")


def test_a_sink_that_the_cache_could_recognize_is_the_leak_that_this_catches(
    bound: dict[str, BoundKnowledge], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TenantSink, "to_dict", TransformComponent.to_dict)
    cache, same = IngestionCache(), [Document(id_="twin", text="The robin sings at noon.")]
    for one in bound.values():
        IngestionPipeline(transformations=[TenantSink(one)], cache=cache).run(documents=same)
    assert "robin" in _found(bound["acme"], "When does the robin sing?")
    assert "robin" not in _found(bound["birch"], "When does the robin sing?")
    bound["acme"].delete("twin")


def test_a_credential_goes_to_no_other_process_and_into_no_dump(
    bound: dict[str, BoundKnowledge],
) -> None:
    sink = TenantSink(bound["acme"])
    with pytest.raises(StoreError, match="one process"):
        pickle.dumps(sink)
    assert "bk_" not in f"{sink!r}{sink.to_dict()}{sink.model_dump()}"


def test_metadata_that_no_filter_could_ask_for_is_refused_and_nothing_is_written(
    bound: dict[str, BoundKnowledge],
) -> None:
    wrong = Document(id_="wrong", text="text", metadata={"tags": ["a", "b"]})
    with pytest.raises((GatewayError, RequestRefusedError)):
        tenant_pipeline(bound["acme"]).run(documents=[wrong])
    assert "wrong" not in str(_listed(bound["acme"]))


def test_pieces_are_joined_with_their_overlap_counted_once() -> None:
    text = " ".join(f"Sentence number {n} says something of its own." for n in range(80))
    document = Document(id_="d", text=text, metadata={"title": "T", "page": 1})
    nodes = SentenceSplitter(chunk_size=80, chunk_overlap=30).get_nodes_from_documents([document])
    assert len(nodes) > 5
    nodes[1].metadata["page"] = 2
    (whole,) = whole_documents(nodes)
    assert whole.text == text
    assert (whole.id, whole.title, whole.metadata) == ("d", "T", {"title": "T"})


def _listed(one: Any) -> list[Any]:
    return list(one.documents())
