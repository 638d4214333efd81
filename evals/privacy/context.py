"""What retrieved passages add to a request: masked when they came in, and analysed with it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from isolation.context import TenantContext
from isolation.masking.masked_text import MaskedText
from isolation.masking.masker import Masker
from isolation.masking.policy import MaskingPolicy
from isolation.masking.workers import DetectorWorkers
from isolation.testing.contexts import tenant_for_tests

_CHARACTERS, _PASSAGES = 8_000, 8
_PARAGRAPH = (
    "Ticket {0}: Maria Lopez, 24 Elm Street in Denver, CO 80279, asked on +1 303 555 {0:04} about "
    "the refund of a tent; she was told that it takes 14 days. Write to maria{0}@example.com.\n\n"
)
_TURN = "I am Maria Lopez and my order {0} has not come. Please call me on +1 303 555 {0:04} today!"


class _Everything:
    """Documents are masked, too."""

    async def of(self, ctx: TenantContext) -> MaskingPolicy:
        return MaskingPolicy.model_validate({"documents": {}})


async def measure(turns: int = 60) -> dict[str, Any]:
    """Milliseconds to mask a new turn alone, with 8,000 characters that were masked at ingest, and
    with as many that were not; asked by turns, each on new texts.

    What the masked ones add is taken of the same turns once more: they are known then, and the
    analysis of a turn, which takes longer or shorter each time, does not hide it.
    """
    workers = await DetectorWorkers.start(1)
    try:
        spent = await _spent(Masker(workers, _Everything()), turns)
    finally:
        await workers.close()
    p50 = {name: round(statistics.median(times), 2) for name, times in spent.items()}
    return {
        "characters": _CHARACTERS,
        "turns": turns,
        "p50_ms": p50,
        "added_ms": round(p50["known_turn_and_masked_at_ingest"] - p50["known_turn"], 2),
        "added_by_analysis_ms": round(p50["analysed_with_the_request"] - p50["alone"], 2),
    }


async def _spent(masker: Masker, turns: int) -> dict[str, list[float]]:
    ctx = tenant_for_tests("bench")
    spent: dict[str, list[float]] = {}
    masking = await masker.documents(ctx)
    assert masking is not None

    async def take(kind: str, turn: str, documents: Sequence[str | MaskedText]) -> None:
        begun = time.perf_counter()
        await masker.mask(ctx, [turn], documents)
        spent.setdefault(kind, []).append((time.perf_counter() - begun) * 1000)

    for number in range(turns):
        clear = [_passage(number * _PASSAGES + part) for part in range(_PASSAGES)]
        mask = masking.begin()
        texts = [await mask.mask(text) for text in clear]
        masked = [MaskedText(text, mask.values_in(text), "d") for text in texts]
        first, second, third = (_TURN.format(3 * number + place) for place in range(3))
        await take("alone", first, [])
        await take("masked_at_ingest", second, masked)
        # Pieces that were masked are known by another cache than texts of requests.
        await take("analysed_with_the_request", third, clear)
        await take("known_turn", first, [])
        await take("known_turn_and_masked_at_ingest", second, masked)
    return spent


def _passage(number: int) -> str:
    text, size = "", _CHARACTERS // _PASSAGES
    while len(text) < size:
        text += _PARAGRAPH.format(number)
    return text[:size]
