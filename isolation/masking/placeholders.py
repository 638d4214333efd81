"""Placeholders: `<PERSON_1>`, numbered by first appearance in the conversation.

So the same history always gives the same text: the prefix cache keeps hitting, and no table of
placeholders has to outlive a request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from isolation.masking.findings import Finding

# What a caller typed in our form. It becomes a placeholder itself, else it would come back as
# whatever the platform gave that number to.
LITERAL = "LITERAL"
# A model may change the brackets and the case, and escape for Markdown, HTML or JSON; without
# brackets, nothing else may be changed.
_BRACKETS = (
    (r"<", r">"),
    (r"\\<", r"\\>"),
    (r"&lt;", r"&gt;"),
    (r"\\u003c", r"\\u003e"),
    (r"\[", r"\]"),
    (r"\\\[", r"\\\]"),
)
LONGEST_NUMBER = 6
_LONGEST_BRACKETS = len("\\u003c") + len("\\u003e") + 2


class Forms:
    """How the placeholders of some kinds may be written: exactly, or with small deformations."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = {_key(kind): kind for kind in kinds}
        names = sorted(self._kinds.values(), key=len, reverse=True)
        # Longest first: a kind may begin with another one's name.
        self._loose = "|".join(r"(?:\\?_|[ -])".join(name.split("_")) for name in names)
        self._exact = "|".join(r"\\?_".join(name.split("_")) for name in names)
        self.longest = max(map(len, names), default=0) * 2 + LONGEST_NUMBER + _LONGEST_BRACKETS

    def bracketed(self, number: str) -> str:
        """A pattern of two groups: kind and number. Nothing that follows can change a match."""
        inner = rf" ?({self._loose})(?:\\?_|[ -])({number}) ?"
        parts = (f"{open_}{inner}{close}" for open_, close in _BRACKETS)
        return f"(?i:{'|'.join(parts)})"

    def bare(self, number: str) -> str:
        """The same without brackets, in capitals."""
        return rf"({self._exact})\\?_({number})"

    def kind(self, written: str) -> str:
        """The kind that is meant by `written`, which one of the patterns has matched."""
        return self._kinds[_key(written)]


def _key(written: str) -> str:
    return re.sub(r"[\\_ -]", "", written).upper()


class Literals:
    """Finds what a caller typed and the platform would take for a placeholder."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._pattern = _look_alikes(frozenset({*kinds, LITERAL}))

    def find(self, text: str) -> list[Finding]:
        """All look-alikes, in order."""
        return [Finding(m.start(), m.end(), LITERAL) for m in self._pattern.finditer(text)]

    def replaced(self, text: str, by: Callable[[str], str]) -> str:
        """`text` with something else for each of them."""
        return self._pattern.sub(lambda match: by(match[0]), text)


# To compile it takes ten milliseconds, in which a gateway answers nobody; `re` keeps 512 in all.
@lru_cache(maxsize=1_024)
def _look_alikes(names: frozenset[str]) -> re.Pattern[str]:
    forms = Forms(names)
    # Looked for first: most of a text begins nothing, and is passed in a tenth of the time.
    begins = "".join(sorted({name[0] for name in names}))
    either = f"{forms.bracketed('[0-9]+')}|{forms.bare('[0-9]+')}"
    return re.compile(rf"(?=[<\[&\\{begins}])(?:{either})")


def joined(literals: list[Finding], findings: list[Finding]) -> list[Finding]:
    """Both, none overlapping: a look-alike that touches personal data is hidden with it."""
    result: list[Finding] = []
    for each in sorted([*literals, *findings], key=lambda found: (found.start, -found.end)):
        if result and each.start < result[-1].end:
            last = result[-1]
            within = each.end <= last.end
            entity = last.entity if within or last.entity != LITERAL else each.entity
            result[-1] = Finding(last.start, max(last.end, each.end), entity, last.score)
        else:
            result.append(each)
    return result


class Numbering:
    """Gives each value of a kind its placeholder; the same value the same one.

    remembered: of how many values at most; older ones get another number when they come again.
    """

    def __init__(self, remembered: int | None = None) -> None:
        self._remembered = remembered
        self._placeholders: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def placeholder(self, entity: str, value: str, of: str | None = None) -> str:
        """The placeholder of a value, a new one at its first appearance.

        of: what tells values apart that are shown alike; None, the value itself.
        """
        key = (entity, value if of is None else f"\0{of}")
        known = self._placeholders.get(key)
        if known is not None:
            return known
        number = self._counts[entity] = self._counts.get(entity, 0) + 1
        given = self._placeholders[key] = f"<{entity}_{number}>"
        self._values[given] = value
        if self._remembered is not None and len(self._placeholders) > self._remembered:
            del self._values[self._placeholders.pop(next(iter(self._placeholders)))]
        return given

    def values(self) -> Mapping[str, str]:
        """What each placeholder stands for."""
        return MappingProxyType(self._values)


def replaced(text: str, findings: Sequence[Finding], numbering: Numbering) -> str:
    """`text` with a placeholder for each finding; they are in order and do not overlap."""
    out, position = [], 0
    for found in findings:
        out.append(text[position : found.start])
        out.append(numbering.placeholder(found.entity, text[found.start : found.end]))
        position = found.end
    return "".join([*out, text[position:]])
