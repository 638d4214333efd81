"""Persons and street addresses that were in nothing this request was given do not leave either.

They have no form of their own. What can be part of one as a model writes it, words with a capital
or a digit, is held back until the run of them is over; words that the request held may go on, and
only what else is there is analysed, as a customer's own words are.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from isolation.errors import AnswerBlockedError
from isolation.masking.findings import Finding, without_overlaps
from isolation.masking.given import Given, parts
from isolation.masking.output import REMOVED
from isolation.masking.rules.addresses import STREET_WORDS, addresses
from isolation.masking.rules.names import PARTICLES, full_names, named
from isolation.masking.rules.words import NOT_A_NAME, words

NAME_KINDS = ("PERSON", "STREET_ADDRESS")
LONGEST_RUN = 128  # characters of words that are looked at together, and held back at most
_BEFORE = 120  # characters before them, which tell what they are

_INSIDE = PARTICLES | STREET_WORDS | words("of the and corner")
_WITH_A_STOP = words("mr. mrs. ms. mx. dr. prof. st. ave. rd. apt. ste. no. ul. al. str. p.o. gl.")
_BETWEEN = words(", - – / &")
_WORD = re.compile(r"[^\W_]+")

Find = Callable[[str], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True)
class Run:
    """Words that may be a name or an address, and what stands around them."""

    before: str
    words: str
    after: str

    @property
    def text(self) -> str:
        """All of it, to be analysed."""
        return self.before + self.words + self.after


class _Runs:
    """Cuts a text that arrives in pieces into runs and what is none. The same runs, wherever it
    was cut."""

    def __init__(self) -> None:
        self._before = ""
        self._run = ""
        self._word = ""

    def feed(self, text: str) -> Iterator[str | Run]:
        for char in text:
            if char.isspace():
                yield from self._word_ended(char)
                continue
            self._word += char
            if len(self._run) + len(self._word) >= LONGEST_RUN:
                # Text without spaces, or a run without end: looked at as it is.
                self._run, self._word = self._run + self._word, ""
                yield from self._run_ended("")

    def flush(self) -> Iterator[str | Run]:
        yield from self._word_ended("")
        yield from self._run_ended("")

    def _word_ended(self, space: str) -> Iterator[str | Run]:
        word, self._word = self._word, ""
        if not (_goes_on(word) if self._run else _begins(word)):
            yield from self._run_ended(word)
            yield self._gone(word + space)
            return
        self._run += word + space
        if _ends(word) or space == "\n":
            yield from self._run_ended("")

    def _run_ended(self, after: str) -> Iterator[Run]:
        run, self._run = self._run, ""
        if run:
            yield Run(self._before, run, after)
            self._gone(run)

    def _gone(self, text: str) -> str:
        self._before = (self._before + text)[-_BEFORE:]
        return text


class _Judge:
    """What of a run may leave."""

    def __init__(self, given: Given, kinds: Iterable[str], blocked: Iterable[str]) -> None:
        self._given = given
        self._blocked = frozenset(blocked)
        self._kinds = self._blocked.union(kinds).intersection(NAME_KINDS)

    @property
    def looks(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._kinds)

    def is_harmless(self, run: Run) -> bool:
        """Whether the request held all of its names, or there are none: nothing to look for."""
        names = {part.casefold() for part in parts(run.words) if not part[0].isdigit()}
        return self._given.holds_words(names - NOT_A_NAME)

    def by_rule(self, piece: str | Run) -> str:
        """The piece without what the rules find in it and was not given."""
        if isinstance(piece, str):
            return piece
        return piece.words if self.is_harmless(piece) else self.checked(piece, _by_rule(piece.text))

    def checked(self, run: Run, findings: Iterable[Finding]) -> str:
        """The run's words without what was found in it and not given.

        Raises:
            AnswerBlockedError: one of them must not leave at all.
        """
        text = run.words
        for found in reversed(without_overlaps(self._foreign(run, findings))):
            if found.entity in self._blocked:
                raise AnswerBlockedError(found.entity)
            text = text[: found.start] + REMOVED + text[found.end :]
        return text

    def _foreign(self, run: Run, findings: Iterable[Finding]) -> Iterator[Finding]:
        """What was not given, by its place in the run's words."""
        whole, begin = run.words.rstrip(" \n\t.,:;!?*_)\"'"), len(run.before)
        for found in findings:
            start, end = max(0, found.start - begin), found.end - begin
            if found.entity not in self._kinds or not start < end <= len(run.words):
                continue  # beyond the run: names are written with capitals
            if self._is_given(run.words[start:end]):
                continue
            if found.entity == "STREET_ADDRESS":  # no part of it is left: a town, a postal code
                start, end = 0, max(end, len(whole))
            yield Finding(start, end, found.entity, found.score)

    def _is_given(self, value: str) -> bool:
        """By its words: whoever was given "Berg, Ada" may be told of Ada Berg."""
        return self._given.holds_words(map(str.casefold, parts(value)))


class ForeignNamesGuard:
    """An answer's. `given`: what went into the request; `kinds`: what to look for and remove;
    `blocked`: what to look for and end the answer at; `find`: the analyzer, if any.

    Raises:
        AnswerBlockedError: from `feed` and `flush`; nothing of the value has left.
    """

    def __init__(
        self, given: Given, kinds: Iterable[str], blocked: Iterable[str], find: Find | None
    ) -> None:
        self._judge = _Judge(given, kinds, blocked)
        self._runs = _Runs()
        self._find = find

    async def feed(self, text: str) -> str:
        """What can go out after `text` has arrived."""
        return await self._judged(self._runs.feed(text)) if self._judge.looks else text

    async def flush(self) -> str:
        """What was still held back. The last call."""
        return await self._judged(self._runs.flush())

    async def _judged(self, pieces: Iterator[str | Run]) -> str:
        return "".join([await self._of(piece) for piece in pieces])

    async def _of(self, piece: str | Run) -> str:
        if isinstance(piece, str) or self._judge.is_harmless(piece) or not self._find:
            return self._judge.by_rule(piece)
        found = await self._find(piece.text) if _is_english(piece) else []
        return self._judge.checked(piece, [*found, *_by_rule(piece.text)])


class ForeignNamesRules:
    """A `StreamTransform` that does the same by rules alone, for one string of a tool call."""

    def __init__(self, given: Given, kinds: Iterable[str], blocked: Iterable[str] = ()) -> None:
        self._judge = _Judge(given, kinds, blocked)
        self._runs = _Runs()

    def feed(self, text: str) -> str:
        pieces = self._runs.feed(text) if self._judge.looks else (text,)
        return "".join(map(self._judge.by_rule, pieces))

    def flush(self) -> str:
        return "".join(map(self._judge.by_rule, self._runs.flush()))


def _is_english(run: Run) -> bool:
    """Whether the words around it are, as far as there are any. The model reads English, and takes
    the nouns of a German answer for persons."""
    around = [word for word in _WORD.findall(f"{run.before} {run.after}") if word[0].islower()]
    return 3 * sum(word in NOT_A_NAME for word in around) >= len(around)


def _by_rule(text: str) -> Iterator[Finding]:
    yield from addresses(text)
    yield from named(text)
    yield from full_names(text)


def _begins(word: str) -> bool:
    first = _WORD.search(word)
    return first is not None and _is_written_as_a_name(word[first.start() :], but=NOT_A_NAME)


def _goes_on(word: str) -> bool:
    first = _WORD.search(word)
    if first is None:
        return word in _BETWEEN
    own = word[first.start() :]
    return _is_written_as_a_name(own) or own.casefold().rstrip(",.") in _INSIDE


def _is_written_as_a_name(word: str, but: frozenset[str] = frozenset()) -> bool:
    return not word[0].islower() and word.casefold().rstrip(",.!?:;*_)\"'") not in but


def _ends(word: str) -> bool:
    """Whether a sentence or a clause is over behind the word."""
    last = word.rstrip("*_)\"'”»")[-1:]
    if last == ".":
        return len(word) > 2 and word.casefold() not in _WITH_A_STOP
    return last != "" and last in "!?:;"
