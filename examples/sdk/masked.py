"""Personal data stays out of the model's sight: python masked.py FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from llama_index.core.llms import CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from llama_index.core.schema import Document

from isolation.access import UNRESTRICTED
from isolation.identity import Identity
from isolation.masking.detector import PresidioDetector
from isolation.masking.standalone import MaskedConversation, mask
from rag.llama_index.index import TenantIndex
from rag.llama_index.masking import MaskingPostprocessor
from serving.embedded.library import Library

NOTE = "The repair of the tent was agreed with Maria Lopez, maria.lopez@example.com."
QUESTION = "I am Maria Lopez. What was agreed about the repair of my tent?"


class Sessions:
    """One merchant and its session."""

    async def verify(self, credential: str) -> Identity | None:
        known = credential == "token"
        return Identity("fjellvik", "business", "session", UNRESTRICTED) if known else None


class Repeating(CustomLLM):
    """In the place of a model: shows what it was sent, and answers with the best source."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        (source,) = [line for line in prompt.splitlines() if line.startswith("The repair")]
        print("the model was sent:", source)
        return CompletionResponse(text=source)

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        raise NotImplementedError


def main(folder: Path) -> None:
    detector = PresidioDetector()  # seconds; once for all conversations

    (turn,), own = mask(["Write to ada.lind@example.com, please."], detector)
    print("alone:", turn, "->", own.restore("I wrote to [EMAIL_ADDRESS_1]."))

    with Library(folder, Sessions()) as library:
        index = TenantIndex(library.authenticate("token"))
        index.insert(Document(id_="note", text=NOTE))

        conversation = MaskedConversation(detector)
        engine = index.as_query_engine(
            llm=Repeating(), node_postprocessors=[MaskingPostprocessor(conversation)]
        )
        answer = engine.query(conversation.mask(QUESTION))
        print("the customer reads:", conversation.restore(str(answer)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
