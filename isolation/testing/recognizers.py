"""What every recognizer must do, whoever brings it: call `check` in its tests."""

from __future__ import annotations

from isolation.masking.findings import Detector, without_overlaps
from isolation.masking.recognizers import checked

_CLEAN = ("", " ", "\n\n", "How long can I return a tent?", "The tent costs 30 euros.")
_ODD = ("\x00\x01", "é" * 3_000, "a\u0301\u200b", "<PERSON_1> [PERSON_1] &lt;", "🏕️" * 50)


def check(detector: Detector, text: str, value: str, entity: str) -> None:
    """`text` holds `value`, of kind `entity`, once.

    Raises:
        AssertionError: it does not keep to the port.
        RecognizerError: it finds an unknown kind, or what is not in the text.
    """
    for beside in ("", "Hello. ", "🏕️ é "):
        whole = beside + text
        found = list(checked(detector.find(whole, None), len(whole)))
        places = [(each.start, each.end) for each in found if each.entity == entity]
        start = whole.index(value)
        assert (start, start + len(value)) in places, "the value is not found where it stands"
        assert without_overlaps(found) == without_overlaps(reversed(found)), "its order matters"
        assert detector.find(whole, None) == found, "it finds something else the second time"
        assert all(0 <= each.score <= 1 for each in found), "a score is not between 0 and 1"
    for clean in _CLEAN:
        assert not any(each.entity == entity for each in detector.find(clean, "NO")), clean
    for odd in _ODD:
        list(checked(detector.find(odd, None), len(odd)))
