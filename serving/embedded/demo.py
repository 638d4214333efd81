"""Demo mode: a folder of merchants becomes tenants with documents, keys and `demo.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from isolation.errors import BulkheadError, InvalidApiKeyError
from isolation.tenant_id import TenantId, tenant_id
from rag.reading.kinds import KINDS
from serving.control.errors import TenantExistsError
from serving.embedded.core import Core
from serving.errors import StartupError
from serving.gateway.runtime import DemoTenant
from serving.key_files import write_private

_TIER = "business"


async def ingest_demo(
    core: Core, folder: Path, progress: Callable[[str], None]
) -> list[DemoTenant]:
    """Add the merchants below `folder` and ingest their documents; what is there already stays.

    Raises:
        StartupError: there are no merchants in `folder`, or a document cannot be read.
    """
    merchants = _merchants(folder)
    if not merchants:
        raise StartupError(f"There are no merchants in {folder}: */documents/ is expected.")
    known = _known_keys(core)
    tenants = [await _tenant(core, tenant_id(path.name), known) for path in merchants]
    for path, tenant in zip(merchants, tenants, strict=True):
        await _ingest(core, tenant, path / "documents", progress)
    return tenants


def _merchants(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/documents"))


def write_demo_file(core: Core, base_url: str, admin_key: str, tenants: list[DemoTenant]) -> Path:
    """Write `demo.json`, mode 0600: what a newcomer's first client needs."""
    path = core.settings.data_dir / "demo.json"
    content = {
        "base_url": base_url,
        "admin_key": admin_key,
        "tenants": [
            {"id": tenant.id, "api_key": tenant.api_key, "tier": tenant.tier} for tenant in tenants
        ],
    }
    write_private(path, json.dumps(content, indent=2) + "\n")
    return path


async def _tenant(core: Core, name: TenantId, known: dict[str, str]) -> DemoTenant:
    with suppress(TenantExistsError):
        await core.registry.add(core.operator, name, _TIER)
    key = known.get(name)
    if key is None or not await _valid(core, name, key):
        key = (await core.registry.issue_key(core.operator, name)).text
    return DemoTenant(name, key, _TIER)


async def _valid(core: Core, name: TenantId, key: str) -> bool:
    try:
        return (await core.tenants_keys.authenticate(key)).tenant_id == name
    except InvalidApiKeyError:
        return False


def _known_keys(core: Core) -> dict[str, str]:
    """The keys of the last start: a client that has one goes on working."""
    try:
        content = json.loads((core.settings.data_dir / "demo.json").read_text())
        return {tenant["id"]: tenant["api_key"] for tenant in content["tenants"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


async def _ingest(
    core: Core, tenant: DemoTenant, folder: Path, progress: Callable[[str], None]
) -> None:
    # Importing the readers takes seconds: a gateway without a demo goes without.
    from rag.reading.reader import read_bytes

    ctx = await core.tenants_keys.authenticate(tenant.api_key)
    ingestor = core.ingestor.of(ctx)
    names = sorted(name for name in os.listdir(folder) if Path(name).suffix.lower() in KINDS)
    progress(f"demo: {tenant.id}, {len(names)} documents")
    for name in names:
        try:
            await ingestor.ingest(read_bytes(name, (folder / name).read_bytes(), name))
        except BulkheadError as error:
            raise StartupError(
                f"The demo document {name} cannot be read: {error.message}"
            ) from None
