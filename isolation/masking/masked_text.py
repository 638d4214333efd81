"""A passage that was masked when it came in, and what its placeholders stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PLACEHOLDER = re.compile(r"<([A-Z][A-Z_]*)_([0-9]+)>")

Values = Mapping[str, str | None]


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
