"""An agent with one tenant's knowledge as its tool: python agent.py FOLDER"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

from llama_index.core.agent.workflow import ReActAgent
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import (
    CompletionResponse,
    CompletionResponseGen,
    CustomLLM,
    LLMMetadata,
    MockLLM,
)
from llama_index.core.tools import QueryEngineTool

from isolation.access import UNRESTRICTED
from isolation.identity import Identity
from rag.llama_index.index import TenantIndex
from serving.embedded.library import Library

QUESTION = "How long may I return something?"


class Sessions:
    """Two merchants and their sessions."""

    async def verify(self, credential: str) -> Identity | None:
        tenant = {"token-1": "fjellvik", "token-2": "voltbay"}.get(credential)
        return tenant and Identity(tenant, "business", f"{tenant}-session", UNRESTRICTED)


class Scripted(CustomLLM):
    """In the place of a model: looks once, naming another tenant, and then says what it saw."""

    _looked: bool = PrivateAttr(default=False)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        if not self._looked:
            self._looked = True
            look = f'{{"input": "{QUESTION}", "tenant": "voltbay"}}'
            return CompletionResponse(text=f"Thought: I look.\nAction: shop\nAction Input: {look}")
        facts = sorted(set(re.findall(r"Returns within \d+ days", prompt)))
        return CompletionResponse(text=f"Thought: I can answer now.\nAnswer: {facts}")

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        raise NotImplementedError


async def main(folder: Path) -> None:
    # Opened and closed off the event loop: both take a moment.
    library = await asyncio.to_thread(Library, folder, Sessions())
    try:
        for token, fact in (("token-1", "30 days"), ("token-2", "14 days")):
            knowledge = await library.aauthenticate(token)
            await knowledge.aput("returns", f"Returns within {fact}.")
            engine = TenantIndex(knowledge).as_query_engine(llm=MockLLM())
            # The tool's schema has one field, the question. A tenant cannot be said.
            tool = QueryEngineTool.from_defaults(engine, name="shop", description="The shop's own")
            agent = ReActAgent(tools=[tool], llm=Scripted(), streaming=False)
            print(token, await agent.run(QUESTION))
    finally:
        await asyncio.to_thread(library.close)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
