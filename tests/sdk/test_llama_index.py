"""An application on LlamaIndex: whatever it passes in, it reaches its own tenant's documents."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import uvicorn
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import Document, NodeWithScore, TextNode

from rag.errors import InvalidFilterError, StoreError
from rag.llama_index.index import TenantIndex
from rag.llama_index.retriever import TenantRetriever
from rag.sdk import GatewayError, TenantClient
from serving.engine.launch import free_port
from tests.contract.twin import KEYS, Twin

ACME, BIRCH = KEYS
QUESTION = "How many days for returns?"


@pytest.fixture
def twin(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the platform in memory; a leak of it as an indirect parameter."""
    port = free_port()
    app = Twin(getattr(request, "param", "none")).app()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def indexes(twin: str) -> Iterator[dict[str, TenantIndex]]:
    with TenantClient(twin, ACME) as acme, TenantClient(twin, BIRCH) as birch:
        indexes = {"acme": TenantIndex(acme), "birch": TenantIndex(birch)}
        for index, days in ((indexes["acme"], 30), (indexes["birch"], 14)):
            index.insert(Document(id_="returns", text=f"Returns within {days} days."))
        yield indexes


def _text(nodes: list[NodeWithScore]) -> str:
    return " ".join(node.text for node in nodes)


async def test_retriever_and_query_engine_reach_their_own_tenant_only(
    indexes: dict[str, TenantIndex],
) -> None:
    for name, fact, foreign in (("acme", "30 days", "14 days"), ("birch", "14 days", "30 days")):
        retriever = indexes[name].as_retriever(similarity_top_k=50)
        for found in (retriever.retrieve(QUESTION), await retriever.aretrieve(QUESTION)):
            assert fact in _text(found)
            assert foreign not in _text(found)
            assert found[0].node.metadata["document_id"] == "returns"
        engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
        for answer in (engine.query(QUESTION), await engine.aquery(QUESTION)):
            assert foreign not in str(answer) + _text(answer.source_nodes)
            assert fact in _text(answer.source_nodes)


@pytest.mark.parametrize("twin", ["search: the predicate is missing"], indirect=True)
def test_a_gateway_that_leaks_is_seen_through_the_retriever(
    indexes: dict[str, TenantIndex],
) -> None:
    assert "14 days" in _text(indexes["acme"].as_retriever(similarity_top_k=50).retrieve(QUESTION))


def test_the_same_id_in_two_tenants_is_two_documents(indexes: dict[str, TenantIndex]) -> None:
    indexes["birch"].update_ref_doc(Document(id_="returns", text="Returns within 7 days."))
    assert "7 days" in _text(indexes["birch"].as_retriever().retrieve(QUESTION))
    indexes["birch"].delete_ref_doc("returns")
    assert "30 days" in _text(indexes["acme"].as_retriever().retrieve(QUESTION))
    with pytest.raises(GatewayError) as caught:
        indexes["birch"].delete_ref_doc("returns")
    assert caught.value.code == "document_not_found"


async def test_what_would_go_past_the_boundary_is_refused_and_not_ignored(
    indexes: dict[str, TenantIndex],
) -> None:
    index = indexes["acme"]
    with pytest.raises(InvalidFilterError, match="MetadataFilters"):
        index.as_retriever(filters=[])  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="whole documents"):
        index.insert_nodes([TextNode(text="x")])
    with pytest.raises(StoreError, match="whole documents"):
        await index.adelete_nodes(["x"])


def test_nothing_of_a_document_stays_in_llama_indexes_own_stores(
    indexes: dict[str, TenantIndex],
) -> None:
    index = indexes["acme"]
    assert index.docstore.docs == {}
    assert "30 days" not in str(index.storage_context.to_dict())


def test_a_wrong_key_and_an_absent_gateway_are_errors_with_a_code(twin: str) -> None:
    for url, code in ((twin, "invalid_api_key"), ("http://127.0.0.1:9", "gateway_unreachable")):
        with TenantClient(url, "bk_secret_canary") as client:
            with pytest.raises(GatewayError) as caught:
                TenantRetriever(client).retrieve(QUESTION)
            assert caught.value.code == code
            assert "canary" not in str(caught.value) + repr(client)
