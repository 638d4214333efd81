"""Rollouts over HTTP: two tenants with a `support` of two versions each, and one that tries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from isolation.errors import CrossTenantError
from isolation.tenant_id import TenantId
from serving.adapters.names import Reference
from serving.cli.evaluate import evaluate, send
from serving.errors import ConcurrencyLimitError
from serving.rollout import plans as plans_module
from serving.rollout.evaluation import Case
from serving.rollout.plans import RolloutPlans
from tests.adapters.conftest import FJELLVIK, OPERATOR
from tests.gateway import fakes
from tests.gateway.adapter_gateway import QUESTION, Gateway, adapter_gateway
from tests.gateway.rollouts import GATES, PATH, begun, conversations, newest_of, says, two_versions
from tests.gateway.test_adapters import FOREIGN


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncGenerator[Gateway, None]:
    async with adapter_gateway(tmp_path, rollouts=True) as gateway:
        yield gateway


@asynccontextmanager
async def _as(gateway: Gateway, key: str) -> AsyncGenerator[httpx.AsyncClient, None]:
    headers = {"Authorization": f"Bearer {key}"}
    transport, url = gateway.http._transport, gateway.http.base_url
    yield httpx.AsyncClient(transport=transport, base_url=url, headers=headers)


async def test_conversations_are_divided_and_stay_with_their_version(gateway: Gateway) -> None:
    versions = await two_versions(gateway)
    rollout = await begun(gateway)
    assert (rollout["state"], rollout["control"], rollout["serving"]) == ("running", 1, 1)
    given = {f"c{n}": await says(gateway, f"c{n}") for n in range(20)}
    assert set(given.values()) == set(versions)
    assert given == {name: await says(gateway, name) for name in given}
    models = {record.model for _, record in gateway.ledger.records}
    assert models == {"support@1", "support@2"}
    for number, version in enumerate(versions, 1):
        assert await gateway.answer("key-f", f"support@{number}") == version


async def test_a_conversation_without_a_name_is_known_by_its_beginning(gateway: Gateway) -> None:
    versions = await two_versions(gateway)
    await begun(gateway)
    seen = set()
    for number in range(20):
        first = [{"role": "user", "content": f"Hello {number}"}]
        said = await gateway.answer("key-f", "support", messages=first)
        later = [*first, {"role": "assistant", "content": said}, *QUESTION]
        assert await gateway.answer("key-f", "support", messages=later) == said
        seen.add(said)
    assert seen == set(versions)


async def test_another_tenants_support_takes_no_part(gateway: Gateway) -> None:
    await two_versions(gateway)
    theirs = await two_versions(gateway, "key-v", 3)
    await begun(gateway)
    for number in range(12):
        await says(gateway, f"c{number}")
        assert await says(gateway, f"c{number}", "key-v") == theirs[1]
    await gateway.trials.keep()
    assert (await gateway.call("key-v", "GET", PATH)).status_code == 404


async def test_a_twin_that_remembers_one_plan_for_all_is_caught(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = RolloutPlans.of

    async def everybodys(self: RolloutPlans, ctx: object) -> object:
        return await honest(self, FJELLVIK)

    monkeypatch.setattr(RolloutPlans, "of", everybodys)
    # By the wrong version, or by the counts, which are another tenant's.
    with pytest.raises((AssertionError, CrossTenantError)):
        await test_another_tenants_support_takes_no_part(gateway)


async def test_a_good_version_is_promoted_and_then_serves_all(gateway: Gateway) -> None:
    old, new = await two_versions(gateway)
    await begun(gateway)
    await conversations(gateway, new, 10)
    await conversations(gateway, old, 10)
    await gateway.trials.keep()
    shown = await newest_of(gateway)
    assert (shown["state"], shown["serving"]) == ("promoted", 2)
    assert shown["figures"]["canary"]["requests"] >= 10
    assert shown["figures"]["canary"]["ttft"]
    assert shown["figures"]["canary"]["gaps"] == {}  # a digest is one piece
    assert [step["to"] for step in shown["steps"]] == ["proposed", "running", "promoted"]
    assert {await says(gateway, f"c{n}") for n in range(12)} == {new}


async def test_a_version_that_declines_is_rolled_back_and_stays_out(gateway: Gateway) -> None:
    old, new = await two_versions(gateway)
    await begun(gateway)
    (canary,) = await conversations(gateway, new)
    await conversations(gateway, old, 20)
    for name, weights in gateway.engine.adapters.items():
        if weights == new:
            gateway.engine.adapters[name] = "I do not know that."
    for _ in range(60):
        assert await says(gateway, canary) == "I do not know that."
    await gateway.trials.keep()
    shown = await newest_of(gateway)
    assert (shown["state"], shown["serving"]) == ("rolled_back", 1)
    assert shown["steps"][-1]["why"] == ["refusals_worse"]
    assert shown["steps"][-1]["figures"]["canary"]["refusals"] == 60
    assert await says(gateway, canary) == old
    # A newer upload is not served by the name either, before it is rolled out or released.
    newest = await gateway.add("key-f", 5)
    assert await gateway.answer("key-f", "support") == old
    released = await gateway.call("key-f", "POST", f"{PATH}/release")
    assert (released.status_code, released.json()["holds"]) == (200, False)
    assert await gateway.answer("key-f", "support") == newest


class _Leaking(fakes.Pass):
    """Finds a canary at the end of an answer."""

    def __init__(self, vault: fakes.Vault) -> None:
        self._vault = vault

    def flush(self) -> str:
        self._vault.tripped += 1
        return ""


async def test_one_leak_rolls_back_at_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await two_versions(gateway)
    await begun(gateway)
    (canary,) = await conversations(gateway, new)
    (control,) = await conversations(gateway, old)
    monkeypatch.setattr(fakes.Vault, "answer", lambda vault, ctx: _Leaking(vault))
    assert await says(gateway, control) == old
    assert (await newest_of(gateway))["state"] == "running"
    assert await says(gateway, canary) == new
    shown = await newest_of(gateway)
    assert (shown["state"], shown["steps"][-1]["why"]) == ("rolled_back", ["leak"])
    assert await says(gateway, canary) == old


async def test_an_answer_under_way_ends_on_its_version(gateway: Gateway) -> None:
    old, new = await two_versions(gateway)
    await begun(gateway)
    (canary,) = await conversations(gateway, new)
    gateway.engine.endless = True
    answering = asyncio.create_task(says(gateway, canary))
    asked = len(gateway.engine.bodies)
    while len(gateway.engine.bodies) == asked:
        await asyncio.sleep(0.01)
    stopped = await gateway.call("key-f", "DELETE", PATH)
    assert stopped.json()["state"] == "stopped"
    gateway.engine.endless = False
    assert (await answering).startswith(new)
    assert await says(gateway, canary) == old


async def test_what_the_engine_breaks_off_is_an_error_and_a_refused_request_is_none(
    gateway: Gateway,
) -> None:
    _, new = await two_versions(gateway)
    await begun(gateway)
    (canary,) = await conversations(gateway, new)
    names = {"metadata": {"conversation": canary}}
    assert (await gateway.chat("key-f", "support", max_tokens=900_000, **names)).status_code == 400
    for name in list(gateway.engine.adapters):
        del gateway.engine.adapters[name]  # the engine fails at the next request
    assert (await gateway.chat("key-f", "support", **names)).status_code == 503
    await gateway.trials.keep()
    figures = (await newest_of(gateway))["figures"]["canary"]
    assert (figures["requests"], figures["errors"]) == (2, 1)


async def test_a_canary_that_was_revoked_a_moment_ago_is_answered_by_the_control(
    gateway: Gateway,
) -> None:
    old, new = await two_versions(gateway)
    await begun(gateway)
    (canary,) = await conversations(gateway, new)
    await gateway.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support", 2))
    assert await says(gateway, canary) == old
    await gateway.trials.keep()
    shown = await newest_of(gateway)
    assert (shown["state"], shown["steps"][-1]["why"]) == ("rolled_back", ["canary_gone"])


async def test_a_proposal_holds_the_name_before_its_candidate_is_uploaded(gateway: Gateway) -> None:
    old = await gateway.add("key-f", 1)
    proposed = await begun(gateway, start=False)
    assert proposed["state"] == "proposed"
    early = await gateway.call("key-f", "POST", f"{PATH}/start")
    assert early.json()["error"]["code"] == "adapter_not_found"
    new = await gateway.add("key-f", 2)
    assert await gateway.answer("key-f", "support") == old
    started = await gateway.call("key-f", "POST", f"{PATH}/start")
    assert started.json()["state"] == "running"
    await conversations(gateway, new)


async def test_a_tenants_own_scores_decide_too(gateway: Gateway) -> None:
    old, new = await two_versions(gateway)
    await begun(gateway, gates=GATES | {"minimum_scores": 20})
    await conversations(gateway, new, 10)
    await conversations(gateway, old, 10)
    await gateway.trials.keep()
    assert (await newest_of(gateway))["state"] == "running"
    for version, scores in ((1, [1.0, 0.5] * 20), (2, [0.0, 0.25] * 20)):
        body = {"version": version, "scores": scores}
        scored = await gateway.call("key-f", "POST", f"{PATH}/scores", json=body)
        assert scored.json()["count"] == 40
    await gateway.trials.keep()
    shown = await newest_of(gateway)
    assert (shown["state"], shown["steps"][-1]["why"]) == ("rolled_back", ["quality_worse"])


async def test_the_tenants_evaluation_set_is_asked_of_both_versions(gateway: Gateway) -> None:
    old, new = await two_versions(gateway)
    await two_versions(gateway, "key-v", 3)
    for key in ("key-f", "key-v"):
        await begun(gateway, key, gates=GATES | {"minimum_scores": 2})
    cases = [Case(question=f"{n}?", facts=(old,), never=("nothing",)) for n in range(3)]
    asked: list[None] = []
    async with _as(gateway, "key-f") as own:
        control, candidate = await evaluate(own, "support", cases, lambda: asked.append(None))
        for one in (control, candidate):
            await send(own, "support", one)
    assert (control.version, candidate.version, len(asked)) == (1, 2, 6)
    assert (control.scores, candidate.scores) == ([1.0] * 3, [0.0] * 3)
    figures = (await newest_of(gateway))["figures"]
    assert (figures["control"]["scores"], figures["canary"]["scores"]) != (None, None)
    # The control: the other tenant asks its own versions, and tells its own rollout.
    async with _as(gateway, "key-v") as other:
        assert [one.mean for one in await evaluate(other, "support", cases, list)] == [0.0, 0.0]
    theirs = (await newest_of(gateway, "key-v"))["figures"]
    assert theirs["control"]["scores"] != figures["control"]["scores"]
    assert new not in str(theirs)


async def test_a_stranger_gets_the_answer_for_the_unknown_on_every_route(gateway: Gateway) -> None:
    await two_versions(gateway)
    await begun(gateway)
    bodies = {
        "POST": {"candidate": 2, "percent": 50},
        "POST/scores": {"version": 2, "scores": [0.0]},
    }
    for method, end in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", ""),
        ("POST", "/start"),
        ("POST", "/release"),
        ("POST", "/scores"),
    ):
        answers = set()
        for name in ("support", "unknown", "support@1", "SUPPORT", "a%00b", "a" * 3_000):
            path, body = f"/v1/adapters/{name}/rollouts{end}", bodies.get(method + end)
            answer = await gateway.call("key-v", method, path, json=body)
            answers.add((answer.status_code, answer.text))
        ((status, text),) = answers
        assert status == 404
        code = json.loads(text)["error"]["code"]
        assert code == (
            "adapter_not_found" if (method, end) == ("POST", "") else "rollout_not_found"
        )
    assert (await newest_of(gateway))["state"] == "running"
    assert await gateway.rollouts.index.acting_for(OPERATOR, TenantId("voltbay")).holding() == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"candidate": 1, "control": 1}, "rollout_refused"),
        ({"candidate": 10**12}, "rollout_refused"),
        ({"control": 10**12}, "adapter_not_found"),
        ({"control": 9}, "adapter_not_found"),
        ({"candidate": 9}, "adapter_not_found"),
        ({"percent": 100}, "rollout_refused"),
        ({"gates": {"alpha": 2}}, "invalid_request"),
        ({"gates": {"unknown": 2}}, "parameter_not_allowed"),
        ({"tenant": "voltbay"}, "parameter_not_allowed"),
    ],
)
async def test_what_cannot_be_a_rollout_is_refused_and_divides_nothing(
    gateway: Gateway, change: dict[str, Any], code: str
) -> None:
    await two_versions(gateway)
    body = {"candidate": 2, "percent": 50} | change
    answer = await gateway.call("key-f", "POST", PATH, json=body)
    assert answer.json()["error"]["code"] == code
    running = [one for one in await gateway.rollouts.index.everybodys(OPERATOR) if one.started_at]
    assert running == []


async def test_one_rollout_at_a_time_and_an_ended_one_does_not_end_again(gateway: Gateway) -> None:
    await two_versions(gateway)
    await begun(gateway)
    body = {"candidate": 2, "percent": 50}
    again = await gateway.call("key-f", "POST", PATH, json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "rollout_runs")
    assert (await gateway.call("key-f", "DELETE", PATH)).status_code == 200
    twice = await gateway.call("key-f", "DELETE", PATH)
    assert (twice.status_code, twice.json()["error"]["code"]) == (409, "rollout_state")


async def test_the_operator_sees_and_stops_everybodys_and_nobody_else_does(
    gateway: Gateway,
) -> None:
    await two_versions(gateway)
    await two_versions(gateway, "key-v", 3)
    await begun(gateway)
    await begun(gateway, "key-v")
    one = "/admin/v1/rollouts/fjellvik/support"
    for method, path in (("GET", "/admin/v1/rollouts"), ("GET", one), ("DELETE", one)):
        assert (await gateway.call("key-f", method, path)).status_code == 401
    rows = (await gateway.call("operator", "GET", "/admin/v1/rollouts")).json()["data"]
    assert [(row["tenant_id"], row["state"]) for row in rows] == [
        ("fjellvik", "running"),
        ("voltbay", "running"),
    ]
    stopped = await gateway.call("operator", "DELETE", one)
    assert stopped.json()["state"] == "stopped"
    shown = (await gateway.call("operator", "GET", one)).json()
    assert (shown["tenant_id"], shown["steps"][-1]["who"]) == ("fjellvik", "operator test")
    rows = (await gateway.call("operator", "GET", "/admin/v1/rollouts")).json()["data"]
    assert [row["state"] for row in rows] == ["stopped", "running"]
    for path in ("/admin/v1/rollouts/fjellvik/unknown", "/admin/v1/rollouts/nobody/support"):
        unknown = await gateway.call("operator", "GET", path)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "rollout_not_found")


async def test_every_name_costs_the_same_queries(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known, foreign, rolled out elsewhere and impossible names do the same work."""
    await two_versions(gateway)
    await begun(gateway)
    monkeypatch.setattr(plans_module, "_SECONDS", 0.0)
    counted = []
    transaction = gateway.database.transaction

    def count() -> Any:
        counted.append(1)
        return transaction()

    monkeypatch.setattr(gateway.database, "transaction", count)
    costs = {}
    for name in ["support", "support@1", *FOREIGN]:
        counted.clear()
        assert (await gateway.chat("key-v", name)).status_code == 404
        costs[name] = len(counted)
    assert set(costs.values()) == {2}


async def _shadowed(gateway: Gateway) -> tuple[str, str]:
    old, new = await two_versions(gateway)
    await begun(gateway, shadow=True, percent=90)
    return old, new


async def test_a_shadow_is_compared_metered_and_never_sent(gateway: Gateway) -> None:
    old, new = await _shadowed(gateway)
    for number in range(20):
        assert await says(gateway, f"c{number}") == old
        await gateway.shadows.ended()
    models = [record.model for owner, record in gateway.ledger.records if owner == "fjellvik"]
    shadowed = models.count("support@2")
    assert models.count("support@1") == 20
    assert 10 < shadowed <= 20
    assert len({record.request_id for _, record in gateway.ledger.records}) == len(models)
    await gateway.trials.keep()
    shown = await newest_of(gateway)
    figures = shown["figures"]
    assert figures["control"]["requests"] == figures["canary"]["requests"] == shadowed
    assert figures["canary"]["agreement"][:2] == [shadowed, 0.0]
    assert figures["canary"]["characters"] >= shadowed * len(new)
    # It has served nobody, so a comparison that went well ends without a promotion.
    assert (shown["state"], shown["serving"]) == ("stopped", 1)
    assert shown["steps"][-1]["why"] == ["gates_passed"]


async def test_a_shadows_text_is_kept_nowhere(gateway: Gateway) -> None:
    _, new = await _shadowed(gateway)
    for number in range(8):
        await says(gateway, f"c{number}")
    await gateway.shadows.ended()
    for name, weights in gateway.engine.adapters.items():
        if weights == new:
            gateway.engine.adapters[name] = "shadowtext"
    for number in range(12):
        await says(gateway, f"d{number}")
    await gateway.shadows.ended()
    await gateway.trials.keep()
    canary = (await newest_of(gateway))["figures"]["canary"]
    assert canary["requests"] > 8  # the positive control: it was said
    written = b"".join(path.read_bytes() for path in (gateway.folder / "data").iterdir())
    assert b"shadowtext" not in written
    assert b"support" in written


async def test_a_shadow_waits_for_no_place_and_takes_none_from_customers(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = await _shadowed(gateway)
    slot = fakes.TenantLimiter.slot
    taken: list[str] = []

    def one_place(limiter: fakes.TenantLimiter, request_id: str) -> Any:
        taken.append(request_id)
        if len(taken) % 2 == 0:
            raise ConcurrencyLimitError
        return slot(limiter, request_id)

    monkeypatch.setattr(fakes.TenantLimiter, "slot", one_place)
    (conversation,) = await _shadow_conversations(gateway, 1)
    taken.clear()
    assert await says(gateway, conversation) == old
    await gateway.shadows.ended()
    assert len(taken) == 2
    assert all(record.model == "support@1" for _, record in gateway.ledger.records)


async def _shadow_conversations(gateway: Gateway, count: int) -> list[str]:
    found: list[str] = []
    for number in range(200):
        route = await gateway.trials.of(FJELLVIK).route("support", f"named c{number}")
        if route.trial is not None:
            found.append(f"c{number}")
        if len(found) == count:
            return found
    raise AssertionError("no such conversation")
