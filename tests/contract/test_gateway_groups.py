"""The suite's groups probe against the real gateway with its real store, catalogue and export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from evals.contract.checks import Checks, Verdict
from evals.contract.suite import PROBES, judge
from evals.contract.target import Account, MemberAccount, reached
from evals.performance.hashed_embedder import HashedEmbedder
from isolation.tenant_id import tenant_id
from rag.store import predicate
from serving.embedded.core import open_core, runtime_without_engine
from serving.engine.client import EngineClient
from serving.gateway.app import create_app
from serving.settings import Settings
from tests.contract.gateway import TENANTS, PrefixEngine, chat_service
from tests.signing import signer_for_tests


async def _judged(folder: Path) -> Checks:
    async with (
        PrefixEngine().serving() as url,
        open_core(Settings(data_dir=folder), embedder=HashedEmbedder(8)) as core,
    ):
        engine = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        chat = chat_service(engine, core.retriever, core.usage, guarded=True)
        app = create_app(replace(runtime_without_engine(core), chat=chat))
        accounts, members = [], []
        for name in TENANTS:
            await core.registry.add(core.operator, tenant_id(name), "business")
            key = await core.registry.issue_key(core.operator, tenant_id(name))
            own = await core.registry.issue_key(core.operator, tenant_id(name), groups=["support"])
            accounts.append(Account(name, key.text))
            members.append(MemberAccount(name, "support", own.text))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with reached("http://gateway", *accounts, transport, members) as pair:
            checks = await judge(PROBES["groups"], pair)
        for name in TENANTS:
            entries = await core.knowledge.catalog.entries(core.operator, tenant_id(name))
            assert entries == []
        await engine.close()
        return checks


async def test_groups_hold_on_the_real_gateway_and_nothing_planted_stays(tmp_path: Path) -> None:
    checks = await _judged(tmp_path)
    assert checks.findings == []
    assert checks.verdict is Verdict.held


async def test_a_predicate_that_forgets_the_groups_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicate, "_access", lambda access: ())
    checks = await _judged(tmp_path)
    assert checks.verdict is Verdict.leak
    assert any(finding.request.endswith("/v1/search") for finding in checks.findings)
