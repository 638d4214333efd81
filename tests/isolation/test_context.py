"""A context is proof of authentication: it cannot be made, changed, copied or stood in for."""

from __future__ import annotations

import copy
import pickle

import pytest

from isolation.context import (
    OperatorContext,
    TenantContext,
    require_operator,
    require_same_tenant,
    require_tenant,
)
from isolation.errors import CrossTenantError, InvalidTenantIdError, UnmintedContextError
from isolation.tenant_id import tenant_id
from isolation.testing.contexts import operator_for_tests, tenant_for_tests


def test_a_context_cannot_be_constructed() -> None:
    with pytest.raises(TypeError, match="abstract"):
        TenantContext()  # type: ignore[abstract]
    with pytest.raises(TypeError, match="abstract"):
        OperatorContext()  # type: ignore[abstract]


def test_nobody_but_the_mint_can_subclass_a_context() -> None:
    with pytest.raises(UnmintedContextError):
        type("Forged", (TenantContext,), {"__module__": "app"})


def test_a_context_cannot_be_changed_copied_or_pickled() -> None:
    ctx = tenant_for_tests("fjellvik")
    with pytest.raises(AttributeError):
        ctx.tenant_id = "voltbay"  # type: ignore[misc, assignment]
    with pytest.raises(AttributeError):
        del ctx.tenant_id  # type: ignore[misc]
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            attempt(ctx)
    assert ctx.tenant_id == "fjellvik"


@pytest.mark.parametrize("forged", [None, "fjellvik", {"tenant_id": "fjellvik"}, object()])
def test_what_is_not_minted_is_stopped_at_run_time_too(forged: object) -> None:
    with pytest.raises(UnmintedContextError):
        require_tenant(forged, "the test")
    with pytest.raises(UnmintedContextError):
        require_operator(forged, "the test")


def test_a_tenant_is_no_operator_and_an_operator_no_tenant() -> None:
    with pytest.raises(UnmintedContextError):
        require_operator(tenant_for_tests("fjellvik"), "the test")
    with pytest.raises(UnmintedContextError):
        require_tenant(operator_for_tests(), "the test")


def test_a_value_of_another_tenant_is_stopped_and_the_error_names_neither() -> None:
    ctx = tenant_for_tests("fjellvik")
    require_same_tenant(ctx, "fjellvik", "the prompt")
    with pytest.raises(CrossTenantError) as caught:
        require_same_tenant(ctx, "voltbay", "the prompt")
    assert "fjellvik" not in str(caught.value)
    assert "voltbay" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "A", "-a", "a-", "a_b", "a/b", "a\n", "ä", "a" * 64])
def test_an_id_that_could_confuse_a_path_a_label_or_a_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidTenantIdError):
        tenant_id(text)
