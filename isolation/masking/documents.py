"""Documents, masked once, when they come in: placeholders of the document's own.

A passage's text goes about with them; what they stand for lies in the document's vault. A request
gives each value a placeholder of its own, and analyses nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from isolation.masking.findings import Finding
from isolation.masking.masked_text import PLACEHOLDER
from isolation.masking.placeholders import Literals, Numbering, joined, replaced
from isolation.masking.policy import Direction, MaskingPolicy, Originals

# Values that one document's numbering remembers: a value that comes again after so many others
# gets another number, so that memory does not grow with the document.
_REMEMBERED = 50_000

Find = Callable[[str], Awaitable[list[Finding]]]


class DocumentMasking:
    """How a tenant's documents are masked, as its policy says now."""

    def __init__(self, policy: MaskingPolicy, find: Find, version: str) -> None:
        self._policy = policy
        self._find = find
        said = policy.model_dump_json(include=_DECIDING)
        self._signature = f"{version}\0{said}"

    def begin(self) -> DocumentMask:
        """One document's mask."""
        return DocumentMask(self._policy, self._find)

    def signed(self, digest: str) -> str:
        """A digest of a document and of how it is masked: another policy, another digest."""
        return hashlib.sha256(f"{digest}\0{self._signature}".encode()).hexdigest()


# What of a policy decides how a document is masked.
_DECIDING = {"documents", "locale", "allow", "patterns", "originals"}


class DocumentMask:
    """One document's placeholders, given out as its text goes by."""

    def __init__(self, policy: MaskingPolicy, find: Find) -> None:
        self._policy = policy
        self._find = find
        self._literals = Literals(policy.kinds)
        self._numbering = Numbering(_REMEMBERED)

    async def mask(self, text: str) -> str:
        """A piece of the document with placeholders.

        Raises:
            ContentBlockedError: the policy does not let something in it pass.
        """
        found = self._policy.judged(Direction.documents, text, await self._find(text))
        return replaced(text, joined(self._literals.find(text), found), self._numbering)

    def values_in(self, text: str) -> dict[str, str | None]:
        """What the placeholders of a piece that was just masked stand for, as far as it is kept."""
        kept = self._policy.originals is Originals.sealed
        values = self._numbering.values()
        names = [match[0] for match in PLACEHOLDER.finditer(text)]
        return {name: values[name] if kept else None for name in names if name in values}
