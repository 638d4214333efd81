"""The prompt as the engine gets it, and how many tokens it has there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rag.prompt import Message
from serving.engine.tokens import TokenCounter
from serving.gateway.tool_text import as_text, offer
from serving.gateway.tool_words import Tools


class PromptForm:
    """With tools where the model's chat template has a place for them, else in its texts."""

    def __init__(self, tokens: TokenCounter, tools: Tools) -> None:
        self._tokens = tokens
        self._tools = tools

    @property
    def system(self) -> list[str]:
        """What the system text must say."""
        return [offer(self._tools)] if self._tools and not self._tokens.takes_tools else []

    def messages(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """In OpenAI's shape. A call's id is the caller's own text: it is told by its place."""
        if not self._tokens.takes_tools:
            messages = [as_text(message) for message in messages]
        given = (call.id for message in messages for call in message.calls)
        ids = {name: f"call{number:05}" for number, name in enumerate(dict.fromkeys(given), 1)}
        return [_as_dict(message, ids) for message in messages]

    def rendered(self, messages: Sequence[Message]) -> str:
        """A text of as many tokens as the whole prompt has."""
        return self._tokens.rendered(self.messages(messages), self._tools)


def _as_dict(message: Message, ids: dict[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        said["tool_calls"] = [
            {
                "id": ids[call.id],
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    if message.answers:
        said["tool_call_id"] = ids[message.answers]
    return said
