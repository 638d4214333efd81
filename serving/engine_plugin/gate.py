"""The engine's door: an ASGI layer around SGLang's application. What no proof names is denied.

GET  /health, /health_generate, /ready   open, as a load balancer needs them
GET  /metrics                            a key of the engine, as Prometheus can send one
GET  /bulkhead/v1/worker                 the worker's id; SGLang asks for its key
POST /v1/chat/completions                a tenant's proof, for exactly this body
anything else                            an operator's proof, for exactly this request
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

from serving.engine_plugin.body import check_body
from serving.engine_plugin.claims import CHAT_ROUTE, HEADER, OPERATOR, TENANT, Claims
from serving.engine_plugin.cost_report import with_cost
from serving.engine_plugin.identity import OWN_NAMESPACE
from serving.engine_plugin.ledger import Ledger
from serving.engine_plugin.verifier import ProofRefusedError, Verifier

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
OperatorRoute = Callable[[bytes], Awaitable[dict[str, Any]]]

_OPEN = frozenset(("/health", "/health_generate", "/ready"))
_MOST_BYTES = 8_000_000
# SGLang takes parameters from some headers: it gets those that it needs, and no other.
_HEADERS = frozenset((b"host", b"content-type", b"content-length", b"authorization", b"accept"))
_EXACT_ID = frozenset("0123456789abcdef")

# The proof that the request being served came with. None: it came without, as health checks do.
current_proof: ContextVar[str | None] = ContextVar("current_proof", default=None)
# The namespace of a request that the engine makes to itself.
own_request: ContextVar[str | None] = ContextVar("own_request", default=None)


class Gate:
    """Lets a request through to `app` if its proof does.

    keys: any of them reads the metrics. routes: the plugin's own operator routes. costs: where
    those of ended requests are.
    """

    def __init__(
        self,
        app: App,
        *,
        verifier: Verifier,
        worker: Mapping[str, Any],
        keys: tuple[str, ...],
        routes: Mapping[str, OperatorRoute],
        costs: Ledger,
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._worker = dict(worker)
        self._keys = [f"Bearer {key}".encode() for key in keys]
        self._routes = routes
        self._costs = costs
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.loop = asyncio.get_running_loop()
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                await self._http(scope, receive, send)
            except ProofRefusedError as error:
                await _answer(send, 403, {"error": {"code": error.code}})
        # Anything else, web sockets for one, is not even answered.

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] in _HEADERS]
        method, path = scope["method"], scope["path"]
        if method == "GET" and path in _OPEN:
            own_request.set(OWN_NAMESPACE)
            await self._app(scope, receive, send)
        elif method == "GET" and path == "/metrics":
            self._check_key(headers)
            await self._app(scope, receive, send)
        elif method == "GET" and path == "/bulkhead/v1/worker":
            await _answer(send, 200, self._worker)
        else:
            await self._proven(scope, headers, receive, send)

    def _check_key(self, headers: Mapping[bytes, bytes]) -> None:
        presented = headers.get(b"authorization", b"")
        if not any(hmac.compare_digest(presented, key) for key in self._keys):
            raise ProofRefusedError("key_missing")

    async def _proven(
        self,
        scope: MutableMapping[str, Any],
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        proof = headers.get(HEADER.encode(), b"").decode("ascii", errors="replace")
        if not proof:
            raise ProofRefusedError("proof_missing")
        body = await _body(receive)
        route = f"{scope['method']} {_target(scope)}"
        claims = self._verifier.believed(proof)
        _check_request(claims, route, body)
        if claims.role == TENANT:
            current_proof.set(proof)
        own = self._routes.get(route)
        if own is not None:
            await _answer(send, 200, await own(body))
        else:
            if route == CHAT_ROUTE:
                send = with_cost(send, lambda: self._costs.take(claims.request_id))
            await self._app(scope, _replayed(body, receive), send)


def _check_request(claims: Claims, route: str, body: bytes) -> None:
    if claims.route != route or claims.body != hashlib.sha256(body).hexdigest():
        raise ProofRefusedError("proof_inconsistent")
    if route == CHAT_ROUTE:
        if claims.role != TENANT:
            raise ProofRefusedError("proof_inconsistent")
        check_body(body, claims)
    elif claims.role != OPERATOR:
        raise ProofRefusedError("proof_inconsistent")
    if route.startswith("POST /abort_request"):
        _check_abort(body)


def _check_abort(body: bytes) -> None:
    """SGLang aborts by prefix: only a whole request id is one request's."""
    try:
        asked = json.loads(body)
    except ValueError:
        raise ProofRefusedError("body_refused") from None
    rid = asked.get("rid") if isinstance(asked, dict) and set(asked) == {"rid"} else None
    if not isinstance(rid, str) or len(rid) != 32 or not _EXACT_ID.issuperset(rid):
        raise ProofRefusedError("body_refused")


def _target(scope: MutableMapping[str, Any]) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ProofRefusedError("body_refused")
        body += message.get("body", b"")
        if len(body) > _MOST_BYTES:
            raise ProofRefusedError("body_refused")
        if not message.get("more_body"):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` that gives the body once more, and then what the server says."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _answer(send: Send, status: int, content: Mapping[str, Any]) -> None:
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
