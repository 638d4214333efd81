"""Persons, by the words around them: "my name is", "regards,", "Mr.". Names of any case.

What has no such words around it is the statistical model's to find.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from isolation.masking.findings import Finding
from isolation.masking.rules.words import NOT_A_NAME, is_first_name, words

# Bounded, as all that repeats in a rule: a rule's time must not grow faster than its text.
_NAME = r"[^\W\d_](?:[^\W\d_]|['’-](?=[^\W\d_])|\.(?= ?[^\W\d_])){0,24}"
_CAPITAL = r"[^\W\d_a-z][\w'’.-]{0,24}"
_RUN = re.compile(rf"{_NAME}(?:[ \t]+{_NAME}){{0,5}}")
_KIN = (
    r"husband|wife|son|daughter|sister|brother|mother|father|mom|mum|dad|neighbou?r|friend"
    r"|colleague|partner|girlfriend|boyfriend|aunt|uncle|boss|roommate|flatmate|cousin|grandma"
    r"|grandpa|grandmother|grandfather|niece|nephew|assistant|recipient"
)
_PARTY = r"agent|customer|client|recipient|contact|cardholder|holder|receiver|addressee|buyer"
# After these a name comes, whatever its case.
_STRONG = re.compile(
    r"(?:\b(?:my|his|her|their|our|the|full|customer|maiden|sur|first|last)\s?name"
    r"(?:'s| is| was|:)"
    r"|\bname:|\baccount (?:holder|owner)(?: is|:)?|\bin the name of|\bon the name(?: of)?"
    r"|\bthe name|\b(?:i am|i'm) called|\bsigned by|\baddressed to|\bbelongs to"
    r"|\b(?:kind |best |warm |many )?regards,?|\bbest,|\bbest wishes,?|\bsincerely,?|\bcheers,"
    r"|\byours truly,?|\b(?:many )?thanks(?: a lot)?[!,.]?\s*\n|\bthank you[!,.]?\s*\n"
    r"|\b(?:mr|mrs|ms|mx|dr|prof|herr|frau|madame|monsieur|mme|señor|señora)\b\.?"
    r"|\bspoke (?:with|to)|\btalked (?:with|to))\s+",
    re.IGNORECASE,
)
# After these a name may come: the model decides, and a single word is enough.
_WEAK = re.compile(
    r"\b(?:i am|i'm|this is|it is|it's|hi|hello|hey|dear|good (?:morning|evening|afternoon)"
    rf"|(?:my|his|her|our|the|a) (?:\w+ )?(?:{_KIN})|{_PARTY}"
    r"|ask|tell|told|called|named)[ \t]*[:,]?[ \t]+",
    re.IGNORECASE,
)
# After these a name is possible, as much else is.
_POSSIBLE = re.compile(
    r"\b(?:by|for|to|with|from|let|why was|has|did|could|can|would|will|and)[ \t]+", re.IGNORECASE
)
# After these two capitalized words are a name.
_ROLE = re.compile(
    rf"\b(?:dear|hi|hello|hey|{_PARTY}|{_KIN})[ \t]*[:,]?[ \t]+",
    re.IGNORECASE,
)
_INITIAL = re.compile(
    r"(?:(?<=[a-z,:(] )|^)[^\W\d_][\w'-]{{1,24}} [^\W\d_]\.? [^\W\d_][\w'-]{{1,24}}"
)
# Two capitalized words that do what only persons do.
_DOES = re.compile(
    rf"(?:^|(?<=[.!?\n] ))({_NAME} (?:{_NAME} )?{_NAME}) (?:lives|said|says|told|wants|called"
    r"|ordered|bought|asked|paid|lost|signed|picked|received|returned|complained|will|would)\b"
)
# Alone on its line, as in a letter's head or foot, or before a colon, as in a transcript.
_LINE = re.compile(rf"(?:^|\n)[ \t>}}*-]*({_CAPITAL}(?:[ \t]+{_CAPITAL}){{0,3}})[ \t]*(?=\n|:)")
_FOLLOWED = re.compile(
    rf"\b({_NAME}(?:[ \t]+{_NAME}){{0,3}}),?(?: here\b| speaking\b"
    r"| from (?:your |the )?(?:support|customer|sales|service|help|team|chat)| \()"
)
_CAPITALS = re.compile(
    rf"(?<!\w){_CAPITAL}(?:[ \t]+(?:(?-i:[a-z]){{2,3}}[ \t]+){{0,2}}{_CAPITAL}){{1,7}}"
)
_FAR = 40
PARTICLES = words("de del della di da dos du la le van der den von zu ten ter bin al el y e af av")


def named(text: str) -> Iterator[Finding]:
    """Persons that the words around them announce."""
    for match in _STRONG.finditer(text):
        run = _after(text, match.end(), any_case=True)
        if run is not None and (len(run[2]) > 1 or _looks_right(text, run)):
            yield Finding(run[0], run[1], "PERSON", 0.9)
    for match in _ROLE.finditer(text):
        run = _after(text, match.end(), any_case=False)
        if run is not None and len(run[2]) > 1:
            yield Finding(run[0], run[1], "PERSON", 0.8)
    for match in _FOLLOWED.finditer(text):
        run = _after(text, match.start(1), any_case=False)
        if run is not None and run[1] == match.end(1) and all(w[0].isupper() for w in run[2]):
            yield Finding(run[0], run[1], "PERSON", 0.8)


def placed(text: str) -> Iterator[Finding]:
    """Persons by the form of their names and where these stand, without a word before."""
    for pattern, group in ((_INITIAL, 0), (_DOES, 1)):
        for match in pattern.finditer(text):
            if _are_names(match[group].split()):
                yield Finding(*match.span(group), "PERSON", 0.7)
    for match in _LINE.finditer(text):
        parts = match[1].split()
        if is_first_name(parts[0]) and _are_names(parts):
            yield Finding(*match.span(1), "PERSON", 0.7)


def full_names(text: str) -> Iterator[Finding]:
    """A first name and more names after it, all with capitals, wherever they stand."""
    for match in _CAPITALS.finditer(text):
        starts = [word.start() for word in re.finditer(r"\S+", match[0])]
        for start in starts[:-1]:
            run = _after(text, match.start() + start, any_case=False)
            if run is not None and len(run[2]) > 1 and is_first_name(run[2][0]):
                yield Finding(run[0], run[1], "PERSON", 0.6)


def _are_names(parts: list[str]) -> bool:
    return all(part[0].isupper() and part.lower() not in NOT_A_NAME for part in parts)


def possible(text: str, *, anywhere: bool) -> Iterator[tuple[int, int]]:
    """Where a name may stand: worth a look in another case. `anywhere`: after "for" and "with"."""
    for pattern in (_STRONG, _WEAK, _POSSIBLE) if anywhere else (_STRONG, _WEAK):
        for match in pattern.finditer(text):
            run = _after(text, match.end(), any_case=True)
            if run is not None:
                yield run[0], run[1]


def is_announced(text: str, start: int) -> bool:
    """Whether the words before `start` say that a person comes."""
    before = text[max(0, start - _FAR) : start]
    return any(
        match.end() == len(before) for cue in (_STRONG, _WEAK) for match in cue.finditer(before)
    )


def _after(text: str, start: int, *, any_case: bool) -> tuple[int, int, list[str]] | None:
    """The words at `start` that can be a name's, with their span."""
    run = _RUN.match(text, start)
    if run is None:
        return None
    parts: list[str] = []
    end = start
    for word in re.finditer(r"\S+", run[0]):
        lower = word[0].lower().rstrip(".,")
        if (lower in NOT_A_NAME and not (parts and len(lower) == 1)) or len(parts) == 4:
            break
        if parts and parts[-1][0].isupper() and word[0][0].islower() and lower not in PARTICLES:
            break
        parts.append(word[0])
        end = start + word.end()
    while parts and parts[-1].lower() in PARTICLES:
        end -= len(parts.pop()) + 1
    if not parts or (not any_case and not parts[0][0].isupper()):
        return None
    return start, end, parts


def _looks_right(text: str, run: tuple[int, int, list[str]]) -> bool:
    """A single word: a name is written with a capital, or ends its clause."""
    word = run[2][0]
    ends = re.match(r"\s*(?:[.,;!?\n]|$|and\b|but\b)", text[run[1] :])
    return (word[0].isupper() or ends is not None) and len(word.rstrip(".")) > 1
