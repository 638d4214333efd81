"""`bulkhead optimize`: builds the vector store's indexes, while no gateway runs."""

from __future__ import annotations

import asyncio

from rag.store.edge.store import EdgeVectorStore
from serving.cli.output import err, out
from serving.embedded.core import open_core
from serving.errors import StartupError
from serving.logs import log_to
from serving.settings import Settings, load_settings


def command() -> None:
    """Build the vector indexes of what was ingested, and put each tenant's points side by side.

    Takes minutes with many documents, and the process does nothing else meanwhile: so it refuses to
    run beside a gateway on the same data folder. Searches are right without it; large tenants'
    are quicker with it.
    """
    points = asyncio.run(_optimize(load_settings()))
    out.print(f"optimized: {points} points", markup=False)


async def _optimize(settings: Settings) -> int:
    if settings.qdrant_url is not None:
        raise StartupError("A Qdrant server builds its indexes itself: there is nothing to do.")
    log_to(settings.data_dir / "logs" / "command.log")
    async with open_core(settings) as core:
        assert isinstance(core.store, EdgeVectorStore)
        with err.status("optimizing"):
            return await core.store.optimize(core.operator)
