"""What the operator shares, laid out as chats are: else none of them would begin with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rag.prompt import system_turn
from serving.engine.public import PublicPrefix
from serving.engine.tokens import TokenCounter
from serving.gateway.prompt_form import PromptForm


def shared_beginning(
    tokens: TokenCounter, system: str, tools: Sequence[dict[str, Any]]
) -> PublicPrefix:
    """The beginning of a chat whose caller sends this system turn (if any) and offers these
    tools."""
    offered = list(tools)
    form = PromptForm(tokens, offered)
    turn = system_turn([*([system] if system else []), *form.system])
    return PublicPrefix(form.messages([turn]), offered)
