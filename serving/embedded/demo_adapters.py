"""The demo merchants' own adapters: `adapters/NAME/` beside the merchants' folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from isolation.errors import BulkheadError
from serving.adapters.checks import FILES, Upload
from serving.adapters.ports import ACTIVE
from serving.adapters.tenant_adapters import TenantAdapters
from serving.adapters.weights import WEIGHTS_FILE
from serving.embedded.core import Core
from serving.gateway.runtime import DemoTenant

ADAPTER = "voice"


async def add_demo_adapters(
    core: Core, merchants: Path, tenants: Sequence[DemoTenant], progress: Callable[[str], None]
) -> None:
    """Each merchant's adapter as the newest version of `voice`, where it is not there already.

    One that does not fit the model that is served is left out, with a line that says so.
    """
    parts = core.adapters.parts
    if parts is None:
        return
    for tenant, source, digest in _found(merchants, tenants):
        ctx = await core.tenants_keys.authenticate(tenant.api_key)
        own = parts.registry.of(ctx)
        if await _there(own, digest):
            continue
        try:
            with parts.uploads.folder() as folder:
                for name in FILES:
                    shutil.copyfile(source / name, folder / name)
                await own.add(Upload(folder, ADAPTER, {}))
        except BulkheadError as error:
            progress(f"demo: {tenant.id} goes without its adapter: {error.message}")
        else:
            progress(f"demo: {tenant.id}, its adapter is the model '{ADAPTER}'")


def _found(
    merchants: Path, tenants: Sequence[DemoTenant]
) -> Iterator[tuple[DemoTenant, Path, str]]:
    """Tenants with their adapter's folder and the SHA-256 of its weights."""
    for tenant in tenants:
        source = merchants.absolute().parent / "adapters" / tenant.id
        if source.is_dir():
            weights = (source / WEIGHTS_FILE).read_bytes()
            yield tenant, source, hashlib.sha256(weights).hexdigest()


async def _there(own: TenantAdapters, digest: str) -> bool:
    """Whether these very weights are an active version."""
    versions = await own.versions(ADAPTER)
    return any(r.state == ACTIVE and digest.encode() in r.manifest for r in versions)
