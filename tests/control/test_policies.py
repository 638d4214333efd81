"""Masking policies are kept, are one tenant's each, and go with it."""

from __future__ import annotations

import pytest

from isolation.errors import UnmintedContextError
from isolation.masking.policy import Action, Direction, MaskingPolicy
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.control.database import Database
from serving.control.errors import TenantNotFoundError
from serving.control.policies import PolicyRegistry
from serving.control.tenants import TenantRegistry

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
STRICT = MaskingPolicy.model_validate(
    {
        "user": {"CREDIT_CARD": "block"},
        "allow": ["Jotun 4"],
        "patterns": [{"name": "LOYALTY_NUMBER", "expression": "FV-[0-9]{4}"}],
        "locale": "NO",
    }
)


@pytest.fixture
async def policies(database: Database) -> PolicyRegistry:
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    return PolicyRegistry(database)


async def test_a_policy_is_kept_and_is_nobody_elses(
    policies: PolicyRegistry, database: Database
) -> None:
    assert await policies.of(FJELLVIK) == MaskingPolicy()
    await policies.set(OPERATOR, FJELLVIK.tenant_id, STRICT)
    assert await policies.of(FJELLVIK) == STRICT
    assert await PolicyRegistry(database).of(FJELLVIK) == STRICT
    assert await policies.of(VOLTBAY) == MaskingPolicy()
    await policies.set(OPERATOR, FJELLVIK.tenant_id, MaskingPolicy(locale="SE"))
    await policies.reset(OPERATOR, VOLTBAY.tenant_id)
    assert (await policies.get(OPERATOR, FJELLVIK.tenant_id)).locale == "SE"
    await policies.reset(OPERATOR, FJELLVIK.tenant_id)
    assert (await policies.of(FJELLVIK)).action(Direction.user, "CREDIT_CARD") is Action.mask


async def test_another_gateways_change_is_followed(
    policies: PolicyRegistry, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await policies.of(FJELLVIK)
    await PolicyRegistry(database).set(OPERATOR, FJELLVIK.tenant_id, STRICT)
    monkeypatch.setattr("serving.control.policies.time.monotonic", lambda: 1e12)
    assert await policies.of(FJELLVIK) == STRICT


async def test_a_deleted_tenants_policy_is_gone(
    policies: PolicyRegistry, database: Database
) -> None:
    await policies.set(OPERATOR, FJELLVIK.tenant_id, STRICT)
    registry = TenantRegistry(database)
    await registry.begin_deletion(OPERATOR, FJELLVIK.tenant_id)
    policies.forget(OPERATOR, FJELLVIK.tenant_id)
    await registry.finish_deletion(OPERATOR, FJELLVIK.tenant_id)
    assert await policies.of(FJELLVIK) == MaskingPolicy()
    for refused in (
        policies.get(OPERATOR, FJELLVIK.tenant_id),
        policies.set(OPERATOR, FJELLVIK.tenant_id, STRICT),
        policies.reset(OPERATOR, FJELLVIK.tenant_id),
    ):
        with pytest.raises(TenantNotFoundError):
            await refused


async def test_only_the_operator_sets_policies(policies: PolicyRegistry) -> None:
    with pytest.raises(UnmintedContextError):
        await policies.set(FJELLVIK, FJELLVIK.tenant_id, STRICT)  # type: ignore[arg-type]
    with pytest.raises(UnmintedContextError):
        await policies.of("fjellvik")  # type: ignore[arg-type]
