"""Street addresses: by the kind of street in them, or by the words before them.

From either, the address goes on for as long as its words can belong to one: names, house numbers,
flats, places, postal codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from isolation.masking.findings import Finding
from isolation.masking.rules.words import NOT_A_NAME, words

_TYPE = (
    r"street|st|avenue|ave|road|rd|drive|dr|lane|ln|court|ct|boulevard|blvd|way|place|pl|terrace"
    r"|circle|cir|trail|parkway|pkwy|highway|hwy|square|sq|crescent|close|gardens|grove|alley|row"
    r"|mews|quay|loop|plaza|turnpike|expressway|ridge|pass|path|walk|run|hill|park"
)
_BEFORE = (
    r"rue|avenue|boulevard|impasse|chemin|all[ée]e|via|viale|piazza|corso|vicolo|discesa|calle|c/"
    r"|avenida|av\.|plaza|paseo|carrer|rua|travessa|ul\.|ulica|al\.|os\.|strada|str\.|praça"
)
_SUFFIX = (
    r"(?:stra(?:ß|ss)e|str\.|straat|gasse|allee|platz|damm|ufer|gatan|gata|gaten|vägen|veien|veg|vej"
    r"|gade|stræde|katu|tie|kuja|laan|plein|kade|gracht|stien|väg|weg)"
)
_NUMBER = r"\d{1,6}(?:[ -]?[a-z](?![\w]))?(?:[/-]\d{1,4}[a-z]?)?"
_WORD = r"[^\W\d_][\w'.-]{0,30}"
_FREE = r"(?<![\w.,$€£#/-])"  # no part of a price, a date or a longer number
_FORMS = (
    # 24 Elm Street, 1600 N. Pennsylvania Ave
    rf"{_FREE}{_NUMBER}(?: \d{{1,4}})? "
    rf"(?:(?!(?:{_TYPE})\b){_WORD} |\d{{1,3}}(?:st|nd|rd|th) ){{1,4}}?(?P<type>{_TYPE})\b\.?",
    # 8 rue de la Paix, rue de la Paix 8, ul. Zamkowa 33
    rf"{_FREE}(?:{_NUMBER},? (?:\d{{1,4}} )?(?:{_BEFORE})\s{_WORD}"
    rf"|(?:{_BEFORE})\s(?:{_WORD}\s){{1,5}}{_NUMBER})\b",
    # Hauptstraße 12a, 77763 Olmstraat 69
    rf"{_FREE}(?:\d{{1,6}} )?(?:(?-i:[^\W\d_a-z]{_WORD})[ -]){{0,2}}[^\W\d_]{{2,30}}"
    rf"{_SUFFIX} {_NUMBER}(?!\w|[.,]\d)",
    # 88387 Postbox 23 Apt. 716
    rf"{_FREE}\d{{1,6}} (?:{_WORD},? ){{1,5}}(?:\d{{1,4}}\.?\s{{1,3}})?"
    r"(?:apt|suite|unit|flat)\b\.? \d+",
    # 416 Broadway, Houston, TX 77244
    rf"{_FREE}\d{{1,6}} (?:{_WORD},? ){{1,6}}(?-i:[A-Z]{{2}}),? \d{{5}}\b",
    r"\bP\.? ?O\.? Box \d+|\bunit \d+ box \d+|\bPSC \d+, box \d+"
    r"|\b(?:US[A-Z]{1,3} \w+\s+)?[DAF]PO A[AEP] \d{5}",
)
_ANCHORS = tuple(re.compile(form, re.IGNORECASE) for form in _FORMS)
_CUE = re.compile(
    r"(?:\baddress(?:es)?(?: (?:is|to|was|should be|has to be|will be))?|\bresidence"
    r"|\b(?:lives?|living) (?:at|in|on)|\bmoved to"
    r"|\b(?:ship|deliver|send|sent|bill|rerout|go|goes|mail|bring|left|forward|redirect|come|post|take|return)"
    r"(?:e|ed|ped|s)?(?: [\w']+){0,4}? (?:to|at)|\bat)\b\s?:?\s+(?P<corner>the corner of )?",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    rf"(?P<gap>[ \n\t]{{0,2}},?[ \n\t]{{0,3}})"
    rf"(?P<token>#?\d[\w/-]*\.?|{_WORD}|\([^\W\d_]+\)|,)",
    re.IGNORECASE,
)
_LINK = words(
    "de del della di da do dos du des la le les el los van der den of the und and y am an im in"
    " bei ter ten op st saint"
)
_STREET = words(
    "vei veg vej utca u út úti tér krt körút fasor ulica ul tee tn mnt pst puiestee plass allé"
    " cesta trg ulice námestí street st road avenue ave lane drive sor tie katu gade väg"
)
# What may stand inside an address without a capital.
STREET_WORDS = (
    _LINK | _STREET | words("rue via calle avenida c/ av. ul. al. os. apt. unit floor box")
)
_UNIT = words("apt apartment suite ste unit flat floor fl room rm box building bldg no nr etage")
_ABBREVIATION = words(
    "st. ave. rd. dr. ln. ct. blvd. apt. ste. no. nr. n. s. e. w. ul. al. os. str. av. fl. bldg."
    " p.o. hwy. pkwy. sq. pl."
)
# Kinds of street that are ordinary words: the name before them must be written as one.
_ORDINARY = words(
    "way run pass row close park hill walk path place square loop circle trail ridge st dr ct pl sq"
)
_UNITS = words(
    "eur usd nok euro euros dollars percent kr sek dkk pln gbp chf am pm degrees metres meters"
    " points pieces kg g cm mm km days hours minutes weeks months years items"
    " hz khz mhz ghz mah kwh watts volts gb mb tb inches"
)
_NOT_IN = NOT_A_NAME - {
    "place",
    "street",
    "st",
    "new",
    "post",
    "house",
    "home",
    "well",
    "live",
    "park",
}
_SAYS_STREET = re.compile(rf"\b(?:{_TYPE}|{_BEFORE}|apt|suite|unit|box)\b|{_SUFFIX}\b")
_LONGEST = 16


def addresses(text: str) -> Iterator[Finding]:
    """All of them, with city, region and postal code where these follow."""
    reached = 0
    for match in _CUE.finditer(text):
        begin = match.start("corner") if match["corner"] else match.end()
        end = _end(text, match.end(), any_case=True)
        start = _after_person(text, begin, end)
        if match.end() >= reached and _is_address(text[start:end]):
            yield Finding(start, end, "STREET_ADDRESS", 0.8)
            reached = end
    for anchor in _ANCHORS:
        for match in anchor.finditer(text):
            if "type" in match.groupdict() and not _is_street(match):
                continue
            yield Finding(match.start(), _end(text, match.end()), "STREET_ADDRESS", 0.8)


def _after_person(text: str, start: int, end: int) -> int:
    """Where the address begins: after the one it is for, as in "Ada Berg, 8 Elm Street"."""
    person = re.match(rf"{_WORD}(?: {_WORD}){{1,3}},\s*(?=\d|{_WORD}[^,]*\d)", text[start:end])
    return start + person.end() if person is not None else start


def _is_street(match: re.Match[str]) -> bool:
    """Whether the words between house number and kind of street can be a name."""
    if any(word in _NOT_IN for word in match[0].lower().split()[1:-1]):
        return False
    ordinary = match["type"] in _ORDINARY
    return not ordinary or any(word[0].isupper() for word in match[0].split()[1:-1])


def _end(text: str, position: int, *, any_case: bool = False) -> int:
    """Where an address that has reached `position` ends. `any_case`: small words go on too."""
    end = position
    any_case = any_case and not any(c.isupper() for c in text[position : position + 24])
    for _ in range(_LONGEST):
        token = _TOKEN.match(text, position)
        if token is None or not _goes_on(text, token, any_case):
            break
        position = token.end()
        word = token["token"].lower()
        ends = word.endswith(".") and not _may_stand_inside(text, position, word)
        if word not in _LINK and word != ",":
            end = position - ends
        if ends:
            break
    return end


def _may_stand_inside(text: str, end: int, word: str) -> bool:
    """Whether the full stop of `word` is an abbreviation's, or a house number's before a flat."""
    if word in _ABBREVIATION or len(word) == 2:
        return True
    following = _TOKEN.match(text, end)
    return following is not None and following["token"].lower().rstrip(".") in _UNIT


def _goes_on(text: str, token: re.Match[str], any_case: bool) -> bool:
    word = token["token"]
    lower = word.lower().rstrip(".")
    if word[0] in ",(#0123456789" or lower in _UNIT or lower in _STREET:
        return not re.match(r"\d+(?:%|th\b|st\b|nd\b)", word)
    if lower in _LINK and lower not in ("in", "the"):
        following = _TOKEN.match(text, token.end())
        return following is not None and (any_case or not following["token"][0].islower())
    if lower in _NOT_IN and not (word[0].isupper() and "," in token["gap"]):
        return False
    return any_case or word[0].isupper()


def _is_address(text: str) -> bool:
    parts = [word for word in re.findall(_WORD, text) if len(word) > 1]
    if not parts or not any(map(str.isdigit, text)):
        return False
    if text.islower() and not _SAYS_STREET.search(text):
        return False
    time_of_day = re.match(r"[\d\s.,:]+(?:am|pm|o'clock)", text, re.IGNORECASE)
    return parts[0].lower() not in _UNITS and time_of_day is None
