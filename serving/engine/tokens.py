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


class TokenCounter(Protocol):
    """Counts tokens as the engine will."""

    @property
    def takes_tools(self) -> bool:
        """Whether the model's chat template has a place for tools."""

    def count(self, text: str) -> int:
        """Tokens of a text."""

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

    def count_messages(self, messages: Messages, tools: Tools = ()) -> int:
        rendered = self._template.render(
            messages=[_with_objects(message) for message in messages],
            tools=[{**tool, "defer_loading": None} for tool in tools] or None,
            add_generation_prompt=True,
            **self._special,
        )
        return self.count(rendered)


class ByteCounter:
    """An upper bound for byte-level tokenizers, when the model's folder is not at hand."""

    takes_tools = True

    def count(self, text: str) -> int:
        return len(text.encode())

    def count_messages(self, messages: Messages, tools: Tools = ()) -> int:
        offered = sum(len(orjson.dumps(tool)) + 8 for tool in tools)
        return sum(_bytes(message) + 8 for message in messages) + offered + 8


def _bytes(message: Mapping[str, Any]) -> int:
    calls = message.get("tool_calls")
    return len(message["content"].encode()) + (len(orjson.dumps(calls)) if calls else 0)


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
