"""The suite's adapters probe against the real gateway with its real registry and rollouts."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from evals.contract.checks import Checks, Verdict
from evals.contract.suite import PROBES, judge
from evals.contract.target import Account, reached
from isolation.namespaces import CacheScope, Namespace, NamespaceDeriver
from serving.adapters.names import Reference
from serving.control import adapters as index_module
from tests.adapters.conftest import OPERATOR
from tests.gateway.adapter_gateway import adapter_gateway


async def _judged(folder: Path) -> Checks:
    async with adapter_gateway(folder, rollouts=True) as gateway:
        accounts = (Account("fjellvik", "key-f"), Account("voltbay", "key-v"))
        transport = gateway.http._transport
        assert isinstance(transport, httpx.ASGITransport)
        transport.raise_app_exceptions = False
        async with reached("http://gateway", *accounts, transport) as pair:
            checks = await judge(PROBES["adapters"], pair)
        left = await gateway.registry.everybodys(OPERATOR)
        assert [record for record in left if record.state == "active"] == []
        return checks


async def test_adapters_hold_on_the_real_gateway_and_nothing_planted_stays(tmp_path: Path) -> None:
    checks = await _judged(tmp_path)
    assert checks.findings == []
    assert checks.verdict is Verdict.held
    assert checks.boundaries > 40


async def test_an_index_that_forgets_the_tenant_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(tenant: object, reference: Reference | None = None) -> object:
        if reference is None:
            return index_module.AdapterVersionRow.name != ""
        return index_module.AdapterVersionRow.name == reference.name

    monkeypatch.setattr(index_module, "_mine", named)
    assert (await _judged(tmp_path)).verdict is Verdict.leak


async def test_a_namespace_without_the_adapter_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    derive = NamespaceDeriver.derive

    def forgetful(deriver: NamespaceDeriver, ctx: object, scope: CacheScope) -> Namespace:
        plain = CacheScope(scope.model, scope.tokenizer, "", scope.version)
        return derive(deriver, ctx, plain)  # type: ignore[arg-type]

    monkeypatch.setattr(NamespaceDeriver, "derive", forgetful)
    checks = await _judged(tmp_path)
    assert checks.verdict is Verdict.leak
    assert {"no other hits" in finding.what for finding in checks.findings} == {True}
