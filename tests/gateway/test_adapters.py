"""Adapters over HTTP: two tenants on one registry and one engine, each with its own `support`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving.adapters.engine_names import EngineNames
from serving.adapters.leases import AdapterLeases
from serving.adapters.names import Reference
from serving.adapters.peft_config import CONFIG_FILE
from serving.adapters.weights import WEIGHTS_FILE
from serving.control import adapters as index_module
from serving.control.residency import ResidencyLedger
from tests.adapters.conftest import FJELLVIK, OPERATOR, VOLTBAY
from tests.adapters.files import config, tensors
from tests.gateway.adapter_gateway import Gateway, adapter_gateway
from tests.memory import memory_root

# Whatever these name, it is no model of the tenant that asks.
FOREIGN = [
    "unknown",
    "support@2",
    "support@01",
    "base:support",
    "base@1",
    "fjellvik/support",
    "../fjellvik/support",
    "support/../support",
    "support\0",
    "SUPPORT",
    "/dev/shm",
    "",
    "a" * 10_000,
    "' OR 1=1 --",
]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncGenerator[Gateway, None]:
    async with adapter_gateway(tmp_path, rollouts=False) as gateway:
        yield gateway


async def test_each_tenants_support_is_its_own(gateway: Gateway) -> None:
    mine = await gateway.add("key-f", 1)
    theirs = await gateway.add("key-v", 2)
    assert await gateway.answer("key-f", "support") == mine
    assert await gateway.answer("key-v", "support") == theirs
    newer = await gateway.add("key-f", 3)
    assert await gateway.answer("key-f", "support") == newer
    assert await gateway.answer("key-f", "support@1") == mine
    assert await gateway.answer("key-f", "base") == gateway.engine.reply
    models = [(owner, record.model) for owner, record in gateway.ledger.records]
    assert models[-2:] == [("fjellvik", "support@1"), ("fjellvik", "base")]


async def _refusals(gateway: Gateway, names: list[str]) -> set[tuple[int, str]]:
    answers = [await gateway.chat("key-v", name) for name in names]
    return {(answer.status_code, answer.text) for answer in answers}


async def test_whatever_is_not_the_tenants_gets_one_answer_and_the_engine_hears_nothing(
    gateway: Gateway,
) -> None:
    await gateway.add("key-f", 1)
    await gateway.add("key-v", 2, name="gone")
    await gateway.registry.revoke(OPERATOR, VOLTBAY.tenant_id, Reference("gone"))
    engine_names = [
        EngineNames(b"n" * 32).new(r) for r in await gateway.registry.everybodys(OPERATOR)
    ]
    refusals = await _refusals(gateway, ["support", "support@1", "gone", *FOREIGN, *engine_names])
    ((status, text),) = refusals
    assert status == 404
    assert json.loads(text)["error"]["code"] == "model_not_found"
    assert gateway.engine.bodies == []
    assert gateway.engine.adapters == {}


async def test_a_twin_that_forgets_the_tenant_is_caught(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.add("key-f", 1)

    def named(tenant: object, reference: Reference | None = None) -> object:
        return index_module.AdapterVersionRow.name == (reference.name if reference else "")

    monkeypatch.setattr(index_module, "_mine", named)
    refusals = await _refusals(gateway, ["support", *FOREIGN])
    assert len(refusals) > 1


async def test_every_name_costs_one_query(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known, foreign, revoked and impossible names do the same work."""
    await gateway.add("key-f", 1)
    counted = []
    transaction = gateway.database.transaction

    def count() -> Any:
        counted.append(1)
        return transaction()

    monkeypatch.setattr(gateway.database, "transaction", count)
    costs = {}
    for name in ["support", "support@1", *FOREIGN]:
        counted.clear()
        await gateway.chat("key-v", name)
        costs[name] = len(counted)
    assert set(costs.values()) == {1}


async def test_no_prefix_is_shared_across_base_adapters_and_versions(gateway: Gateway) -> None:
    for seed in (1, 2):
        await gateway.add("key-f", seed)
    for model in ("base", "support@1", "support@2", "support"):
        await gateway.answer("key-f", model)
    salts = [body["cache_salt"] for body in gateway.engine.bodies]
    assert len(set(salts)) == 3
    assert salts[2] == salts[3]


async def test_the_list_of_models_is_the_tenants_own(gateway: Gateway) -> None:
    await gateway.add("key-f", 1)
    await gateway.add("key-f", 2, name="sales")
    shown = (await gateway.call("key-f", "GET", "/v1/models")).json()["data"]
    assert [m["id"] for m in shown][2:] == ["sales", "sales@1", "support", "support@1"]
    shown = (await gateway.call("key-v", "GET", "/v1/models")).json()["data"]
    assert len(shown) == 2


async def test_adapters_are_listed_shown_and_deleted_by_their_owner_alone(gateway: Gateway) -> None:
    await gateway.add("key-f", 1, metrics='{"accuracy": 0.75}')
    (row,) = (await gateway.call("key-f", "GET", "/v1/adapters")).json()["data"]
    assert (row["id"], row["metrics"], row["state"]) == (
        "support@1",
        {"accuracy": 0.75},
        "active",
    )
    assert (await gateway.call("key-f", "GET", "/v1/adapters/support@1")).json() == row
    assert (await gateway.call("key-f", "GET", "/v1/adapters/support")).json()["data"] == [row]
    assert (await gateway.call("key-v", "GET", "/v1/adapters")).json()["data"] == []
    answers = set()
    for name in ("support", "support@1", "unknown", "..%2Fsupport", "a%2fb", "support@x"):
        for method in ("GET", "DELETE"):
            answer = await gateway.call("key-v", method, f"/v1/adapters/{name}")
            answers.add((answer.status_code, answer.text))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 404
    await gateway.answer("key-f", "support")
    deleted = await gateway.call("key-f", "DELETE", "/v1/adapters/support@1")
    assert deleted.json()["versions"] == 1
    assert gateway.engine.adapters == {}
    assert (await gateway.chat("key-f", "support")).status_code == 404


async def test_the_operator_sees_and_revokes_and_a_running_answer_ends(gateway: Gateway) -> None:
    await gateway.add("key-f", 1)
    await gateway.add("key-v", 2)
    shown = (await gateway.call("operator", "GET", "/admin/v1/adapters")).json()["data"]
    assert [(row["tenant_id"], row["id"]) for row in shown] == [
        ("fjellvik", "support@1"),
        ("voltbay", "support@1"),
    ]
    assert (await gateway.call("key-f", "GET", "/admin/v1/adapters")).status_code == 401
    gateway.engine.endless = True
    answering = asyncio.create_task(gateway.chat("key-f", "support"))
    while not gateway.engine.bodies:
        await asyncio.sleep(0.01)
    path = "/admin/v1/adapters/fjellvik/support"
    revoked = await gateway.call("operator", "PATCH", path, json={"state": "revoked"})
    assert revoked.json()["versions"] == 1
    answer = await answering
    assert answer.json()["error"]["code"] == "adapter_unavailable"
    gateway.engine.endless = False
    assert gateway.engine.adapters == {}
    assert (await gateway.chat("key-f", "support")).status_code == 404
    again = await gateway.call("operator", "PATCH", path, json={"state": "revoked"})
    assert again.json()["code"] == "adapter_not_found"
    deleted = await gateway.call("operator", "DELETE", "/admin/v1/adapters/voltbay/support@1")
    assert deleted.json()["deleted"] is True


def _twice(files: list[Any]) -> list[Any]:
    return [*files, files[1]]


def _renamed(name: str) -> Any:
    return lambda files: [files[0], ("files", (name, files[1][1][1]))]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda files: files[:1], "adapter_files_invalid"),
        (_twice, "adapter_files_invalid"),
        (_renamed("adapter_model.bin"), "adapter_files_invalid"),
        (_renamed("../adapter_model.safetensors"), "adapter_files_invalid"),
        (_renamed("/etc/passwd"), "adapter_files_invalid"),
        (_renamed("adapter_model.safetensors\0.bin"), "adapter_files_invalid"),
        (lambda f: [f[0], ("files", (WEIGHTS_FILE, b"\x80\x04pickle"))], "adapter_not_safetensors"),
        (lambda f: [f[0], ("files", (WEIGHTS_FILE, bytes(3_000_000)))], "adapter_too_large"),
        (
            lambda f: [("files", (CONFIG_FILE, json.dumps(config(r=99)))), f[1]],
            "adapter_rank_not_supported",
        ),
        (lambda f: [*f, ("other", (None, "x"))], "invalid_request"),
    ],
)
async def test_an_upload_that_is_no_adapter_is_refused_with_its_code_and_leaves_nothing(
    gateway: Gateway, change: Any, code: str
) -> None:
    answer = await gateway.send("key-f", change(gateway.files()))
    assert answer.json()["error"]["code"] == code
    assert (await gateway.call("key-f", "GET", "/v1/adapters")).json()["data"] == []
    assert list((gateway.folder / "store").iterdir()) == []
    assert list(memory_root(gateway.folder).iterdir()) == []


@pytest.mark.parametrize("metrics", ["[]", "{", '{"a": "b"}', '{"a": true}', '{"a": 1e999}'])
async def test_metrics_are_numbers(gateway: Gateway, metrics: str) -> None:
    answer = await gateway.send("key-f", gateway.files(), metrics=metrics)
    assert answer.json()["error"]["param"] == "metrics"


async def test_a_form_that_is_cut_short_stores_nothing(gateway: Gateway) -> None:
    request = gateway.http.build_request(
        "POST", "/v1/adapters", data={"name": "support"}, files=gateway.files()
    )
    body = request.read()
    headers = {"Authorization": "Bearer key-f", "Content-Type": request.headers["content-type"]}
    for end in (0, 10, len(body) // 2, len(body) - 10):
        answer = await gateway.http.post("/v1/adapters", content=body[:end], headers=headers)
        assert answer.status_code == 400
    assert (await gateway.call("key-f", "GET", "/v1/adapters")).json()["data"] == []
    answer = await gateway.http.post("/v1/adapters", content=body, headers=headers)
    assert answer.status_code == 201


async def test_what_an_adapter_occupies_is_on_its_owners_account(gateway: Gateway) -> None:
    await gateway.add("key-f", 1)
    await gateway.answer("key-f", "support")
    await asyncio.sleep(0.1)
    await gateway.call("key-f", "DELETE", "/v1/adapters/support")
    mine = (await gateway.call("key-f", "GET", "/v1/usage")).json()
    theirs = (await gateway.call("key-v", "GET", "/v1/usage")).json()
    weights = sum(values.nbytes for values in tensors().values())
    assert mine["adapter_byte_seconds"] >= 0.1 * weights
    assert theirs["adapter_byte_seconds"] == 0
    since = datetime(2020, 1, 1, tzinfo=UTC)
    totals = await ResidencyLedger(gateway.database).totals(OPERATOR, since)
    assert list(totals) == ["fjellvik"]


async def test_who_waits_for_a_place_keeps_nobody_from_the_engine(gateway: Gateway) -> None:
    """The queue has one slot. Held by whoever waits for an adapter's place, it would be lost to
    those who need no adapter."""
    for key, names in (("key-f", ("one", "two")), ("key-v", ("support",))):
        for seed, name in enumerate(names):
            await gateway.add(key, seed, name=name)
    leases, deadline = AdapterLeases(gateway.residency), time.monotonic() + 5
    async with AsyncExitStack() as held:
        for name in ("one", "two"):
            record = await gateway.registry.of(FJELLVIK).find(Reference(name))
            assert record is not None
            await held.enter_async_context(leases.of(FJELLVIK).lease(record, deadline))
        waiting = asyncio.create_task(gateway.chat("key-v", "support"))
        await asyncio.sleep(0.2)
        assert (await gateway.chat("key-f", "base")).status_code == 200
        assert not waiting.done()
    assert (await waiting).status_code == 200
