"""How many tokens a prompt has, counted in the gateway before the engine sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

Messages = Sequence[Mapping[str, str]]


class TokenCounter(Protocol):
    """Counts tokens as the engine will."""

    def count(self, text: str) -> int:
        """Tokens of a text."""

    def count_messages(self, messages: Messages) -> int:
        """Tokens of a conversation under the model's chat template, generation prompt included."""


class TokenizerCounter:
    """Exact: the model's own tokenizer and chat template, from its folder."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._special = _special_tokens(folder)
        # The template comes with the model: it gets a sandbox and no file system.
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(_chat_template(folder))

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def count_messages(self, messages: Messages) -> int:
        rendered = self._template.render(
            messages=messages, add_generation_prompt=True, **self._special
        )
        return self.count(rendered)


class ByteCounter:
    """An upper bound for byte-level tokenizers, when the model's folder is not at hand."""

    def count(self, text: str) -> int:
        return len(text.encode())

    def count_messages(self, messages: Messages) -> int:
        return sum(self.count(message["content"]) + 8 for message in messages) + 8


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
