"""The influence probe on the real store, where scores come from all that is in one shard."""

from __future__ import annotations

from pathlib import Path

import httpx

from evals.contract.checks import Verdict
from evals.contract.suite import PROBES, judge
from evals.contract.target import Account, reached
from isolation.tenant_id import tenant_id
from serving.embedded.core import open_core, runtime_without_engine
from serving.gateway.app import create_app
from serving.settings import Settings


async def test_documents_of_one_tenant_change_no_answer_of_another(tmp_path: Path) -> None:
    async with open_core(Settings(data_dir=tmp_path / "data")) as core:
        accounts = []
        for name in ("acme", "birch"):
            await core.registry.add(core.operator, tenant_id(name), "business")
            key = await core.registry.issue_key(core.operator, tenant_id(name))
            accounts.append(Account(name, key.text))
        transport = httpx.ASGITransport(create_app(runtime_without_engine(core)))
        async with reached("http://gateway", *accounts, transport=transport) as pair:
            for _ in range(3):
                checks = await judge(PROBES["influence"], pair)
                assert checks.findings == []
                assert checks.verdict is Verdict.held
