"""Masking with a hand-written detector: numbering, literals, and whose cache is whose."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

import pytest

from isolation.context import TenantContext
from isolation.fair_slots import FairSlots
from isolation.masking.findings import Finding, without_overlaps
from isolation.masking.findings_cache import FindingsCache
from isolation.masking.masker import Masker
from isolation.masking.policy import StandardPolicies
from isolation.masking.threaded import Threaded
from isolation.testing.contexts import operator_for_tests, tenant_for_tests

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


class Names:
    """Finds Maria, Ada and Bo, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        self.asked += 1
        return [Finding(*m.span(), "PERSON") for m in re.finditer("Maria|Ada|Bo|PERSON", text)]


@pytest.fixture
def detector() -> Names:
    return Names()


@pytest.fixture
async def masker(detector: Names) -> AsyncGenerator[Masker, None]:
    analyzer = Threaded(detector, "1")
    yield Masker(analyzer, StandardPolicies())
    analyzer.close()


async def test_placeholders_are_numbered_by_first_appearance(masker: Masker) -> None:
    masked = await masker.mask(FJELLVIK, ["Bo and Maria", "Maria, Ada and Bo"])
    assert masked.texts == ["<PERSON_1> and <PERSON_2>", "<PERSON_2>, <PERSON_3> and <PERSON_1>"]
    assert masked.vault.restore(FJELLVIK, masked.texts[1]) == "Maria, Ada and Bo"


async def test_what_was_found_in_a_deleted_tenants_texts_is_forgotten(
    masker: Masker, detector: Names
) -> None:
    for ctx in (FJELLVIK, VOLTBAY):
        await masker.mask(ctx, ["I am Maria"])
    masker.forget(operator_for_tests(), FJELLVIK.tenant_id)
    await masker.mask(VOLTBAY, ["I am Maria"])
    assert detector.asked == 2
    await masker.mask(FJELLVIK, ["I am Maria"])
    assert detector.asked == 3


async def test_the_same_history_gives_the_same_text(masker: Masker) -> None:
    first = await masker.mask(FJELLVIK, ["I am Maria", "Ask Bo"])
    second = await masker.mask(FJELLVIK, ["I am Maria", "Ask Bo", "And Ada?"])
    assert second.texts[:2] == first.texts


async def test_a_typed_placeholder_comes_back_as_typed(masker: Masker) -> None:
    masked = await masker.mask(FJELLVIK, ["I am Maria. What is <PERSON_1>?"])
    assert masked.texts == ["I am <PERSON_1>. What is <LITERAL_1>?"]
    restored = masked.vault.restore(FJELLVIK, masked.texts[0])
    assert restored == "I am Maria. What is <PERSON_1>?"


async def test_texts_without_personal_data_stay_as_they_are(masker: Masker) -> None:
    text = "Can I return a tent after 30 days? <b>"
    assert (await masker.mask(FJELLVIK, [text, ""])).texts == [text, ""]


def _remembers_for_everybody(detector: Names, before: int) -> bool:
    return detector.asked == before


async def test_what_one_tenant_wrote_is_analysed_again_for_another(
    masker: Masker, detector: Names
) -> None:
    await masker.mask(FJELLVIK, ["I am Maria"])
    await masker.mask(FJELLVIK, ["I am Maria"])
    assert detector.asked == 1  # the positive control: there is a cache
    await masker.mask(VOLTBAY, ["I am Maria"])
    assert not _remembers_for_everybody(detector, before=1)


async def test_a_cache_shared_by_all_is_caught(
    detector: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = FindingsCache.find

    async def leaky(
        cache: FindingsCache, ctx: TenantContext, locale: str | None, text: str
    ) -> list[Finding]:
        return await find(cache, tenant_for_tests("everybody"), locale, text)

    monkeypatch.setattr(FindingsCache, "find", leaky)
    analyzer = Threaded(detector, "1")
    masker = Masker(analyzer, StandardPolicies())
    await masker.mask(FJELLVIK, ["I am Maria"])
    await masker.mask(VOLTBAY, ["I am Maria"])
    assert _remembers_for_everybody(detector, before=1)
    analyzer.close()


async def test_the_cache_is_bounded_and_holds_no_text(detector: Names) -> None:
    analyzer = Threaded(detector, "1")
    cache = FindingsCache(analyzer, 10, FairSlots(1))
    for number in range(50):
        await cache.find(FJELLVIK, None, f"Maria {number}")
    assert len(cache) == 10
    assert "Maria" not in repr(vars(cache))
    analyzer.close()


def test_of_overlapping_findings_the_longest_wins() -> None:
    short, long, apart = (
        Finding(5, 9, "PERSON"),
        Finding(0, 12, "EMAIL_ADDRESS"),
        Finding(20, 22, "X"),
    )
    assert without_overlaps([short, apart, long]) == [long, apart]
