"""The same attacks from outside: the real gateway application in this process, with real keys, the
real store and the real embedding model. There is no engine, so that chats are not among them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx

from evals.leakage.world import GROUPS, World, named, register
from isolation.access import UNRESTRICTED, Access, restricted_to
from isolation.context import TenantContext
from isolation.tenant_id import TenantId
from serving.embedded.core import Core, open_core, runtime_without_engine
from serving.gateway.app import create_app
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Routes:
    """The world behind the gateway, and a client for each credential."""

    world: World
    clients: dict[tuple[TenantId, Access], httpx.AsyncClient]

    def of(self, ctx: TenantContext) -> httpx.AsyncClient:
        """The client that holds the credential which `ctx` stands for."""
        return self.clients[ctx.tenant_id, ctx.access]


@asynccontextmanager
async def routes(
    folder: Path, *, tenants: int, per_tenant: int, seed: int
) -> AsyncGenerator[Routes, None]:
    """A gateway over a planted world below `folder`."""
    settings = Settings(data_dir=folder, database_url=None, qdrant_url=None)
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(settings))
        world = World(
            *(named(tenants), core.embedder, core.retriever.generation.store),
            *(core.ingestor, core.retriever),
        )
        await register(world.tenants, core.registry)
        await world.plant(per_tenant, Random(seed))
        app = httpx.ASGITransport(
            create_app(runtime_without_engine(core)), raise_app_exceptions=False
        )
        clients = {}
        for ctx in world.tenants:
            for access in (UNRESTRICTED, *map(restricted_to, [(), *((one,) for one in GROUPS)])):
                key = await _key(core, ctx, access)
                client = httpx.AsyncClient(
                    transport=app,
                    base_url="http://127.0.0.1",
                    headers={"authorization": f"Bearer {key}"},
                )
                clients[ctx.tenant_id, access] = await stack.enter_async_context(client)
        yield Routes(world, clients)


async def _key(core: Core, ctx: TenantContext, access: Access) -> str:
    groups = None if access.unrestricted else access.groups
    return (await core.registry.issue_key(core.operator, ctx.tenant_id, groups=groups)).text
