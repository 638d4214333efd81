"""A whole chat through the masker: tools, turns, calls, results, passages, in this order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from isolation.context import TenantContext
from isolation.masking.json_text import ToolText
from rag.documents import Passage
from rag.prompt import Message
from serving.gateway.privacy_ports import Masker, Vault
from serving.gateway.tool_words import Tools, with_words, words_of


@dataclass(frozen=True, slots=True)
class MaskedChat:
    """What the engine may see. vault: what restores the answer, and keeps canaries in."""

    conversation: list[Message]
    passages: list[Passage]
    tools: Tools
    vault: Vault


async def masked_chat(
    masker: Masker,
    ctx: TenantContext,
    conversation: Sequence[Message],
    passages: Sequence[Passage],
    tools: Tools,
) -> MaskedChat:
    """The chat with placeholders. Tools come first, as they do in a prompt: so the same history has
    the same placeholders.

    Raises:
        ContentBlockedError: the tenant's policy does not let something in it pass.
    """
    words = words_of(tools)
    # As one text: each one alone would be sent to the analyzer and back.
    texts = [*([ToolText(json.dumps(words))] if words else []), *_texts(conversation)]
    masked = await masker.mask(ctx, texts, [one.masked or one.text for one in passages])
    rest = iter(masked.texts)
    tools = with_words(tools, json.loads(next(rest))) if words else tools
    sources = zip(passages, masked.documents, strict=True)
    return MaskedChat(
        [_masked(turn, rest) for turn in conversation],
        [passage._replace(text=text) for passage, text in sources],
        tools,
        masked.vault,
    )


def _texts(conversation: Sequence[Message]) -> Iterator[str | ToolText]:
    for turn in conversation:
        yield ToolText(turn.content) if turn.role == "tool" else turn.content
        yield from (ToolText(call.arguments) for call in turn.calls)


def _masked(turn: Message, texts: Iterator[str]) -> Message:
    content = next(texts)
    return replace(
        turn,
        content=content,
        calls=tuple(replace(call, arguments=next(texts)) for call in turn.calls),
    )
