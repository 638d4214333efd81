"""JSON on its way out, such as a tool call's arguments, changed string by string.

Each string goes unescaped through a transform of its own, and is escaped anew: so a placeholder, a
link or a canary is seen however the model wrote it, and whatever comes in its place, the JSON stays
JSON. A model may also write what is no JSON: what stands outside of strings passes a transform too.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from isolation.masking.json_text import escaped
from isolation.streaming import StreamTransform

# Outside of strings: numbers and words are held back until they end, or are so long.
LONGEST_BARE = 64
LONGEST_ESCAPE = 11  # one character less than two of \uXXXX
_PLAIN = re.compile(r'[^"\\]+')
_BARE = re.compile(r'[^"{}\[\]:,\n\r\t]+')
_SIMPLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_CODE = re.compile(r"\\u([0-9a-fA-F]{4})")
_MAY_GROW = re.compile(r"(?:\\(?:u[0-9a-fA-F]{0,3})?)?")
_HIGH, _LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)


class JsonStream:
    """A `StreamTransform` over JSON. `make`: the transform of one string."""

    def __init__(self, make: Callable[[], StreamTransform]) -> None:
        self._make = make
        self._string: StreamTransform | None = None
        self._long: StreamTransform | None = None  # of something bare that is too long to hold
        self._held = ""  # an escape, or something bare, that has not ended

    def feed(self, text: str) -> str:
        return self._changed(self._held + text, final=False)

    def flush(self) -> str:
        out = self._changed(self._held, final=True)
        if self._string is not None:
            out, self._string = out + escaped(self._string.flush()), None
        return out + self._long_ended()

    def _changed(self, text: str, *, final: bool) -> str:
        out, position = [], 0
        self._held = ""
        while position < len(text):
            step = self._inside if self._string is not None else self._outside
            end, changed = step(text, position, final)
            if end == position:
                self._held = text[position:]
                break
            out.append(changed)
            position = end
        return "".join(out)

    def _inside(self, text: str, start: int, final: bool) -> tuple[int, str]:
        """The next step in a string: its end, and what comes out; no step if more must come."""
        assert self._string is not None
        if text[start] == '"':
            out, self._string = escaped(self._string.flush()) + '"', None
            return start + 1, out
        plain = _PLAIN.match(text, start)
        if plain is not None:
            return plain.end(), escaped(self._string.feed(plain[0]))
        end, meant = _unescaped(text, start, final)
        return end, escaped(self._string.feed(meant))

    def _outside(self, text: str, start: int, final: bool) -> tuple[int, str]:
        bare = _BARE.match(text, start)
        if bare is not None:
            return self._bare(bare, ended=final or bare.end() < len(text))
        out = self._long_ended() + text[start]
        if text[start] == '"':
            self._string = self._make()
        return start + 1, out

    def _bare(self, bare: re.Match[str], *, ended: bool) -> tuple[int, str]:
        if self._long is None and ended:
            return bare.end(), self._judged(bare[0])
        if self._long is None and len(bare[0]) <= LONGEST_BARE:
            return bare.start(), ""
        self._long = self._long or self._make()
        return bare.end(), self._long.feed(bare[0])

    def _judged(self, bare: str) -> str:
        """A number or a word: what it is changed to is a string."""
        inner, transform = bare.strip(" "), self._make()
        changed = transform.feed(inner) + transform.flush()
        return bare if changed == inner else bare.replace(inner, f'"{escaped(changed)}"')

    def _long_ended(self) -> str:
        long, self._long = self._long, None
        return "" if long is None else long.flush()


def _unescaped(text: str, start: int, final: bool) -> tuple[int, str]:
    """Where an escape ends, and what it means; it ends where it begins if more must come."""
    code = _CODE.match(text, start)
    if code is None:
        if _MAY_GROW.fullmatch(text, start):
            return (len(text), text[start:]) if final else (start, "")
        return start + 2, _SIMPLE.get(text[start + 1], text[start : start + 2])
    value = int(code[1], 16)
    if value not in _HIGH:
        return code.end(), chr(value)
    second = _CODE.match(text, code.end())
    if second is None and not final and _MAY_GROW.fullmatch(text, code.end()):
        return start, ""
    low = 0 if second is None else int(second[1], 16)
    if second is None or low not in _LOW:
        return code.end(), chr(value)
    return second.end(), chr(0x10000 + ((value - _HIGH.start) << 10) + (low - _LOW.start))
