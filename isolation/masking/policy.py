"""What is masked for a tenant: by kind and direction, with exceptions and own patterns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from isolation.access import Access
from isolation.context import TenantContext, require_tenant
from isolation.errors import ContentBlockedError
from isolation.masking.entities import ENTITIES
from isolation.masking.findings import Finding, without_overlaps
from isolation.masking.output import KINDS
from isolation.masking.output_names import NAME_KINDS
from isolation.masking.own_patterns import OwnPattern, find_own

_IN_ANSWERS = (*KINDS, *NAME_KINDS)
_MOST_PATTERNS, _MOST_ALLOWED, _MOST_CANARIES = 50, 2_000, 100


class Action(StrEnum):
    """What happens to a kind of personal data."""

    off = "off"
    mask = "mask"
    block = "block"


class Direction(StrEnum):
    """Where it is met: what is asked, which passages are sent along, what goes to tools and comes
    from them, what is answered."""

    user = "user"
    documents = "documents"
    tools = "tools"
    output = "output"


class ToolLinks(StrEnum):
    """What becomes of links to foreign hosts in the arguments of a tool call."""

    removed = "removed"
    kept = "kept"


class Originals(StrEnum):
    """What becomes of a value that was masked in a document."""

    sealed = "sealed"
    none = "none"


class Reveal(StrEnum):
    """Which keys read the values that were masked in documents."""

    everybody = "everybody"
    unrestricted = "unrestricted"


Term = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=200)]
Canary = Annotated[str, StringConstraints(min_length=8, max_length=64)]
Rules = dict[str, Action]


class MaskingPolicy(BaseModel):
    """One tenant's policy. A kind that a direction does not name gets the direction's `default`.

    locale: the country (ISO 3166-1) whose phone numbers are written without a country code; None
    tries many. allow: product and brand names that are nobody's personal data, in any case.
    canaries: strings that no answer may hold; they are removed, and the operator is told.
    originals: what was masked in a document is kept, sealed by the tenant's key, or not at all.
    reveal: to whom it is shown: every key that sees the document, or only those without groups.
    tools: of the arguments of tool calls and of what tools return, as the model sees them. A kind
    that is blocked there is in no call either: its placeholder stays. tool_links: in calls that the
    model writes; what a document says may have put them there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: Rules = {}
    documents: Rules = {"default": Action.off}
    tools: Rules = {}
    output: Rules = {}
    locale: Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")] | None = None
    allow: frozenset[Term] = Field(frozenset(), max_length=_MOST_ALLOWED)
    patterns: tuple[OwnPattern, ...] = Field((), max_length=_MOST_PATTERNS)
    canaries: frozenset[Canary] = Field(frozenset(), max_length=_MOST_CANARIES)
    originals: Originals = Originals.sealed
    reveal: Reveal = Reveal.everybody
    tool_links: ToolLinks = ToolLinks.removed

    @model_validator(mode="after")
    def _names_what_exists(self) -> Self:
        own = [pattern.name for pattern in self.patterns]
        if len({*own, *ENTITIES}) < len(own) + len(ENTITIES):
            raise ValueError("a pattern's name is given twice or is a built-in kind's")
        known = {"default", *own, *ENTITIES}
        for direction in Direction:
            if not known.issuperset(self._rules(direction)):
                raise ValueError(f"{direction}: unknown kind; choose of {', '.join(sorted(known))}")
        blocked = {kind for kind, action in self.output.items() if action is Action.block}
        if not blocked.issubset({"default", *_IN_ANSWERS}):
            raise ValueError(f"output: only {', '.join(_IN_ANSWERS)} can be blocked in an answer")
        return self

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind that this policy may mask."""
        return frozenset({*ENTITIES, *(pattern.name for pattern in self.patterns)})

    def action(self, direction: Direction, entity: str) -> Action:
        """What happens to a kind there."""
        rules = self._rules(direction)
        return rules.get(entity, rules.get("default", Action.mask))

    def acts(self, direction: Direction) -> bool:
        """Whether anything happens there at all."""
        return any(self.action(direction, kind) is not Action.off for kind in self.kinds)

    def acted_on(self, direction: Direction, action: Action) -> frozenset[str]:
        """The kinds to which this happens there."""
        return frozenset(kind for kind in self.kinds if self.action(direction, kind) is action)

    def reveals(self, access: Access) -> bool:
        """Whether a credential reads what was masked in the documents that it sees."""
        return self.reveal is Reveal.everybody or access.unrestricted

    def judged(self, direction: Direction, text: str, found: Iterable[Finding]) -> list[Finding]:
        """Which findings are to be masked, the tenant's own among them; none overlap.

        Raises:
            ContentBlockedError: one of them is of a kind that must not pass.
        """
        wanted = without_overlaps([*self._not_allowed(text, found), *find_own(self.patterns, text)])
        actions = [(each, self.action(direction, each.entity)) for each in wanted]
        blocked = {each.entity for each, action in actions if action is Action.block}
        if blocked:
            raise ContentBlockedError(sorted(blocked))
        return [each for each, action in actions if action is Action.mask]

    def _not_allowed(self, text: str, found: Iterable[Finding]) -> Iterator[Finding]:
        allowed = {term.casefold() for term in self.allow}
        for each in found:
            if text[each.start : each.end].strip(" .,'").casefold() not in allowed:
                yield each

    def _rules(self, direction: Direction) -> Rules:
        rules: Rules = getattr(self, direction.value)
        return rules


class Policies(Protocol):
    """Which policy is a tenant's."""

    async def of(self, ctx: TenantContext) -> MaskingPolicy:
        """The tenant's own, or the standard one."""


class StandardPolicies:
    """`Policies` where nobody has one of its own."""

    async def of(self, ctx: TenantContext) -> MaskingPolicy:
        require_tenant(ctx, "masking")
        return MaskingPolicy()
