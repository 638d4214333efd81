"""What the figures must reach; judged on the held-out halves."""

from __future__ import annotations

from typing import Any

_RECALL = {
    "EMAIL_ADDRESS": 1.0,
    "IBAN_CODE": 1.0,
    "IP_ADDRESS": 1.0,
    "US_SSN": 1.0,
    "CREDIT_CARD": 0.99,
    "PHONE_NUMBER": 0.95,
    "PERSON": 0.92,
    "STREET_ADDRESS": 0.85,
    "POSTAL_CODE": 0.85,
}
_PRECISION, _HARD, _ALARMS, _MILLISECONDS, _GAP = 0.85, 0.9, 0.02, 25.0, 20.0
# Of 8,000 characters of passages: less than a timer tells of a turn that is analysed.
_CONTEXT, _FIRST_TOKEN = 1.0, 1.1


def judged(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Each threshold with what was seen; what was skipped is not judged."""
    rows: list[dict[str, Any]] = []
    for name in ("generated", "retail"):
        if "ours" not in result[name]:
            continue
        ours = result[name]["ours"]["held_out"]
        for entity, least in _RECALL.items():
            if entity in ours["entities"]:
                seen = ours["entities"][entity]["recall"]["value"]
                rows.append(_row(f"{name}: recall of {entity}", seen, least))
        rows.append(_row(f"{name}: precision", ours["precision"]["value"], _PRECISION))
    hard = result["hard_strings"]["ours"]
    rows.append(_row("hard strings fully masked", hard["all"]["value"], _HARD))
    rows.append(_row("hard strings fully masked, held out", hard["held_out"]["value"], _HARD))
    alarms = result["false_alarms"]["ours"]["all"]["value"]
    rows.append(_row("false alarms", alarms, _ALARMS, most=True))
    if "skipped" not in result["answers"]:
        changed = result["answers"]["clean_and_changed"]["value"]
        rows.append(_row("clean sentences changed in an answer", changed, _ALARMS, most=True))
    if "ours" in result["goods"]:
        masked = result["goods"]["ours"]["masked"]["value"]
        rows.append(_row("product names and prices masked", masked, 0.0, most=True))
    times = result["turn_of_200_characters"]
    ours, stock = times["ours"]["p50_ms"], times["stock"]["p50_ms"]
    rows.append(_row("a turn of 200 characters, p50 ms", ours, _MILLISECONDS, most=True))
    rows.append(_row("the same, against stock Presidio's", ours, stock, most=True))
    gap = result["event_loop"]["in_a_process"]["max_gap_ms"]
    rows.append(_row("longest gap of the event loop, ms", gap, _GAP, most=True))
    added = result["context"]["added_ms"]
    rows.append(_row("added by 8,000 characters of passages, ms", added, _CONTEXT, most=True))
    if "skipped" not in result["first_token"]:
        ratio = result["first_token"]["ratio_of_p50"]
        rows.append(_row("first token, with masking to without", ratio, _FIRST_TOKEN, most=True))
    return rows


def _row(what: str, seen: float | None, limit: float, *, most: bool = False) -> dict[str, Any]:
    met = seen is not None and (seen <= limit if most else seen >= limit)
    return {"what": what, "at_most" if most else "at_least": limit, "seen": seen, "met": met}
