"""Personal data inside JSON, such as a tool call's arguments: looked for in the strings as they are
meant, replaced in the JSON as it is written, which stays JSON.

In JSON, `Zoë` may be `Zo\\u00eb`, and a quote is `\\"`: what is looked for in the text itself is
not found, and what is cut out of it may be half of an escape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from isolation.masking.findings import Finding
from isolation.masking.placeholders import Numbering, replaced

_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ToolText:
    """A tool call's arguments, or what a tool returned. JSON is read as JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class _Value:
    """A string or a number: where it is written, what it means, and where that is in `plain`."""

    start: int
    end: int
    meant: str
    at: int


class JsonText:
    """A JSON object or array. `plain` is the text with its strings unescaped: here is looked."""

    def __init__(self, written: str) -> None:
        self._written = written
        self._values: list[_Value] = []
        plain, position, length = [], 0, 0
        for match in _VALUE.finditer(written):
            quote = '"' if match[0].startswith('"') else ""
            meant = json.loads(match[0]) if quote else match[0]
            before = written[position : match.start()] + quote
            plain += [before, meant, quote]
            self._values.append(_Value(*match.span(), meant, length + len(before)))
            length += len(before) + len(meant) + len(quote)
            position = match.end()
        self.plain = "".join([*plain, written[position:]])

    def replaced(self, findings: Sequence[Finding], numbering: Numbering) -> str:
        """The JSON with placeholders for findings in `plain`, which are in order. A number becomes
        a string as a whole."""
        out, position = [], 0
        for value in self._values:
            within = _within(value, findings)
            if not within:
                continue
            if self._written[value.start] != '"':
                within = [Finding(0, len(value.meant), within[0].entity)]
            changed = replaced(value.meant, within, numbering)
            out += [self._written[position : value.start], f'"{escaped(changed)}"']
            position = value.end
        return "".join([*out, self._written[position:]])


def json_text(text: str) -> JsonText | None:
    """The text as JSON; None if it is no object and no array."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        json.loads(text)
        return JsonText(text)
    except (ValueError, RecursionError):
        return None


def escaped(text: str) -> str:
    """A text as it is written inside a string of JSON."""
    inside = json.dumps(text, ensure_ascii=False)[1:-1]
    # Half a character cannot be encoded, but can be escaped.
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", inside)


def _within(value: _Value, findings: Sequence[Finding]) -> list[Finding]:
    """What of the findings lies in a value, by its own offsets."""
    end = value.at + len(value.meant)
    return [
        Finding(max(each.start, value.at) - value.at, min(each.end, end) - value.at, each.entity)
        for each in findings
        if each.start < end and value.at < each.end
    ]
