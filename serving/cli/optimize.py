"""`bulkhead optimize`: the vector store written anew with its indexes, while no gateway runs."""

from __future__ import annotations

import asyncio

from rag.embedding.choice import chosen
from rag.reembed import Progress
from serving.cli.output import err, out
from serving.embedded.core import open_core
from serving.errors import StartupError
from serving.logs import log_to
from serving.settings import Settings, load_settings


def command() -> None:
    """Write the vector store anew: with indexes built, each tenant's points side by side, and
    without the bytes of what was deleted.

    Takes minutes with many documents, and the disk space of both meanwhile. The process does
    nothing else, so it refuses to run beside a gateway on the same data folder. Searches are right
    without it; large tenants' are quicker with it.
    """
    points = asyncio.run(_optimize(load_settings()))
    out.print(f"optimized: {points} points", markup=False)


async def _optimize(settings: Settings) -> int:
    if settings.qdrant_url is not None:
        raise StartupError("A Qdrant server builds its indexes itself: there is nothing to do.")
    log_to(settings.data_dir / "logs" / "command.log")
    async with open_core(settings) as core:
        with err.status("optimizing"):
            points = await core.knowledge.refill(
                core.operator, chosen(settings.embedding), Progress(), build_indexes=True
            )
        await core.database.forget_deleted()
        return points
