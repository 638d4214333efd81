"""SGLang as it is, attacked the same way: each leak that the other tests look for is there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from evals.performance.engine_side import running_engine
from evals.performance.engine_side import stock as without_plugin
from isolation.testing.contexts import tenant_for_tests
from serving.cli.engine import worker_of
from serving.engine.client import EngineClient
from serving.engine.probe import probe
from serving.errors import EngineRefusedError
from serving.settings import Settings
from serving.supervision.process import Command
from tests.engine.conftest import HEARS_HEADERS
from tests.engine.wire import CONTROLS, Wire
from tests.signing import signer_for_tests

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

# Those controls of a plain chat whose effect its answer shows.
_HEARD = {
    "x-data-parallel-rank",
    "x-override-rid",
    "x-override-priority",
    "x-override-routed-dp-rank",
    "x-sglext-return-input-ids",
    "x-sglext-return-output-ids",
}
_CHAT = "POST /v1/chat/completions"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stock(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[EngineClient, None]:
    folder = tmp_path_factory.mktemp("stock")
    worker, signer = worker_of(Settings(), tiny_model), signer_for_tests()
    async with running_engine(worker, folder, signer, _as_it_can_be) as launched:
        client = EngineClient(launched.url, model="base", api_key=launched.api_key, signer=signer)
        yield client
        await client.close()


def _as_it_can_be(command: Command) -> Command:
    """Without the plugin, and with SGLang's switch for more controls in headers."""
    bare = without_plugin(command)
    return Command(bare.argv, {**bare.env, **HEARS_HEADERS})


async def _unproven(wire: Wire, route: str, body: dict[str, Any]) -> tuple[int, Any]:
    return await wire.send(route, orjson.dumps(body))


async def test_the_probe_refuses_it(stock: EngineClient) -> None:
    with pytest.raises(EngineRefusedError, match="without Bulkhead's plugin"):
        await probe(stock, tenant_for_tests("platform-probe"))


async def test_it_answers_anybody_with_the_key_and_for_nobody(stock: EngineClient) -> None:
    wire = Wire(stock)
    body = wire.body(messages=[{"role": "user", "content": "Good day. " * 40}])
    del body["cache_salt"]
    cached = []
    for _ in range(2):
        status, answer = await _unproven(wire, _CHAT, body | {"rid": secrets.token_hex(16)})
        assert status == 200
        cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
    assert cached[0] < 100 < cached[1]  # without a salt all share
    # An answer comes a moment before its request is over, and until then nothing is flushed.
    assert (await _unproven(wire, "POST /flush_cache?timeout=60", {}))[0] == 200


async def test_it_aborts_whoever_has_an_id_that_begins_with_the_callers(
    stock: EngineClient,
) -> None:
    wire = Wire(stock)
    victim, attacker = (wire.body(max_tokens=6_000, ignore_eos=True) for _ in range(2))
    attacker["rid"] = victim["rid"][:3]  # a caller may choose its own
    generating = [asyncio.create_task(_unproven(wire, _CHAT, body)) for body in (victim, attacker)]
    await asyncio.sleep(1)
    assert not any(task.done() for task in generating)
    assert (await _unproven(wire, "POST /abort_request", {"rid": attacker["rid"]}))[0] == 200
    async with asyncio.timeout(20):
        await asyncio.gather(*generating)


async def test_it_takes_parameters_from_headers(stock: EngineClient) -> None:
    wire = Wire(stock)
    for name, value in CONTROLS.items():
        body = wire.body()
        status, answer = await wire.send(_CHAT, orjson.dumps(body), **{name: value})
        heard = status == 400 or answer["id"] != body["rid"] or "_ids" in str(answer)
        assert heard == (name in _HEARD), (name, answer)


async def test_a_flood_of_one_tenant_evicts_the_other(stock: EngineClient) -> None:
    wire = Wire(stock)

    def question(words: int) -> list[dict[str, str]]:
        text = " ".join(secrets.token_hex(2) for _ in range(words))
        return [{"role": "user", "content": text}]

    victim = wire.body(messages=question(400))
    flood = wire.body()["cache_salt"]
    await _unproven(wire, _CHAT, victim)
    for _ in range(14):
        assert (await _unproven(wire, _CHAT, wire.body(messages=question(500), cache_salt=flood)))[
            0
        ] == 200
    again = victim | {"rid": secrets.token_hex(16)}
    _, answer = await _unproven(wire, _CHAT, again)
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] < 100
