"""One request's placeholders and what they stand for. It lives and dies with the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isolation.context import TenantContext, require_same_tenant
from isolation.masking.canaries import CanaryGuard
from isolation.masking.conversations import Conversation, ConversationTokens
from isolation.masking.given import Given
from isolation.masking.output import ForeignDataGuard
from isolation.masking.output_names import Find, ForeignNamesGuard, ForeignNamesRules
from isolation.masking.restoring import Restoring
from isolation.streaming import Chain, StreamTransform
from isolation.tenant_id import TenantId


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What an answer is held against. given: what the request held. kinds: of personal data that
    must be in it, and is removed else. blocked: kinds that end the answer instead.
    find: what reads names and addresses in it; None: rules alone do.
    canaries: what must not leave at all. never_to_tools: kinds whose values are in no tool call.
    tool_links: whether links in tool calls are the guard's too."""

    given: Given = field(default_factory=Given)
    kinds: frozenset[str] = frozenset()
    canaries: frozenset[str] = frozenset()
    never_to_tools: frozenset[str] = frozenset()
    tool_links: bool = True
    blocked: frozenset[str] = frozenset()
    find: Find | None = None


class RequestVault:
    """Restores placeholders, for the tenant whose request it was and for nobody else."""

    __slots__ = ("_outgoing", "_owner", "_values", "tripped")

    def __init__(
        self, ctx: TenantContext, values: Mapping[str, str], outgoing: Outgoing | None = None
    ) -> None:
        self._owner: TenantId = ctx.tenant_id
        self._values = dict(values)
        self._outgoing = outgoing or Outgoing()
        self.tripped = 0  # canaries that were removed

    def answer(self, ctx: TenantContext) -> StreamTransform:
        """Restores an answer, and keeps in what was in nothing that the request was given.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        return Chain([self.stream(ctx), self._foreign(), self._canaries()])

    def names(self, ctx: TenantContext) -> ForeignNamesGuard:
        """Keeps foreign persons and addresses in, in an answer that has passed all else.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        require_same_tenant(ctx, self._owner, "the vault")
        out = self._outgoing
        return ForeignNamesGuard(out.given, out.kinds, out.blocked, out.find)

    def argument(self, ctx: TenantContext) -> StreamTransform:
        """The same for one string among the arguments of a tool call.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        require_same_tenant(ctx, self._owner, "the vault")
        never = self._outgoing.never_to_tools
        values = {name: v for name, v in self._values.items() if _kind(name) not in never}
        out = self._outgoing
        rules = ForeignNamesRules(out.given, out.kinds, out.blocked)
        return Chain([Restoring(values), self._foreign(), rules, self._canaries()])

    @property
    def guards_tool_links(self) -> bool:
        """Whether links in a tool call's arguments are guarded like an answer's."""
        return self._outgoing.tool_links

    def masked_answer(self, ctx: TenantContext) -> StreamTransform:
        """The same, with placeholders: whoever holds the conversation's token resolves them.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        require_same_tenant(ctx, self._owner, "the vault")
        return Chain([self._foreign(), self._canaries()])

    async def conversation(
        self, ctx: TenantContext, tokens: ConversationTokens, name: str
    ) -> Conversation:
        """What resolves this request's placeholders later on.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        require_same_tenant(ctx, self._owner, "the vault")
        return await tokens.issue(ctx, name, self._values)

    def _foreign(self) -> ForeignDataGuard:
        return ForeignDataGuard(self._outgoing.given, self._outgoing.kinds, self._outgoing.blocked)

    def clean(self, text: str) -> str:
        """A source that is shown as it is, without canaries."""
        canaries = self._canaries()
        return canaries.feed(text) + canaries.flush()

    def _canaries(self) -> CanaryGuard:
        return CanaryGuard(self._outgoing.canaries, self._trip)

    def _trip(self) -> None:
        self.tripped += 1

    def stream(self, ctx: TenantContext) -> Restoring:
        """Restores a stream.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        require_same_tenant(ctx, self._owner, "the vault")
        return Restoring(self._values)

    def restore(self, ctx: TenantContext, text: str) -> str:
        """Restores a whole text.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        stream = self.stream(ctx)
        return stream.feed(text) + stream.flush()

    def __repr__(self) -> str:
        return f"<RequestVault of {len(self._values)} values>"


def _kind(placeholder: str) -> str:
    return placeholder[1:].rpartition("_")[0]
