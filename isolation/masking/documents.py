"""Documents, masked once, when they come in: placeholders of the document's own.

A passage's text goes about with them; what they stand for lies in the document's vault. A request
gives each value a placeholder of its own (`Numbering.renumbered`), and analyses nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from isolation.masking.findings import Finding
from isolation.masking.placeholders import Literals, Numbering, joined, replaced
from isolation.masking.policy import Direction, MaskingPolicy, Originals

PLACEHOLDER = re.compile(r"<([A-Z][A-Z_]*)_([0-9]+)>")
# Values that one document's numbering remembers: a value that comes again after so many others
# gets another number, so that memory does not grow with the document.
_REMEMBERED = 50_000

Values = Mapping[str, str | None]
Find = Callable[[str], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True)
class MaskedText:
    """A text with document placeholders, and what they stand for: None, it is not to be shown.

    document: names the version of the document, inside which a placeholder means one thing.
    """

    text: str
    values: Values
    document: str

    @property
    def restored(self) -> str:
        """The text as it was; in place of what is not to be shown, of which kind it is."""
        return PLACEHOLDER.sub(self._shown, self.text)

    def _shown(self, match: re.Match[str]) -> str:
        if match[0] not in self.values:
            return match[0]
        value = self.values[match[0]]
        return withheld(match[1]) if value is None else value

    def __repr__(self) -> str:
        return f"<MaskedText of {len(self.values)} values>"


def withheld(kind: str) -> str:
    """What stands for a value that is not to be shown."""
    return f"[{kind.replace('_', ' ').lower()}]"


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
