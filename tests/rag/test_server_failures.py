"""A server that fails: a stable error that tells nothing, in bounded time; nothing half-visible."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
from grpc import StatusCode

from isolation.testing.contexts import operator_for_tests
from rag.documents import DocumentVersion
from rag.errors import StoreError, StoreUnavailableError, UnsafeCollectionError
from rag.store.server.connection import Connection, ServerAddress, _of_grpc
from rag.store.server.store import ServerVectorStore
from rag.testing.merchants import DIMENSION, FJELLVIK, QUESTION, embedded, plant, returns, texts
from tests.rag.loopback import faults
from tests.rag.loopback.server import Fault, Loopback, loopback

_SECOND = DocumentVersion("returns", "v2", "Returns")
_PASSING = {
    "500": faults.status(500),
    "503": faults.status(503),
    "429": faults.status(429),
    "429 with a time": faults.status(429, **{"Retry-After": "7"}),
    "no JSON": faults.malformed("<html>30 days</html>"),
    "no result": faults.malformed('{"status": "ok", "time": 0.1}'),
    "another shape": faults.malformed('{"result": "30 days"}'),
    "cut": faults.cut,
}


@dataclass
class Fixture:
    server: Loopback
    store: ServerVectorStore

    def impatient(self) -> None:
        """Calls may take a second from now on; what made the fixture had all the time it needs."""
        self.store._shared.connection._timeout = 1.0


@pytest.fixture
async def there() -> AsyncGenerator[Fixture, None]:
    async with loopback() as server:
        store = await ServerVectorStore.open(ServerAddress(server.url), DIMENSION)
        await plant(store)
        yield Fixture(server, store)
        server.fault = server.after = None
        await store.close()


def _tells_nothing(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    assert faults.QUOTED not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert faults.QUOTED not in caplog.text


@pytest.mark.parametrize("fault", _PASSING.values(), ids=_PASSING)
async def test_a_search_says_that_the_store_is_unavailable_and_nothing_else(
    there: Fixture, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    caplog.set_level(logging.DEBUG)
    there.server.fault = faults.on("/query", fault)
    with pytest.raises(StoreUnavailableError) as raised:
        await there.store.of(FJELLVIK).search(QUESTION, limit=5)
    assert (raised.value.code, raised.value.status) == ("store_unavailable", 503)
    assert int(raised.value.headers["Retry-After"]) >= 1
    _tells_nothing(raised.value, caplog)


async def test_the_servers_own_waiting_time_is_passed_on(there: Fixture) -> None:
    there.server.fault = faults.on("/query", faults.status(429, **{"Retry-After": "7"}))
    with pytest.raises(StoreUnavailableError) as raised:
        await there.store.of(FJELLVIK).search(QUESTION, limit=5)
    assert raised.value.headers == {"Retry-After": "7"}


@pytest.mark.parametrize("fault", [faults.silent, faults.dripping])
async def test_a_slow_server_is_left_in_time(there: Fixture, fault: Fault) -> None:
    there.impatient()
    there.server.fault = faults.on("/query", fault)
    begin = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        await there.store.of(FJELLVIK).search(QUESTION, limit=5)
    assert time.monotonic() - begin < 20  # three attempts of a second each, on a busy machine


@pytest.mark.parametrize("fault", [faults.status(503), faults.cut, faults.malformed("{")])
async def test_a_read_is_tried_again_and_a_write_is_not(there: Fixture, fault: Fault) -> None:
    there.server.fault = faults.times(2, faults.on("/query", fault))
    assert await texts(there.store, FJELLVIK) == [returns(FJELLVIK)]
    there.server.seen.clear()
    there.server.fault = faults.times(1, fault)
    with pytest.raises(StoreUnavailableError):
        await there.store.of(FJELLVIK).stage(_SECOND, embedded("text"))
    assert len(there.server.seen) == 1


async def test_reads_are_tried_three_times_and_no_more(there: Fixture) -> None:
    there.server.seen.clear()
    there.server.fault = faults.status(503)
    with pytest.raises(StoreUnavailableError):
        await there.store.of(FJELLVIK).count()
    assert len(there.server.seen) == 3


@pytest.mark.parametrize(
    ("code", "says"), [(401, "API_KEY"), (403, "API_KEY"), (404, "404"), (400, "400")]
)
async def test_a_refusal_is_no_outage_and_is_not_tried_again(
    there: Fixture, caplog: pytest.LogCaptureFixture, code: int, says: str
) -> None:
    there.server.seen.clear()
    there.server.fault = faults.status(code)
    with pytest.raises(StoreError, match=says) as raised:
        await there.store.of(FJELLVIK).search(QUESTION, limit=5)
    assert not isinstance(raised.value, StoreUnavailableError)
    assert len(there.server.seen) == 1
    _tells_nothing(raised.value, caplog)


@pytest.mark.parametrize("fault", [faults.status(500), faults.cut, faults.silent])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("route", ["/points", "/count"])
async def test_a_stage_that_fails_shows_nothing(
    there: Fixture, fault: Fault, when: str, route: str
) -> None:
    """Whether the server had done it or not; and what is left is settled away."""
    if fault is faults.silent:
        there.impatient()
    setattr(there.server, "fault" if when == "before" else "after", faults.on(route, fault))
    with pytest.raises(StoreUnavailableError):
        await there.store.of(FJELLVIK).stage(_SECOND, embedded("half", "more"))
    there.server.fault = there.server.after = None
    there.store._shared.connection._timeout = 10.0
    assert await texts(there.store, FJELLVIK) == [returns(FJELLVIK)]
    await there.store.settle(operator_for_tests(), FJELLVIK.tenant_id, "returns", "v1")
    await there.store.of(FJELLVIK).publish("returns", "v1")
    assert await there.store.of(FJELLVIK).count() == 1


@pytest.mark.parametrize("fault", [faults.status(500), faults.cut, faults.silent])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_publication_that_fails_shows_one_whole_version_and_is_settled(
    there: Fixture, fault: Fault, when: str
) -> None:
    mine = there.store.of(FJELLVIK)
    await mine.stage(_SECOND, embedded("new one", "new two"))
    if fault is faults.silent:
        there.impatient()
    setattr(there.server, "fault" if when == "before" else "after", faults.on("/batch", fault))
    with pytest.raises(StoreUnavailableError):
        await mine.publish("returns", "v2")
    there.server.fault = there.server.after = None
    there.store._shared.connection._timeout = 10.0
    seen = {passage.version for passage in await mine.get("returns")}
    assert seen == ({"v1"} if when == "before" else {"v2"})
    await there.store.settle(operator_for_tests(), FJELLVIK.tenant_id, "returns", "v2")
    assert await mine.count() == 2


async def test_a_deletion_of_a_tenant_that_fails_is_not_called_done(there: Fixture) -> None:
    there.server.fault = faults.on("/delete", faults.status(500))
    with pytest.raises(StoreUnavailableError):
        await there.store.purge(operator_for_tests(), FJELLVIK.tenant_id)
    there.server.fault = faults.on(
        "/delete", faults.malformed('{"result": {"status": "completed"}}')
    )
    with pytest.raises(StoreError, match="still there"):
        await there.store.purge(operator_for_tests(), FJELLVIK.tenant_id)
    there.server.fault = None
    await there.store.purge(operator_for_tests(), FJELLVIK.tenant_id)


async def test_nobody_listening_is_said_at_open() -> None:
    async with loopback() as server:
        url = server.url
    with pytest.raises(StoreUnavailableError):
        await ServerVectorStore.open(ServerAddress(url, timeout=1.0), DIMENSION)


@pytest.mark.parametrize("version", ["1.18.2", "1.9.0", "0.11.1", "dev", ""])
async def test_a_server_that_would_weigh_words_by_everybody_is_refused(version: str) -> None:
    async with loopback() as server:
        server.version = version
        with pytest.raises(UnsafeCollectionError, match="older than"):
            await ServerVectorStore.open(ServerAddress(server.url), DIMENSION)
        assert server.collections == {}


@pytest.mark.parametrize(
    ("code", "unavailable"),
    [
        (StatusCode.UNAVAILABLE, True),
        (StatusCode.DEADLINE_EXCEEDED, True),
        (StatusCode.RESOURCE_EXHAUSTED, True),
        (StatusCode.UNAUTHENTICATED, False),
        (StatusCode.INVALID_ARGUMENT, False),
        (StatusCode.NOT_FOUND, False),
    ],
)
def test_grpcs_errors_mean_the_same(code: StatusCode, unavailable: bool) -> None:
    assert isinstance(_of_grpc(code), StoreUnavailableError) == unavailable


async def test_a_connection_is_closed_behind_the_calls_that_run_on_it(there: Fixture) -> None:
    """As at a switch of generations; a socket that it left open is a warning, and so an error."""
    for steps in range(12):
        connection = Connection.to(ServerAddress(there.server.url))
        running = asyncio.ensure_future(connection.read(connection.client.get_collections))
        for _ in range(steps):
            await asyncio.sleep(0)
        await connection.close()
        if steps:
            assert (await running).collections
        with pytest.raises(StoreUnavailableError):
            await connection.write(connection.client.get_collections)
        await asyncio.gather(running, return_exceptions=True)
        del connection, running
    gc.collect()
