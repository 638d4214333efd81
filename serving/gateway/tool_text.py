"""Tools as text, for a model whose chat template has no place for them: as Hermes models know them
(github.com/NousResearch/Hermes-Function-Calling)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rag.prompt import Message, ToolCall

_OFFER = (
    "You may call functions. For each call write a JSON object with its name and arguments within "
    "<tool_call></tool_call> tags. These functions are there:\n<tools>\n{tools}\n</tools>"
)


def offer(tools: Sequence[Mapping[str, Any]]) -> str:
    """What the system text says of the tools."""
    return _OFFER.format(tools="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))


def as_text(message: Message) -> Message:
    """A turn without calls: they stand in its text, as what a tool returned stands in a user's."""
    if message.role == "tool":
        return Message("user", f"<tool_response>\n{message.content}\n</tool_response>")
    calls = [_call(call) for call in message.calls]
    return Message(message.role, "\n".join([message.content, *calls] if message.content else calls))


def _call(call: ToolCall) -> str:
    return f'<tool_call>\n{{"name": "{call.name}", "arguments": {call.arguments}}}\n</tool_call>'
