"""The usage ledger on a real database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.control.database import Database
from serving.control.tables import UsageRow
from serving.control.usage import UsageLedger, UsageTotals
from serving.engine_plugin.stopwatch import Cost
from serving.metering.usage import UsageRecord
from tests.databases import fresh_database

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def record_of(request_id: str, prompt: int = 10) -> UsageRecord:
    return UsageRecord(
        request_id=request_id,
        key_id="k",
        model="base",
        prompt_tokens=prompt,
        cached_tokens=4,
        completion_tokens=3,
        passages=2,
        queue_seconds=0.1,
        ttft_seconds=None,
        total_seconds=1.0,
        finish_reason="stop",
        created_at=datetime.now(UTC),
    )


@pytest.fixture
async def ledger(database: Database) -> AsyncGenerator[UsageLedger, None]:
    ledger = UsageLedger(database)
    ledger.start()
    yield ledger
    await ledger.close()


async def test_a_tenant_sees_its_own_sums_and_no_others(ledger: UsageLedger) -> None:
    for number in range(3):
        await ledger.of(FJELLVIK).record(record_of(f"f{number}"))
    await ledger.of(VOLTBAY).record(record_of("v", prompt=1_000))
    await ledger.flushed()
    assert await ledger.of(FJELLVIK).totals(LONG_AGO) == UsageTotals(3, 30, 12, 9)
    assert await ledger.of(VOLTBAY).totals(LONG_AGO) == UsageTotals(1, 1_000, 4, 3)
    both = await ledger.totals(operator_for_tests(), LONG_AGO)
    assert {tenant: sums.requests for tenant, sums in both.items()} == {"fjellvik": 3, "voltbay": 1}


async def test_what_the_engine_said_a_request_cost_is_kept(ledger: UsageLedger) -> None:
    cost = Cost(busy_seconds=1.5, kv_token_seconds=40.0, peak_kv_tokens=80, worker_type="cpu")
    await ledger.of(FJELLVIK).record(replace(record_of("f1"), cost=cost))
    await ledger.of(FJELLVIK).record(record_of("f2"))  # of an engine that could not say
    await ledger.flushed()
    assert (await ledger.of(FJELLVIK).totals(LONG_AGO)).engine_seconds == 1.5


async def test_preemptions_and_retractions_are_kept_apart(
    ledger: UsageLedger, database: Database
) -> None:
    cost = Cost(preemptions=1, retractions=2)
    await ledger.of(FJELLVIK).record(replace(record_of("f1"), cost=cost))
    await ledger.flushed()
    async with database.transaction() as session:
        rows = await session.execute(select(UsageRow.preemptions, UsageRow.retractions))
        assert rows.all() == [(1, 2)]


async def test_what_lies_before_the_period_does_not_count(ledger: UsageLedger) -> None:
    await ledger.of(FJELLVIK).record(record_of("f"))
    await ledger.flushed()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert await ledger.of(FJELLVIK).totals(tomorrow) == UsageTotals(0, 0, 0, 0)


async def test_closing_writes_what_still_waits(tmp_path: Path) -> None:
    database = await fresh_database(tmp_path / "bulkhead.db")
    ledger = UsageLedger(database)
    ledger.start()
    for number in range(500):
        await ledger.of(FJELLVIK).record(record_of(f"f{number}"))
    await ledger.close()
    assert (await ledger.of(FJELLVIK).totals(LONG_AGO)).requests == 500
    await database.close()
