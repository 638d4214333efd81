"""Placeholders: `<PERSON_1>`, numbered by first appearance in the conversation.

So the same history always gives the same text: the prefix cache keeps hitting, and no table of
placeholders has to outlive a request.
"""

from __future__ import annotations

import re

from isolation.masking.findings import Finding

# What a caller typed in our form. It becomes a placeholder itself, else it would come back as
# whatever the platform gave that number to.
LITERAL = "LITERAL"
_TYPED = re.compile(r"<[A-Z][A-Z_]*_[0-9]+>")


def typed_literals(text: str) -> list[Finding]:
    """What looks like a placeholder in a caller's text."""
    return [Finding(m.start(), m.end(), LITERAL) for m in _TYPED.finditer(text)]


class Numbering:
    """Gives each value of a kind its placeholder; the same value the same one."""

    def __init__(self) -> None:
        self._placeholders: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def placeholder(self, entity: str, value: str) -> str:
        """The placeholder of a value, a new one at its first appearance."""
        known = self._placeholders.get((entity, value))
        if known is not None:
            return known
        number = self._counts[entity] = self._counts.get(entity, 0) + 1
        return self._placeholders.setdefault((entity, value), f"<{entity}_{number}>")

    def values(self) -> dict[str, str]:
        """What each placeholder stands for."""
        return {text: value for (_, value), text in self._placeholders.items()}
