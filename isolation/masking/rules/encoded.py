"""Personal data in Base64, which a model reads as easily as a person reads letters."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator

from isolation.masking.findings import Finding

_TOKEN = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,2000}={0,2}(?![\w+/=])")


def encoded(text: str, find: Callable[[str], Iterable[Finding]]) -> Iterator[Finding]:
    """Tokens in which `find` finds something when they are decoded; the whole token is taken."""
    for match in _TOKEN.finditer(text):
        inside = next(iter(find(_decoded(match[0]))), None)
        if inside is not None:
            yield Finding(*match.span(), inside.entity, 0.8)


def _decoded(token: str) -> str:
    """The text in a token; empty where there is none."""
    plain = token.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        text = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text if text.isprintable() else ""
