"""The connection to a Qdrant server: calls with a limit in time, and errors that tell nothing."""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import stamina
from grpc import StatusCode
from grpc.aio import AioRpcError
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from rag.errors import StoreError, StoreUnavailableError

T = TypeVar("T")
_ATTEMPTS, _FIRST_WAIT, _LONGEST_WAIT = 3, 0.05, 0.5
_LONGEST_RETRY_AFTER = 60
# A cluster agrees on a new shard, or a tenant's every point is deleted.
MANAGE_SECONDS = 120
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_PASSING_GRPC = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.INTERNAL,
        StatusCode.ABORTED,
        StatusCode.CANCELLED,
        StatusCode.UNKNOWN,
    }
)
_REFUSED_GRPC = frozenset({StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED})


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server is, and how to speak to it. The key is in no text of this object.

    timeout: seconds that one call may take, all of it.
    """

    url: str
    api_key: str | None = None
    timeout: float = 10.0
    prefer_grpc: bool = False
    grpc_port: int = 6334

    def __repr__(self) -> str:
        return "ServerAddress()"


class Connection:
    """A client whose every call goes through `read` or `write`."""

    def __init__(self, client: AsyncQdrantClient, timeout: float) -> None:
        self.client = client
        self._timeout = timeout
        self._calls: set[asyncio.Event] = set()
        self._closing = False

    @classmethod
    def to(cls, address: ServerAddress) -> Connection:
        """A connection; nothing is sent yet."""
        with warnings.catch_warnings():
            # Whether the way to the server is private is the operator's to know
            # (docs/qdrant-server.md); the library warns inside private networks too.
            warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
            client = AsyncQdrantClient(
                url=address.url,
                api_key=address.api_key,
                timeout=math.ceil(address.timeout),
                prefer_grpc=address.prefer_grpc,
                grpc_port=address.grpc_port,
                # A thread that sends a request of its own; the version is checked at open.
                check_compatibility=False,
            )
        return cls(client, address.timeout)

    async def read(self, call: Callable[[], Awaitable[T]]) -> T:
        """One read, again after a short wait if the server was not there; three times at most, and
        no longer than a call may take.

        Raises:
            StoreUnavailableError: no answer in time, or none that can be understood.
            StoreError: the server refuses the request.
        """
        attempts = stamina.retry_context(
            on=StoreUnavailableError,
            attempts=_ATTEMPTS,
            timeout=self._timeout,
            wait_initial=_FIRST_WAIT,
            wait_max=_LONGEST_WAIT,
            wait_jitter=_FIRST_WAIT,
        )
        async for attempt in attempts:
            with attempt:
                return await self.write(call)
        raise AssertionError("unreachable")

    async def write(self, call: Callable[[], Awaitable[T]]) -> T:
        """One call, once: whether a write that failed was done is not known.

        Raises:
            StoreUnavailableError: no answer in time, or none that can be understood.
            StoreError: the server refuses the request.
        """
        return await self._once(call, self._timeout)

    async def _once(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        if self._closing:
            raise StoreUnavailableError
        self._calls.add(running := asyncio.Event())
        try:
            return await self._timed(call, seconds)
        finally:
            running.set()
            self._calls.discard(running)

    async def _timed(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        try:
            # The client's own limit is by silence; this one is by the clock.
            async with asyncio.timeout(seconds):
                return await call()
        except TimeoutError:
            raise StoreUnavailableError from None
        except (ApiException, QdrantException, AioRpcError) as error:
            # Their texts quote what the server says, and with it the request.
            raise _translated(error) from None
        except (ValueError, AssertionError):
            # An answer that is no JSON, or that lacks its result.
            raise StoreUnavailableError from None

    async def manage(self, call: Callable[[], Awaitable[T]]) -> T:
        """One call that makes, moves or clears away; it may take `MANAGE_SECONDS`, which the call
        tells the client too.

        Raises:
            StoreUnavailableError: no answer in time, or none that can be understood.
            StoreError: the server refuses the request.
        """
        return await self._once(call, MANAGE_SECONDS)

    async def close(self) -> None:
        """Refuse new calls, wait for those that run, and close all sockets."""
        self._closing = True
        # Each ends in its own time. A client that is closed while a call of it connects would leave
        # that socket open.
        for call in list(self._calls):
            await call.wait()
        await self.client.close()


def _translated(error: Exception) -> StoreError:
    match error:
        case ResourceExhaustedResponse():
            return StoreUnavailableError(min(error.retry_after_s, _LONGEST_RETRY_AFTER))
        case UnexpectedResponse():
            return _of_status(error.status_code)
        case AioRpcError():
            return _of_grpc(error.code())
        case ResponseHandlingException() | QdrantException():
            return StoreUnavailableError()
        case _:
            return StoreError("The vector store failed.")


def _of_status(status: int | None) -> StoreError:
    if status in _PASSING:
        return StoreUnavailableError()
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return _refused()
    return StoreError(f"The vector store refused a request (status {status}).")


def _of_grpc(code: StatusCode) -> StoreError:
    if code in _PASSING_GRPC:
        return StoreUnavailableError()
    if code in _REFUSED_GRPC:
        return _refused()
    return StoreError(f"The vector store refused a request ({code.name.lower()}).")


def _refused() -> StoreError:
    return StoreError("The Qdrant server refuses the key. Check BULKHEAD_QDRANT_API_KEY.")
