"""The demo's adapters: each merchant's own, once, and none where the model is another."""

from __future__ import annotations

from pathlib import Path

from isolation.tenant_id import tenant_id
from serving.adapters.names import Reference
from serving.embedded.core import Core, open_core
from serving.embedded.demo_adapters import ADAPTER, add_demo_adapters
from serving.gateway.runtime import DemoTenant
from serving.settings import Settings
from tests.adapters.files import BASE, config, tensors, write

MERCHANTS = ("fjellvik", "voltbay")


def _settings(folder: Path, model: Path, **more: object) -> Settings:
    return Settings(data_dir=folder / "data", model_path=model, **more)  # type: ignore[arg-type]


async def _tenants(core: Core) -> list[DemoTenant]:
    tenants = []
    for name in map(tenant_id, MERCHANTS):
        await core.registry.add(core.operator, name, "business")
        key = await core.registry.issue_key(core.operator, name)
        tenants.append(DemoTenant(name, key.text, "business"))
    return tenants


async def test_each_merchant_gets_its_own_adapter_once(tiny_model: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(MERCHANTS):
        write(tmp_path / "adapters" / name, seed=seed)
    said: list[str] = []
    async with open_core(_settings(tmp_path, tiny_model)) as core:
        tenants = await _tenants(core)
        for _ in range(2):
            await add_demo_adapters(core, tmp_path / "merchants", tenants, said.append)
        manifests = set()
        for tenant in tenants:
            ctx = await core.tenants_keys.authenticate(tenant.api_key)
            (version,) = await core.adapters.registry.of(ctx).versions()
            found = await core.adapters.registry.of(ctx).find(Reference(ADAPTER))
            assert found == version
            manifests.add(version.manifest)
        assert len(manifests) == len(MERCHANTS)
    assert len(said) == len(MERCHANTS)


async def test_an_adapter_of_another_model_is_left_out_and_the_demo_goes_on(
    tiny_model: Path, tmp_path: Path
) -> None:
    other = config(base_model_name_or_path="another/model")
    write(tmp_path / "adapters" / "fjellvik", content=other, weights=tensors())
    write(tmp_path / "adapters" / "voltbay")
    said: list[str] = []
    async with open_core(_settings(tmp_path, tiny_model)) as core:
        tenants = await _tenants(core)
        await add_demo_adapters(core, tmp_path / "merchants", tenants, said.append)
        everybodys = await core.adapters.registry.everybodys(core.operator)
        assert [record.tenant for record in everybodys] == ["voltbay"]
    assert BASE.name in said[0]


async def test_a_demo_without_adapters_is_a_demo(tiny_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "adapters" / "fjellvik")
    said: list[str] = []
    async with open_core(_settings(tmp_path, tiny_model, adapters="off")) as core:
        tenants = await _tenants(core)
        await add_demo_adapters(core, tmp_path / "merchants", tenants, said.append)
    assert said == []
