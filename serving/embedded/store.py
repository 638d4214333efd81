"""The Qdrant server that the settings choose in place of Qdrant Edge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from rag.errors import StoreUnavailableError
from rag.store.placement import OneShard, TenantPlacement
from rag.store.port import VectorStore
from serving.errors import StartupError
from serving.settings import Settings

if TYPE_CHECKING:
    from rag.store.server.generations import ServerGenerations
    from rag.store.server.store import ServerVectorStore


def server_generations(settings: Settings) -> ServerGenerations:
    """The collections on the Qdrant server that the settings name. Nothing is sent yet.

    Raises:
        StartupError: a setting is wrong.
    """
    # Qdrant's client takes seconds to import: whoever has no server goes without.
    from rag.store.server.connection import ServerAddress
    from rag.store.server.generations import ServerGenerations

    assert settings.qdrant_url is not None
    key = settings.qdrant_api_key
    address = ServerAddress(
        url=_checked(settings.qdrant_url),
        api_key=key.get_secret_value() if key is not None else None,
        timeout=settings.qdrant_timeout_seconds,
        prefer_grpc=settings.qdrant_grpc == "on",
        grpc_port=settings.qdrant_grpc_port,
    )
    return ServerGenerations(address, settings.qdrant_collection, settings.qdrant_placement)


@contextmanager
def reached() -> Iterator[None]:
    """What happens in the block needs the server's answer.

    Raises:
        StartupError: it does not answer.
    """
    try:
        yield
    except StoreUnavailableError:
        raise StartupError("No Qdrant server answers at BULKHEAD_QDRANT_URL.") from None


def placement_of(engine: VectorStore, *, on_a_server: bool) -> TenantPlacement:
    """How tenants are placed in it."""
    return cast("ServerVectorStore", engine).placement if on_a_server else OneShard()


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StartupError("BULKHEAD_QDRANT_URL is http://HOST:PORT or https://HOST:PORT.")
    if parts.username or parts.password:
        raise StartupError("The key of the Qdrant server goes into BULKHEAD_QDRANT_API_KEY.")
    return url
