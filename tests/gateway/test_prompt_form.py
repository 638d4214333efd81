"""Tools in the prompt: where the chat template has a place for them, and where it has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from rag.prompt import Message, ToolCall
from serving.engine.tokens import ByteCounter, TokenizerCounter
from serving.gateway.prompt_form import PromptForm
from serving.gateway.tool_words import with_words, words_of

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Finds an order.",
        "parameters": {
            "type": "object",
            "properties": {"title": {"type": "string", "enum": ["a", "b"], "title": "The title"}},
            "required": ["title"],
        },
    },
}
CALL = ToolCall("own id", "find_order", '{"title": "a"}')
TURNS = [
    Message("user", "Where is it?"),
    Message("assistant", "", (CALL,)),
    Message("tool", "It was sent.", answers="own id"),
]


class Untooled(ByteCounter):
    takes_tools = False


def _counter(folder: Path, template: str) -> TokenizerCounter:
    tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return TokenizerCounter(folder)


def test_a_template_that_knows_tools_gets_them_as_they_are() -> None:
    form = PromptForm(ByteCounter(), [TOOL])
    assert form.system == []
    asked, called, returned = form.messages(TURNS)
    assert asked == {"role": "user", "content": "Where is it?"}
    (call,) = called["tool_calls"]
    assert call["function"] == {"name": "find_order", "arguments": '{"title": "a"}'}
    assert returned["tool_call_id"] == call["id"]
    assert "own id" not in str([called, returned])
    assert len(form.rendered(TURNS)) > len(PromptForm(ByteCounter(), []).rendered(TURNS))


def test_another_one_gets_them_in_its_texts() -> None:
    form = PromptForm(Untooled(), [TOOL])
    (offered,) = form.system
    assert json.dumps(TOOL) in offered
    assert form.messages(TURNS) == [
        {"role": "user", "content": "Where is it?"},
        {
            "role": "assistant",
            "content": '<tool_call>\n{"name": "find_order", "arguments": {"title": "a"}}\n'
            "</tool_call>",
        },
        {"role": "user", "content": "<tool_response>\nIt was sent.\n</tool_response>"},
    ]
    assert PromptForm(Untooled(), []).system == []


def test_tools_are_counted_as_the_template_writes_them(tmp_path: Path) -> None:
    plain = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    counter = _counter(tmp_path, plain)
    said = [{"role": "user", "content": "one two three"}]
    assert not counter.takes_tools
    assert counter.count_messages(said, [TOOL]) == counter.count_messages(said) == 3
    counter = _counter(
        tmp_path, f"{{% for t in tools or [] %}}{{{{ t | tojson }}}}{{% endfor %}}{plain}"
    )
    assert counter.takes_tools
    assert counter.count_messages(said) == 3
    assert counter.count_messages(said, [TOOL]) > 30


def test_words_are_changed_and_names_and_structure_are_not() -> None:
    words = words_of([TOOL])
    assert words == ["Finds an order.", "a", "b", "The title"]
    (changed,) = with_words([TOOL], [word.upper() for word in words])
    schema = changed["function"]["parameters"]["properties"]["title"]
    assert schema == {"type": "string", "enum": ["A", "B"], "title": "THE TITLE"}
    assert changed["function"]["parameters"]["required"] == ["title"]
    assert changed["function"]["name"] == "find_order"
