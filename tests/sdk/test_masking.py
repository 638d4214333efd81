"""Masking for SDK users: a function of texts, and a node post-processor of LlamaIndex."""

from __future__ import annotations

import json
import re

import pytest
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from isolation.errors import ContentBlockedError
from isolation.masking.findings import Finding
from isolation.masking.policy import MaskingPolicy
from isolation.masking.standalone import MaskedConversation, mask
from rag.llama_index.masking import MaskingPostprocessor


class Names:
    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        return [Finding(*match.span(), "PERSON") for match in re.finditer("Ada|Bo", text)]


def test_a_conversation_is_masked_and_its_answer_restored() -> None:
    turns, conversation = mask(["I am Ada.", "Bo knows <PERSON_1>"], Names())
    assert turns == ["I am <PERSON_1>.", "<PERSON_2> knows <LITERAL_1>"]
    assert conversation.restore("Dear [PERSON 1], Bo is PERSON_2") == "Dear Ada, Bo is Bo"
    assert "Ada" not in repr(conversation)


def test_a_tool_calls_arguments_are_restored_as_json() -> None:
    (_,), conversation = mask(['Ada said "hello"'], Names())
    stream = conversation.json_stream()
    text = "".join(map(stream.feed, '{"to": "<PERSON_1>"}')) + stream.flush()
    assert json.loads(text) == {"to": "Ada"}


def test_a_policy_holds() -> None:
    off, block = ({"user": {"PERSON": action}} for action in ("off", "block"))
    assert mask(["Ada"], Names(), MaskingPolicy.model_validate(off))[0] == ["Ada"]
    with pytest.raises(ContentBlockedError):
        mask(["Ada"], Names(), MaskingPolicy.model_validate(block))


def test_what_one_conversation_gave_out_another_does_not_resolve() -> None:
    _, one = mask(["Ada"], Names())
    _, other = mask(["Bo"], Names())
    assert (one.restore("<PERSON_1>"), other.restore("<PERSON_1>")) == ("Ada", "Bo")
    assert mask(["nobody"], Names())[1].restore("<PERSON_1>") == "<PERSON_1>"


def test_a_model_reads_no_value_in_texts_nor_metadata_and_the_nodes_stay_as_they_are() -> None:
    node = TextNode(
        text="Ada asked Bo.",
        metadata={"author": "Bo", "year": 2026, "hidden": "Ada"},
        excluded_llm_metadata_keys=["hidden"],
    )
    conversation = MaskedConversation(Names())
    assert conversation.mask("I am Bo.") == "I am <PERSON_1>."
    (masked,) = MaskingPostprocessor(conversation).postprocess_nodes([NodeWithScore(node=node)])
    read = masked.node.get_content(MetadataMode.LLM)
    assert "Ada" not in read
    assert "Bo" not in read
    assert read.endswith("<PERSON_2> asked <PERSON_1>.")
    assert conversation.restore(read).endswith("Ada asked Bo.")
    assert node.text == "Ada asked Bo."
    assert node.metadata["author"] == "Bo"
