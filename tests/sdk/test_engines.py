"""Query engines, chat engines and agents over one tenant's knowledge: none can reach another's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import Document, NodeRelationship
from llama_index.core.tools import QueryEngineTool
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters

from rag.errors import InvalidFilterError, StoreError
from rag.llama_index.index import TenantIndex
from tests.sdk.llms import CallingLLM, EchoingLLM
from tests.sdk.platforms import FACTS, NAMES, QUESTION, knowledge, texts

MODES = (
    ChatMode.CONTEXT,
    ChatMode.CONDENSE_PLUS_CONTEXT,
    ChatMode.BEST,
    ChatMode.CONDENSE_QUESTION,
)
# LlamaIndex's agents read fields that pydantic has renamed.
_agents = pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecationWarning")
OTHER = {"acme": "birch", "birch": "acme"}


@pytest.fixture(scope="module", params=["over HTTP", "in this process"])
def indexes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, TenantIndex]]:
    with knowledge(request.param, tmp_path_factory.mktemp("data")) as bound:
        indexes = {name: TenantIndex(one) for name, one in bound.items()}
        for name, index in indexes.items():
            text = f"Returns are accepted within {FACTS[name]}."
            metadata = {"lang": "en", "year": 2024, "tenant_id": OTHER[name]}
            index.insert(Document(id_="returns", text=text, metadata=metadata))
            index.insert(Document(id_="hours", text="Open from nine.", metadata={"lang": "no"}))
        yield indexes


@pytest.mark.parametrize("name", NAMES)
async def test_a_query_engine_answers_from_its_own_tenant(
    indexes: dict[str, TenantIndex], name: str
) -> None:
    llm = EchoingLLM()
    engine = indexes[name].as_query_engine(llm=llm, similarity_top_k=50)
    for answer in (engine.query(QUESTION), await engine.aquery(QUESTION)):
        _own(name, str(answer) + texts(answer.source_nodes))
    streaming = indexes[name].as_query_engine(llm=llm, streaming=True)
    _own(name, "".join(streaming.query(QUESTION).response_gen))  # type: ignore[union-attr]
    _own(name, " ".join(llm.prompts))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
async def test_a_chat_engine_answers_from_its_own_tenant_in_every_mode(
    indexes: dict[str, TenantIndex], name: str, mode: ChatMode
) -> None:
    # The other tenant is asked for, by name and fact: a model that is told so has no way to it.
    asked = f"{QUESTION} Show what {OTHER[name]} says."
    llm = EchoingLLM()
    engine = _chat(indexes[name], mode, llm)
    _own(name, str(engine.chat(asked)))
    _own(name, str(await engine.achat(asked)))
    _own(name, "".join(engine.stream_chat(asked).response_gen))
    streamed = await engine.astream_chat(asked)
    _own(name, "".join([token async for token in streamed.async_response_gen()]))
    _own(name, " ".join(llm.prompts) + str(engine.chat_history))


def test_the_memory_of_one_chat_is_not_anothers(indexes: dict[str, TenantIndex]) -> None:
    engines = {name: _chat(indexes[name], ChatMode.CONTEXT, EchoingLLM()) for name in NAMES}
    engines["acme"].chat("My secret is canary-acme.")
    assert "canary-acme" in str(engines["acme"].chat_history)
    answer = engines["birch"].chat("What is my secret?")
    assert "canary-acme" not in str(answer) + str(engines["birch"].chat_history)


def test_a_chat_engine_takes_its_own_arguments(indexes: dict[str, TenantIndex]) -> None:
    memory = ChatMemoryBuffer.from_defaults(token_limit=1_000)
    engine = indexes["acme"].as_chat_engine(
        ChatMode.CONTEXT,
        llm=EchoingLLM(),
        memory=memory,
        system_prompt="Be brief.",
        similarity_top_k=1,
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.0)],
    )
    engine.chat(QUESTION)
    assert len(memory.get_all()) == 2


@_agents
@pytest.mark.parametrize("name", NAMES)
async def test_a_function_agent_has_no_parameter_for_a_tenant(
    indexes: dict[str, TenantIndex], name: str
) -> None:
    llm = CallingLLM(input=QUESTION)
    answer = await FunctionAgent(tools=[_tool(indexes[name])], llm=llm).run(QUESTION)
    _own(name, str(answer))
    assert [set(schema["properties"]) for schema in llm.offered] == [{"input"}]


@_agents
@pytest.mark.parametrize("argument", ["tenant", "tenant_id", "filters", "api_key", "groups"])
async def test_an_agent_that_invents_a_tenant_gets_its_own_or_nothing(
    indexes: dict[str, TenantIndex], argument: str
) -> None:
    llm = CallingLLM(input=QUESTION, **{argument: "birch"})
    answer = await FunctionAgent(tools=[_tool(indexes["acme"])], llm=llm).run(QUESTION)
    assert FACTS["birch"] not in str(answer)


@_agents
@pytest.mark.filterwarnings("ignore:is_running called from within a step")
@pytest.mark.parametrize("name", NAMES)
async def test_a_react_agent_answers_from_its_own_tenant(
    indexes: dict[str, TenantIndex], name: str
) -> None:
    call = f'Thought: I look.\nAction: knowledge\nAction Input: {{"input": "{QUESTION}"}}'
    answer = "Thought: I can answer without using any more tools.\nAnswer: "
    llm = EchoingLLM([lambda prompt: call, lambda prompt: answer + prompt.replace("\n", " ")])
    agent = ReActAgent(tools=[_tool(indexes[name])], llm=llm, streaming=False)
    said = str(await agent.run(QUESTION))
    assert "Observation" in said
    _own(name, said)


@pytest.mark.parametrize("name", NAMES)
async def test_filters_narrow_and_never_widen(indexes: dict[str, TenantIndex], name: str) -> None:
    def where(
        key: str, value: Any, operator: FilterOperator = FilterOperator.EQ
    ) -> MetadataFilters:
        return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])

    wide = where("lang", "nobody's", FilterOperator.NE)
    impersonating = where("tenant_id", OTHER[name])
    for filters in (wide, where("lang", "en"), where("year", 2023, FilterOperator.GT)):
        retriever = indexes[name].as_retriever(similarity_top_k=50, filters=filters)
        _own(name, texts(await retriever.aretrieve(QUESTION)))
    # The owner's own metadata says so: it is a field like any other.
    _own(name, texts(indexes[name].as_retriever(filters=impersonating).retrieve(QUESTION)))
    norwegian = indexes[name].as_query_engine(llm=MockLLM(), filters=where("lang", "no"))
    found = norwegian.query(QUESTION).source_nodes
    assert [node.node.metadata["document_id"] for node in found] == ["hours"]


def test_post_processors_work_on_our_nodes(indexes: dict[str, TenantIndex]) -> None:
    nodes = indexes["acme"].as_retriever(similarity_top_k=50).retrieve(QUESTION)
    assert [node.score for node in nodes] == sorted((n.score for n in nodes), reverse=True)  # type: ignore[type-var]
    between = sum(node.get_score() for node in nodes[:2]) / 2
    cut = SimilarityPostprocessor(similarity_cutoff=between).postprocess_nodes(nodes)
    assert [node.node.metadata["document_id"] for node in cut] == ["returns"]


def test_nodes_say_what_the_knowledge_base_says(indexes: dict[str, TenantIndex]) -> None:
    (first, *_) = indexes["acme"].as_retriever().retrieve(QUESTION)
    (again, *_) = indexes["acme"].as_retriever().retrieve(QUESTION)
    assert first.node.metadata == {"document_id": "returns", "title": "returns"}
    assert first.node.ref_doc_id == "returns"
    assert NodeRelationship.SOURCE in first.node.relationships
    assert first.node.node_id == again.node.node_id


@pytest.mark.parametrize(
    "argument", ["tenant", "tenant_id", "qdrant_filters", "node_ids", "doc_ids", "vector_store"]
)
def test_an_argument_that_would_be_ignored_is_refused(
    indexes: dict[str, TenantIndex], argument: str
) -> None:
    index, given = indexes["acme"], {argument: ["birch"]}
    for call in (
        lambda: index.as_retriever(**given),
        lambda: index.as_query_engine(llm=MockLLM(), **given),
        lambda: index.as_chat_engine(ChatMode.CONTEXT, llm=MockLLM(), **given),
        lambda: index.as_chat_engine(ChatMode.CONDENSE_QUESTION, llm=MockLLM(), **given),
        lambda: index.insert(Document(text="x"), **given),
        lambda: index.delete_ref_doc("returns", **given),
    ):
        with pytest.raises(StoreError, match=argument):
            call()


def test_empty_filters_and_modes_without_documents_are_refused(
    indexes: dict[str, TenantIndex],
) -> None:
    with pytest.raises(InvalidFilterError):
        indexes["acme"].as_retriever(filters=MetadataFilters(filters=[]))
    with pytest.raises(StoreError, match="simple"):
        indexes["acme"].as_chat_engine(ChatMode.SIMPLE, llm=MockLLM())
    with pytest.raises(StoreError, match="knowledge base"):
        TenantIndex.from_documents([Document(text="x")])


def _chat(index: TenantIndex, mode: ChatMode, llm: EchoingLLM) -> BaseChatEngine:
    # The default memory leaves its SQLite connection open, and warnings are errors here.
    memory = ChatMemoryBuffer.from_defaults(token_limit=4_000)
    return index.as_chat_engine(mode, llm=llm, memory=memory)


def _tool(index: TenantIndex) -> QueryEngineTool:
    engine = index.as_query_engine(llm=EchoingLLM())
    return QueryEngineTool.from_defaults(engine, name="knowledge", description="The shop's own")


def _own(name: str, said: str) -> None:
    assert FACTS[name] in said
    assert FACTS[OTHER[name]] not in said
