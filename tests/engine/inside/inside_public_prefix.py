"""How a shared beginning is made of messages and tools: as SGLang prepares a chat."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from serving.engine_plugin import public_prefix
from serving.engine_plugin.public_prefix import NotSharedError, _beginning, room_in
from serving.engine_plugin.verifier import ProofRefusedError

SYSTEM = [{"role": "system", "content": "You help."}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Finds it.",
        "parameters": {"type": "object"},
    },
}


class Chats:
    """Prepares a chat as a template does that puts tools before the question."""

    def _process_messages(self, request: Any, is_multimodal: bool) -> Any:
        if any(message.content == "forbidden" for message in request.messages):
            raise ValueError("the template says no")
        *first, question = request.messages
        tools = json.dumps([tool.model_dump() for tool in request.tools or ()])
        text = "".join(turn.content for turn in first) + tools + question.content + "!"
        return SimpleNamespace(prompt_ids=[ord(letter) for letter in text])


@pytest.fixture(autouse=True)
def chats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_prefix, "_chats", Chats)


def _text(messages: Any, tools: Any) -> str:
    return "".join(map(chr, _beginning(messages, tools)))


def test_a_beginning_holds_the_tools_and_ends_where_the_question_begins() -> None:
    assert _text(SYSTEM, []) == "You help.[]"
    beginning = _text(SYSTEM, [TOOL])
    assert beginning.startswith("You help.[{")
    assert beginning.endswith("]")
    # What SGLang adds beside the function, a caller's tools get too.
    (tool,) = json.loads(beginning.removeprefix("You help."))
    assert tool["function"] == TOOL["function"]


def test_what_a_template_refuses_is_told_and_what_is_no_chat_is_refused() -> None:
    with pytest.raises(NotSharedError) as told:
        _beginning([{"role": "system", "content": "forbidden"}], [])
    assert told.value.answer == {"refused": "not_rendered"}
    with pytest.raises(ProofRefusedError):
        _beginning([{"content": "You help."}], [])


def test_a_quarter_of_the_pool_may_be_public() -> None:
    assert (room_in(1_000, 0), room_in(1_000, 240), room_in(1_000, 400)) == (250, 10, 0)
