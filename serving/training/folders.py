"""Where trainings work: what they learned so far is their tenant's, and goes with it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from isolation.context import OperatorContext, require_operator
from isolation.tenant_id import TenantId
from serving.adapters.names import checked_name


class TrainingFolders:
    """A folder for each tenant and adapter, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, tenant: TenantId, name: str) -> Path:
        """Raises AdapterNameError when `name` is not an adapter's."""
        return self._root / tenant / checked_name(name)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Remove all of a tenant's."""
        require_operator(operator, "removing trainings")
        folder = self._root / tenant
        if folder.exists():
            await asyncio.to_thread(shutil.rmtree, folder)
