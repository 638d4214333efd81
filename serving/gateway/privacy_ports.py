"""What the gateway needs of masking and of the output guard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from isolation.context import TenantContext
from isolation.masking.conversations import Conversation, ConversationTokens
from isolation.masking.json_text import ToolText
from isolation.masking.masked_text import MaskedText
from isolation.streaming import AsyncTransform, StreamTransform


class Vault(Protocol):
    """One request's placeholders and what they stand for."""

    @property
    def tripped(self) -> int:
        """How many canaries were removed."""

    def answer(self, ctx: TenantContext) -> StreamTransform:
        """Restores placeholders in an answer, cut anywhere, and keeps foreign data in."""

    def names(self, ctx: TenantContext) -> AsyncTransform:
        """Keeps foreign persons and addresses in, in an answer that has passed all else."""

    def argument(self, ctx: TenantContext) -> StreamTransform:
        """The same for one string among a tool call's arguments."""

    @property
    def guards_tool_links(self) -> bool:
        """Whether links in a tool call's arguments are guarded."""

    def masked_answer(self, ctx: TenantContext) -> StreamTransform:
        """The same, with placeholders as they are."""

    async def conversation(
        self, ctx: TenantContext, tokens: ConversationTokens, name: str
    ) -> Conversation:
        """What resolves this request's placeholders later on."""

    def clean(self, text: str) -> str:
        """A source that is shown as it is, without canaries."""


class Masked(Protocol):
    """Texts with placeholders, and the vault that restores them."""

    @property
    def texts(self) -> list[str]:
        """In the order they came."""

    @property
    def documents(self) -> list[str]:
        """The passages' texts, in the order they came."""

    @property
    def vault(self) -> Vault:
        """What the placeholders stand for."""


class Masker(Protocol):
    """Replaces personal data by numbered placeholders."""

    async def mask(
        self,
        ctx: TenantContext,
        texts: Sequence[str | ToolText],
        documents: Sequence[str | MaskedText] = (),
    ) -> Masked:
        """All turns of one conversation, in order, and the passages that go with it; those that
        were masked when they came in are not analysed again.

        Raises:
            ContentBlockedError: the tenant's policy does not let something in them pass.
        """


class Guard(Protocol):
    """Defuses links and images that would carry data out."""

    def clean(self, text: str) -> str:
        """A whole text."""

    def stream(self) -> StreamTransform:
        """The same for a stream, cut anywhere."""
