"""Requests that engines die of, on real databases: who is suspected, and who is not any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from isolation.context import TenantContext
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.admission import suspects as suspects_module
from serving.admission.suspects import Suspects, TenantSuspects
from serving.control import dead_letters
from serving.control.database import Database
from serving.control.dead_letters import MOST_CRASHES, CrashLedger
from serving.control.errors import DeadLetterNotFoundError
from serving.control.tenants import TenantRegistry
from serving.errors import (
    DeadlineExceededError,
    EngineBrokeOffError,
    RequestQuarantinedError,
)

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
POISON, PLAIN = b"that kills it", b"Hello"


@pytest.fixture
async def ledger(database: Database) -> CrashLedger:
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    return CrashLedger(database)


@dataclass
class Engine:
    """Dies of `POISON`, and of all that it has with it; another one takes its place."""

    suspects: Suspects
    number: int = 0
    running: list[asyncio.Event] = field(default_factory=list)
    most: int = 0

    async def ask(self, ctx: TenantContext, request: bytes, *, beside: int = 0) -> None:
        """beside: how many others run before this one has any effect."""
        async with self.suspects.of(ctx).trying(lambda: request, "base", wait_seconds=30) as trying:
            trying.worker, died = f"worker-{self.number}", asyncio.Event()
            self.running.append(died)
            self.most = max(self.most, len(self.running))
            try:
                while len(self.running) <= beside and not died.is_set():
                    await asyncio.sleep(0)
                if request == POISON and not died.is_set():
                    self._die()
                if beside:
                    await died.wait()
                if died.is_set():
                    raise EngineBrokeOffError
            finally:
                self.running.remove(died)
            await trying.answered()

    def _die(self) -> None:
        self.number += 1
        for died in self.running:
            died.set()


def engine(ledger: CrashLedger) -> Engine:
    return Engine(Suspects(ledger, b"k" * 32, most=MOST_CRASHES))


async def test_what_killed_three_engines_is_not_tried_again_and_others_are(
    ledger: CrashLedger,
) -> None:
    one = engine(ledger)
    for _ in range(MOST_CRASHES):
        with pytest.raises(EngineBrokeOffError):
            await one.ask(FJELLVIK, POISON)
    with pytest.raises(RequestQuarantinedError) as refused:
        await one.ask(FJELLVIK, POISON)
    (letter,) = await ledger.dead_letters(OPERATOR)
    assert letter.id in refused.value.message
    assert (letter.tenant_id, letter.crashes) == ("fjellvik", MOST_CRASHES)
    assert (one.number, letter.model) == (MOST_CRASHES, "base")
    await one.ask(FJELLVIK, PLAIN)
    await ledger.release(OPERATOR, letter.id)
    with pytest.raises(DeadLetterNotFoundError):
        await ledger.release(OPERATOR, letter.id)
    with pytest.raises(EngineBrokeOffError):
        await one.ask(FJELLVIK, POISON)


async def test_who_was_there_is_suspected_tried_alone_and_cleared(ledger: CrashLedger) -> None:
    """The other tenant's too, with the same words."""
    one = engine(ledger)
    at_once = [(FJELLVIK, POISON), (FJELLVIK, PLAIN), (VOLTBAY, PLAIN), (VOLTBAY, b"Hi")]
    outcomes = await asyncio.gather(
        *(one.ask(ctx, request, beside=3) for ctx, request in at_once), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [EngineBrokeOffError] * 4
    assert one.number == 1
    # All ask again at once, some twice, and are tried one by one.
    one.most = 0
    again = await asyncio.gather(
        *(one.ask(ctx, request) for ctx, request in [*at_once, *at_once[1:]]),
        return_exceptions=True,
    )
    assert one.most == 1
    assert [outcome for outcome in again if outcome is not None] == [again[0]]
    assert one.number == 2
    for ctx, request in at_once[1:]:
        assert await _crashes(ledger, one, ctx, request) == 0
    with pytest.raises(EngineBrokeOffError):
        await one.ask(FJELLVIK, POISON)
    with pytest.raises(RequestQuarantinedError):
        await one.ask(FJELLVIK, POISON)


async def _crashes(ledger: CrashLedger, one: Engine, ctx: TenantContext, request: bytes) -> int:
    counts = await ledger.of(ctx).counts()
    return counts.get(one.suspects.of(ctx)._hash(request), 0)


async def _a_tenants_dead_letter_is_no_other_tenants(ledger: CrashLedger) -> None:
    one = engine(ledger)
    for _ in range(MOST_CRASHES):
        with pytest.raises(EngineBrokeOffError):
            await one.ask(FJELLVIK, POISON)
    # The same words, of another tenant: on another engine they are harmless.
    async with one.suspects.of(VOLTBAY).trying(lambda: POISON, "base", wait_seconds=1) as trying:
        assert not trying.suspected


async def test_a_tenants_dead_letter_is_no_other_tenants(ledger: CrashLedger) -> None:
    await _a_tenants_dead_letter_is_no_other_tenants(ledger)


async def test_a_ledger_for_all_is_caught(
    ledger: CrashLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everybodys(self: TenantSuspects, request: bytes) -> str:
        return request.decode()

    monkeypatch.setattr(suspects_module.TenantSuspects, "_hash", everybodys)
    monkeypatch.setattr(CrashLedger, "of", lambda self, ctx: _of(self, FJELLVIK))
    with pytest.raises(RequestQuarantinedError):
        await _a_tenants_dead_letter_is_no_other_tenants(ledger)


_of = CrashLedger.of


async def test_where_nobody_is_suspected_no_request_is_hashed(ledger: CrashLedger) -> None:
    """It may have two million characters."""
    asked = 0

    def request() -> bytes:
        nonlocal asked
        asked += 1
        return PLAIN

    suspects = engine(ledger).suspects
    async with suspects.of(FJELLVIK).trying(request, "base", wait_seconds=1):
        assert asked == 0
    with pytest.raises(EngineBrokeOffError):
        async with suspects.of(FJELLVIK).trying(request, "base", wait_seconds=1):
            raise EngineBrokeOffError
    assert asked == 1
    async with suspects.of(VOLTBAY).trying(request, "base", wait_seconds=1):
        assert asked == 1


async def test_what_an_engine_had_twice_at_once_is_one_crash(ledger: CrashLedger) -> None:
    one = engine(ledger)
    both = (one.ask(FJELLVIK, POISON, beside=1) for _ in range(2))
    await asyncio.gather(*both, return_exceptions=True)
    assert await _crashes(ledger, one, FJELLVIK, POISON) == 1


async def test_another_gateway_knows_it_too_and_a_suspicion_passes(
    ledger: CrashLedger, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = engine(ledger), CrashLedger(database)
    for _ in range(2):
        with pytest.raises(EngineBrokeOffError):
            await one.ask(FJELLVIK, POISON)
    assert await _crashes(other, one, FJELLVIK, POISON) == 2
    monkeypatch.setattr(dead_letters, "_SUSPECTED", timedelta(0))
    assert await _crashes(CrashLedger(database), one, FJELLVIK, POISON) == 0
    with pytest.raises(EngineBrokeOffError):
        await one.ask(FJELLVIK, POISON)
    monkeypatch.undo()
    assert await _crashes(CrashLedger(database), one, FJELLVIK, POISON) == 1


async def test_a_tenant_with_many_suspects_does_not_keep_anothers_waiting(
    ledger: CrashLedger,
) -> None:
    suspects = Suspects(ledger, b"k" * 32, most=MOST_CRASHES)
    for ctx, count in ((FJELLVIK, 6), (VOLTBAY, 1)):
        for number in range(count):
            mine = suspects.of(ctx)
            await ledger.of(ctx).crashed(mine._hash(b"%d" % number), "base", "worker")
    order: list[str] = []

    async def ask(ctx: TenantContext, number: int) -> None:
        async with suspects.of(ctx).trying(lambda: b"%d" % number, "base", wait_seconds=30):
            order.append(str(ctx.tenant_id))
            await asyncio.sleep(0.05)

    many = [asyncio.create_task(ask(FJELLVIK, number)) for number in range(6)]
    await asyncio.sleep(0.02)
    await asyncio.gather(*many, ask(VOLTBAY, 0))
    assert order.index("voltbay") <= 2
    # Who waits too long is told, and stands in nobody's way.
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_tried(suspects, FJELLVIK, 0))
        with pytest.raises(DeadlineExceededError):
            async with suspects.of(VOLTBAY).trying(lambda: b"0", "base", wait_seconds=0.05):
                pass
    async with _tried(suspects, VOLTBAY, 0):
        pass


@asynccontextmanager
async def _tried(suspects: Suspects, ctx: TenantContext, number: int) -> AsyncGenerator[None, None]:
    async with suspects.of(ctx).trying(lambda: b"%d" % number, "base", wait_seconds=1):
        yield


async def test_with_its_tenant_it_is_gone(ledger: CrashLedger) -> None:
    one = engine(ledger)
    for ctx in (FJELLVIK, VOLTBAY):
        for _ in range(MOST_CRASHES):
            with pytest.raises(EngineBrokeOffError):
                await one.ask(ctx, POISON)
    await ledger.purge(OPERATOR, FJELLVIK.tenant_id)
    assert [letter.tenant_id for letter in await ledger.dead_letters(OPERATOR)] == ["voltbay"]
    assert await _crashes(ledger, one, FJELLVIK, POISON) == 0
