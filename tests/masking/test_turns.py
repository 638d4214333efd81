"""The detector is shared: a tenant's long texts, however many, do not stand before another's."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.context import TenantContext
from isolation.masking import findings_cache
from isolation.masking.entities import VERSION
from isolation.masking.findings import Finding
from isolation.masking.masker import Masker
from isolation.masking.policy import StandardPolicies
from isolation.masking.windows import OVERLAP, WINDOW, windows
from isolation.masking.workers import DetectorWorkers
from isolation.testing.contexts import tenant_for_tests
from tests.turns import give_no_turns

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
SHORT = "I am Maria"
# Each of its own: what was found once is known.
LONG = [f"{number} " + "word " * 6_000 for number in range(20)]


class Slow:
    """An analyzer of one text after the other; says what it had, and how much of it."""

    version = "1"

    def __init__(self) -> None:
        self.had: list[str] = []
        self._one = asyncio.Lock()

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        async with self._one:
            self.had.append(text)
            await asyncio.sleep(0)
            return [Finding(*m.span(), "PERSON") for m in re.finditer("Maria", text)]

    def characters_before(self, text: str) -> int:
        return sum(map(len, self.had[: self.had.index(text)]))


async def _flooded(masker: Masker, analyzer: Slow, *, ctx: TenantContext = VOLTBAY) -> int:
    """How many characters are analysed from when another tenant asks until it is its turn."""
    flood = [asyncio.create_task(masker.mask(FJELLVIK, [text])) for text in LONG]
    while len(analyzer.had) < 3:
        await asyncio.sleep(0)
    before = sum(map(len, analyzer.had))
    await masker.mask(ctx, [SHORT])
    waited = analyzer.characters_before(SHORT) - before
    await asyncio.gather(*flood)
    return waited


async def test_a_short_text_waits_for_one_window_of_a_flood() -> None:
    analyzer = Slow()
    masker = Masker(analyzer, StandardPolicies())
    assert await _flooded(masker, analyzer) <= 2 * WINDOW
    assert (masker.slots.waiting, masker.slots.free) == (0, 1)


async def test_a_tenants_own_flood_is_before_it() -> None:
    """The control: the flood is one."""
    analyzer = Slow()
    masker = Masker(analyzer, StandardPolicies())
    assert await _flooded(masker, analyzer, ctx=FJELLVIK) > 15 * WINDOW


async def test_without_turns_it_waits_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leaky twin: first come, first served."""

    give_no_turns(monkeypatch)
    analyzer = Slow()
    assert await _flooded(Masker(analyzer, StandardPolicies()), analyzer) > 15 * WINDOW


async def test_without_windows_it_waits_for_the_whole_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one: a text is analysed in one piece."""
    monkeypatch.setattr(findings_cache, "windows", lambda text: [(0, text)])
    analyzer = Slow()
    assert await _flooded(Masker(analyzer, StandardPolicies()), analyzer) >= len(LONG[0])


async def test_of_two_floods_the_greater_weight_has_more() -> None:
    analyzer = Slow()
    masker = Masker(analyzer, StandardPolicies())
    heavy, light = (
        tenant_for_tests("heavy", tier="enterprise"),
        tenant_for_tests("light", tier="starter"),
    )
    tasks = [
        asyncio.create_task(masker.mask(ctx, [f"{number} " + f"{ctx.tenant_id} " * 5_000]))
        for number in range(20)
        for ctx in (heavy, light)
    ]
    while len(analyzer.had) < 160:
        await asyncio.sleep(0)
    of_heavy = sum("heavy" in text for text in analyzer.had)
    assert 0.75 < of_heavy / len(analyzer.had) < 0.85  # weights of four and one
    await asyncio.gather(*tasks)


async def test_whoever_leaves_the_line_leaves_no_place_taken() -> None:
    analyzer = Slow()
    masker = Masker(analyzer, StandardPolicies())
    tasks = [asyncio.create_task(masker.mask(FJELLVIK, [text])) for text in LONG]
    while len(analyzer.had) < 3:
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (masker.slots.waiting, masker.slots.free) == (0, 1)
    assert (await masker.mask(VOLTBAY, [SHORT])).texts == ["I am <PERSON_1>"]


async def test_real_workers_take_turns_too() -> None:
    workers = await DetectorWorkers.start(1)
    masker = Masker(workers, StandardPolicies())
    ended: list[str] = []

    async def masked(ctx: TenantContext, text: str) -> None:
        await masker.mask(ctx, [text])
        ended.append(ctx.tenant_id)

    flood = [asyncio.create_task(masked(FJELLVIK, text)) for text in LONG[:3]]
    while not masker.slots.waiting:
        await asyncio.sleep(0)
    await masked(VOLTBAY, "I am Maria Lopez, maria.lopez@example.com")
    assert ended == ["voltbay"]
    await asyncio.gather(*flood)
    await workers.close()


@given(st.text(alphabet="ab \n", max_size=3 * WINDOW), st.integers(0, 5 * WINDOW))
def test_windows_cover_a_text_and_overlap(piece: str, length: int) -> None:
    text = (piece or "x") * (length // len(piece or "x") + 1)
    found = list(windows(text))
    assert all(text[begin : begin + len(window)] == window for begin, window in found)
    assert all(len(window) <= WINDOW for _, window in found)
    assert found[0][0] == 0
    assert found[-1][0] + len(found[-1][1]) == len(text)
    for (begin, window), (following, _) in pairwise(found):
        assert begin < following <= begin + len(window) - OVERLAP


async def test_wherever_it_stands_in_a_long_text_a_value_is_found_whole() -> None:
    """Beside the places where a text is cut, too."""
    workers = await DetectorWorkers.start(1)
    masker = Masker(workers, StandardPolicies())
    said = "I am Maria Lopez of 24 Elm Street, Denver, CO 80279; write to maria.lopez@example.com. "
    for shift in (0, 17, 41, 59):
        text = "x" * shift + " " + said * 40
        (masked,) = (await masker.mask(FJELLVIK, [text])).texts
        for word in ("Maria", "Lopez", "Elm", "maria.lopez", "80279"):
            assert word not in masked, masked[max(0, masked.index(word) - 80) :][:200]
    assert workers.version == VERSION
    await workers.close()
