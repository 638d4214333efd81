"""A tenant's application on LlamaIndex: BULKHEAD_API_KEY=bk_... python over_http.py URL"""

from __future__ import annotations

import os
import sys

from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import Document
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from rag.llama_index.index import TenantIndex
from rag.llama_index.ingestion import tenant_pipeline
from rag.sdk import TenantClient

DOCUMENTS = [
    Document(id_="lamps", text="Lamps can be returned within 40 days.", metadata={"lang": "en"}),
    Document(id_="lampen", text="Lampen: 40 Tage Rückgabe.", metadata={"lang": "de"}),
]


def main(url: str, api_key: str) -> None:
    with TenantClient(url, api_key) as client:
        # The key says whose documents these are: there is no parameter for it.
        tenant_pipeline(client, [SentenceSplitter()]).run(documents=DOCUMENTS)

        index = TenantIndex(client)
        english = MetadataFilters(filters=[MetadataFilter(key="lang", value="en")])
        engine = index.as_query_engine(
            llm=MockLLM(),
            filters=english,
            node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.0)],
        )
        answer = engine.query("How long can I return a lamp?")
        for source in answer.source_nodes:
            print(source.node.metadata["document_id"], source.node.get_content().splitlines()[-1])

        chat = index.as_chat_engine(llm=MockLLM(), system_prompt="You help a shop's customers.")
        print(len(chat.chat("And how long for a lamp?").source_nodes), "sources in the chat")

        for document in DOCUMENTS:
            client.delete(document.id_)


if __name__ == "__main__":
    main(sys.argv[1], os.environ["BULKHEAD_API_KEY"])
