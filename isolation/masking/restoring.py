"""Placeholders in an answer become values again, wherever the stream was cut.

Small deformations are understood where only one placeholder can be meant: `<person_1>`,
`[PERSON_1]`, `PERSON\\_1`. A number that the request did not give out stays as it is, so that no
value is ever restored for another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import regex

from isolation.masking.placeholders import LONGEST_NUMBER, Forms

_NUMBER = rf"[0-9]{{1,{LONGEST_NUMBER}}}"
_PLACEHOLDER = re.compile(r"<([A-Z_]+)_([0-9]+)>")


class Restoring:
    """A `StreamTransform`. Holds back only what may become one of the vault's placeholders.

    values: by placeholder, in its exact form.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        found = [_PLACEHOLDER.fullmatch(text) for text in values]
        keys = [(match[1], match[2]) for match in found if match is not None]
        self._values = dict(zip(keys, values.values(), strict=True))
        self._forms = Forms({kind for kind, _ in keys})
        self._held = ""
        self._after_word = False  # whether what was last emitted ends in a letter or digit
        self._bracketed = regex.compile(self._forms.bracketed(_NUMBER))
        self._bare = regex.compile(self._forms.bare(_NUMBER))
        self._begins = _beginnings({kind for kind, _ in keys})

    @property
    def longest(self) -> int:
        """The most characters that are ever held back."""
        return self._forms.longest

    def feed(self, text: str) -> str:
        return self._restored(self._held + text, final=False)

    def flush(self) -> str:
        return self._restored(self._held, final=True)

    def _restored(self, text: str, *, final: bool) -> str:
        out: list[str] = []
        position = emitted = 0
        while self._values and (begin := self._begins.search(text, position)) is not None:
            start = begin.start()
            step = self._step(text, start, final)
            if step is None:
                out.append(text[emitted:start])
                self._remember(text, start)
                self._held = text[start:]
                return "".join(out)
            end, value = step
            if value is not None:
                # Restored values are not looked through again: they may look like placeholders.
                out += [text[emitted:start], value]
                emitted = end
            position = end
        out.append(text[emitted:])
        self._remember(text, len(text))
        self._held = ""
        return "".join(out)

    def _remember(self, text: str, end: int) -> None:
        if end:
            self._after_word = _is_word(text[end - 1])

    def _step(self, text: str, start: int, final: bool) -> tuple[int, str | None] | None:
        """Where to go on after `start`, and the value there; None: it is not yet known."""
        match = self._bracketed.match(text, start, partial=not final)
        if match is not None and match.partial:
            return None
        if match is not None:
            groups = [group for group in match.groups() if group is not None]
            value = self._values.get((self._forms.kind(groups[0]), groups[1]))
            return (match.end(), value) if value is not None else (start + 1, None)
        return self._step_bare(text, start, final)

    def _step_bare(self, text: str, start: int, final: bool) -> tuple[int, str | None] | None:
        before = _is_word(text[start - 1]) if start else self._after_word
        match = None if before else self._bare.match(text, start, partial=not final)
        if match is None:
            return start + 1, None
        if match.partial or (match.end() == len(text) and not final):
            return None
        value = self._values.get((self._forms.kind(match[1]), match[2]))
        if value is None or (match.end() < len(text) and _is_word(text[match.end()])):
            return start + 1, None
        return match.end(), value


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _beginnings(kinds: set[str]) -> re.Pattern[str]:
    """Where a placeholder of one of the kinds can begin."""
    letters = "".join(sorted({kind[0] for kind in kinds}))
    return re.compile(rf"[<\[&\\{letters}]")
