"""How many tokens a prompt has, counted in the gateway before the engine sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]

# As many bytes as a template's marks around a message have tokens, or more.
_MARKS = " " * 8


class TokenCounter(Protocol):
    """Counts tokens as the engine will."""

    @property
    def takes_tools(self) -> bool:
        """Whether the model's chat template has a place for tools."""

    def count(self, text: str) -> int:
        """Tokens of a text."""

    def rendered(self, messages: Messages, tools: Tools = ()) -> str:
        """A text of as many tokens as the conversation has (`count_messages`)."""

    def count_messages(self, messages: Messages, tools: Tools = ()) -> int:
        """Tokens of a conversation under the model's chat template, generation prompt included."""


class TokenizerCounter:
    """Exact: the model's own tokenizer and chat template, from its folder."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._special = _special_tokens(folder)
        # The template comes with the model: it gets a sandbox and no file system.
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        source = _chat_template(folder)
        self._template = environment.from_string(source)
        names = meta.find_undeclared_variables(environment.parse(source))
        self.takes_tools = "tools" in names

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def rendered(self, messages: Messages, tools: Tools = ()) -> str:
        return self._template.render(
            messages=[_with_objects(message) for message in messages],
            tools=[{**tool, "defer_loading": None} for tool in tools] or None,
            add_generation_prompt=True,
            **self._special,
        )

    def count_messages(self, messages: Messages, tools: Tools = ()) -> int:
        return self.count(self.rendered(messages, tools))


class ByteCounter:
    """An upper bound for byte-level tokenizers, when the model's folder is not at hand."""

    takes_tools = True

    def count(self, text: str) -> int:
        return len(text.encode())

    def rendered(self, messages: Messages, tools: Tools = ()) -> str:
        offered = [orjson.dumps(tool).decode() for tool in tools]
        return "".join(text + _MARKS for text in (*map(_said, messages), *offered, ""))

    def count_messages(self, messages: Messages, tools: Tools = ()) -> int:
        return self.count(self.rendered(messages, tools))


def _said(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    content: str = message["content"]
    return content + (orjson.dumps(calls).decode() if calls else "")


def _with_objects(message: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the engine gives them to the template: no text, but what it says."""
    calls = [
        {**call, "function": {**function, "arguments": orjson.loads(function["arguments"])}}
        for call in message.get("tool_calls", ())
        for function in (call["function"],)
    ]
    return {**message, "tool_calls": calls} if calls else dict(message)


def _chat_template(folder: Path) -> str:
    separate = folder / "chat_template.jinja"
    if separate.exists():
        return separate.read_text()
    config = orjson.loads((folder / "tokenizer_config.json").read_bytes())
    template: str = config["chat_template"]
    return template


def _special_tokens(folder: Path) -> dict[str, Any]:
    config = orjson.loads((folder / "tokenizer_config.json").read_bytes())
    return {name: config[name] for name in ("bos_token", "eos_token") if config.get(name)}
