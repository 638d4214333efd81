"""Which adapter makes room: decided from what is there, with no clock of its own."""

from __future__ import annotations

import pytest

from isolation.context import TenantContext
from serving.adapters.engine_names import EngineName
from serving.adapters.eviction import Choice, Places, choose_victim
from serving.adapters.ports import ACTIVE, AdapterRecord
from serving.adapters.resident import Resident
from tests.adapters.conftest import FJELLVIK, VOLTBAY

PLACES = Places(1, minimum_seconds=10.0, stay=10.0, patience=100.0)


def _resident(ctx: TenantContext, *, load_seconds: float, loaded_at: float) -> Resident:
    record = AdapterRecord(ctx.tenant_id, "voice", 1, "u", ACTIVE, "f", b"", b"", b"")
    return Resident(
        ctx,
        record,
        EngineName("opaque"),
        pinned=False,
        used_at=loaded_at,
        load_seconds=load_seconds,
        loaded_at=loaded_at,
    )


def _choice(resident: Resident, now: float, places: Places = PLACES) -> Choice:
    return choose_victim([resident], FJELLVIK.tenant_id, pinned=False, places=places, now=now)


@pytest.mark.parametrize(
    ("load_seconds", "until"),
    [(0.0, 100.0), (0.2, 102.0), (1.0, 110.0), (30.0, 110.0)],
)
def test_an_adapter_stays_for_as_long_as_its_load_is_worth(
    load_seconds: float, until: float
) -> None:
    """A tenth of a place's time is spent on loading; `minimum_seconds` is enough for any load."""
    resident = _resident(VOLTBAY, load_seconds=load_seconds, loaded_at=100.0)
    assert _choice(resident, until).victim is resident
    if until > 100.0:
        assert _choice(resident, until - 0.01) == Choice(None, until)


def test_without_a_minimum_it_goes_at_once() -> None:
    resident = _resident(VOLTBAY, load_seconds=5.0, loaded_at=100.0)
    assert _choice(resident, 100.0, Places(1, minimum_seconds=0.0)).victim is resident
