"""How commands reach the platform: over HTTP, to a running gateway, or to one made in-process.

So every command goes through the same checks as any caller, and there is one way to do a thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from isolation.errors import BulkheadError
from serving.data_folder import gateway_socket, owned
from serving.errors import DataFolderInUseError, StartupError
from serving.key_files import admin_key
from serving.settings import Settings, load_settings

# A large document takes as long as it takes; a gateway that ends closes the connection.
_TIMEOUT = httpx.Timeout(None, connect=10)
_KEY_SECONDS = 3_600


class CallFailedError(BulkheadError):
    """The platform refused a command; the message is the platform's."""

    code = "call_failed"


@asynccontextmanager
async def operator_client(
    settings: Settings, url: str | None = None, *, with_engine: bool = False
) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client with the operator's key: of `url`, the gateway that runs, or one made here.

    Raises:
        StartupError: there is none and none can be made.
    """
    if url is not None:
        key = settings.admin_key
        if key is None:
            raise StartupError("Set BULKHEAD_ADMIN_KEY to the operator's key of that gateway.")
        async with _client(url, key.get_secret_value(), None) as client:
            yield client
        return
    if _gateway_runs(settings):
        socket = httpx.AsyncHTTPTransport(uds=str(gateway_socket(settings.data_dir)))
        async with _client("http://bulkhead", admin_key(settings), socket) as client:
            yield client
        return
    # Here and not above: it brings all the platform's libraries, which takes seconds.
    from serving.cli.in_process import in_process_app

    async with in_process_app(settings, with_engine=with_engine) as app:
        transport = httpx.ASGITransport(app)
        async with _client("http://bulkhead", admin_key(settings), transport) as client:
            yield client


def _gateway_runs(settings: Settings) -> bool:
    try:
        with owned(settings.data_dir):
            return False
    except DataFolderInUseError:
        return True


@asynccontextmanager
async def tenant_client(
    operator: httpx.AsyncClient, tenant: str
) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client with a short-lived key of one tenant, which is revoked at the end."""
    asked = {"tenant_id": tenant, "expires_in_seconds": _KEY_SECONDS}
    issued = await call(operator, "POST", "/admin/v1/keys", json=asked)
    headers = {"Authorization": f"Bearer {issued['api_key']}"}
    client = httpx.AsyncClient(
        base_url=operator.base_url, transport=operator._transport, headers=headers, timeout=_TIMEOUT
    )
    try:
        yield client
    finally:
        await call(operator, "DELETE", f"/admin/v1/keys/{issued['id']}")


async def call(client: httpx.AsyncClient, method: str, path: str, **request: Any) -> dict[str, Any]:
    """One call's JSON.

    Raises:
        CallFailedError: it was refused, or there is no answer.
    """
    try:
        response = await client.request(method, path, **request)
    except httpx.HTTPError:
        raise CallFailedError("The gateway does not answer. Is it still running?") from None
    if response.is_error:
        raise CallFailedError(refusal(response))
    body: dict[str, Any] = response.json()
    return body


def run_as_operator(
    url: str | None, work: Callable[[httpx.AsyncClient], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """The outcome of `work` with the operator's client: what most commands are."""

    async def run() -> dict[str, Any]:
        async with operator_client(load_settings(), url) as client:
            return await work(client)

    return asyncio.run(run())


def refusal(response: httpx.Response) -> str:
    """A refusal as one line, from either of the two error shapes."""
    try:
        body = response.json()
        error = body.get("error", {})
        code = error.get("code") or body.get("code")
        return f"{error.get('message') or body.get('detail')} ({code})"
    except (ValueError, AttributeError):
        return f"The gateway answered {response.status_code}."


def _client(url: str, key: str, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=url, headers=headers, transport=transport, timeout=_TIMEOUT)
