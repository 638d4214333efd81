"""Two tenants with contradicting facts, by HTTP through the real gateway and in this process."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import uvicorn
from llama_index.core.base.embeddings.base import BaseEmbedding

from isolation.access import UNRESTRICTED, restricted_to
from isolation.identity import Identity
from isolation.tenant_id import tenant_id
from rag.background import LoopThread
from rag.llama_index.port import BoundKnowledge
from rag.sdk import TenantClient
from serving.embedded.core import open_core, runtime_without_engine
from serving.embedded.library import Library
from serving.engine.launch import free_port
from serving.gateway.app import create_app
from serving.settings import Settings

NAMES = ("acme", "birch")
FACTS = {"acme": "30 days", "birch": "14 days"}
QUESTION = "How many days for returns?"


class Sessions:
    """An application's sessions: whose a token is stands in a dictionary."""

    known: ClassVar = {
        **{f"session-of-{name}": (name, UNRESTRICTED) for name in NAMES},
        "session-of-a-guest": ("acme", restricted_to(["public"])),
    }

    async def verify(self, credential: str) -> Identity | None:
        if credential not in self.known:
            return None
        tenant, access = self.known[credential]
        return Identity(tenant=tenant, tier="business", credential_id="session", access=access)


@contextmanager
def library(
    folder: Path, embedding: BaseEmbedding | None = None
) -> Generator[Library[str], None, None]:
    with Library(folder / "library", Sessions(), embedding=embedding) as opened:
        yield opened


@contextmanager
def gateway(folder: Path) -> Generator[tuple[str, dict[str, str]], None, None]:
    """The real application on a loopback port: its URL, and a key of each tenant."""
    loop = LoopThread()
    opening = open_core(Settings(data_dir=folder / "gateway"))
    core = loop.run(opening.__aenter__())
    port = free_port()
    app = create_app(runtime_without_engine(core))
    config = uvicorn.Config(app, port=port, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    serving = threading.Thread(target=lambda: loop.run(server.serve()))

    async def keys() -> dict[str, str]:
        found = {}
        for name in NAMES:
            await core.registry.add(core.operator, tenant_id(name), "business")
            found[name] = (await core.registry.issue_key(core.operator, tenant_id(name))).text
        return found

    issued = loop.run(keys())
    serving.start()
    while not server.started:
        assert serving.is_alive()
    try:
        yield f"http://127.0.0.1:{port}", issued
    finally:
        server.should_exit = True
        serving.join()
        loop.run(opening.__aexit__(None, None, None))
        loop.close()


@contextmanager
def knowledge(kind: str, folder: Path) -> Iterator[dict[str, BoundKnowledge]]:
    """Both tenants' bound knowledge bases, empty."""
    if kind == "in this process":
        with library(folder) as opened:
            yield {name: opened.authenticate(f"session-of-{name}") for name in NAMES}
        return
    with gateway(folder) as (url, keys):
        clients = {name: TenantClient(url, key) for name, key in keys.items()}
        yield dict(clients)
        for client in clients.values():
            client.close()


def texts(nodes: Any) -> str:
    return " ".join(node.node.get_content() for node in nodes)
