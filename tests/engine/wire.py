"""Raw requests to an engine, with proofs of any kind."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from isolation.namespaces import Namespace
from serving.engine.client import EngineClient
from serving.engine_plugin.claims import CHAT_ROUTE, HEADER, OPERATOR, TENANT, Claims, sign
from serving.engine_plugin.trust import key_id

# Parameters that SGLang 0.5.23 takes from headers (`request_headers.py`, `serving_base.py`,
# `serving_chat.py`), with values that would show.
CONTROLS = {
    "x-smg-routing-key": "stolen",
    "x-data-parallel-rank": "not a number",
    "x-override-rid": "0" * 32,
    "x-override-priority": "not a number",
    "x-override-routed-dp-rank": "not a number",
    "x-override-conversation-id": "stolen",
    "x-sglext-return-input-ids": "1",
    "x-sglext-return-output-ids": "1",
    "x-sglext-ids-framed": "1",
}


def new_namespace() -> Namespace:
    return Namespace(secrets.token_hex(32))


class Wire:
    """Speaks to an engine as somebody who has its key, and perhaps a signing key."""

    def __init__(self, engine: EngineClient, seed: bytes = bytes([1]) * 32) -> None:
        self.engine = engine
        self.key = Ed25519PrivateKey.from_private_bytes(seed)

    def body(self, **changes: Any) -> dict[str, Any]:
        """A chat as the gateway sends it."""
        return {
            "model": "base",
            "messages": [{"role": "user", "content": "Do you sell tents?"}],
            "max_tokens": 2,
            "temperature": 0,
            "stream": False,
            "cache_salt": new_namespace(),
            "rid": secrets.token_hex(16),
            "priority": 0,
        } | changes

    def claims(self, body: bytes, /, **changes: Any) -> Claims:
        """A tenant's claims for a chat."""
        said = orjson.loads(body)
        claims = Claims(
            role=TENANT,
            worker=self.engine._worker or "",
            route=CHAT_ROUTE,
            body=hashlib.sha256(body).hexdigest(),
            request_id=said.get("rid", ""),
            expires=time.time() + 30,
            nonce=secrets.token_hex(16),
            namespace=said.get("cache_salt", ""),
            account="a" * 32,
        )
        return replace(claims, **changes)

    def operator(self, route: str, body: bytes = b"") -> str:
        """An operator's proof."""
        digest = hashlib.sha256(body).hexdigest()
        return self.signed(self.claims(b"{}", role=OPERATOR, route=route, body=digest))

    def signed(self, claims: Claims) -> str:
        return sign(claims, key_id(self.key.public_key()), self.key)

    async def chat(
        self, body: dict[str, Any] | bytes, proof: str | None = None, /, **claims: Any
    ) -> tuple[int, Any]:
        """Status and answer. Without a `proof`, a genuine one is made."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.send(CHAT_ROUTE, data, proof or self.signed(self.claims(data, **claims)))

    async def send(
        self, route: str, body: bytes = b"", proof: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        method, _, path = route.partition(" ")
        if body:
            headers["content-type"] = "application/json"
        if proof is not None:
            headers[HEADER] = proof
        session, url = self.engine._session, f"{self.engine.url}{path}"
        async with session.request(method, url, data=body, headers=headers) as response:
            return response.status, _parsed(await response.read())

    async def open(self, route: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """One of the other routes, as the operator."""
        data = orjson.dumps(body) if body is not None else b""
        return await self.send(route, data, self.operator(route, data))

    async def flush(self) -> None:
        """Empty the prefix cache and forget accounts, once nothing runs."""
        assert (await self.open("POST /flush_cache?timeout=60"))[0] == 200

    async def running(self) -> int:
        """How many requests the engine is generating."""
        status, answer = await self.open("GET /v1/loads?include=core")
        assert status == 200
        return sum(load["num_running_reqs"] for load in answer["loads"])


def code(answer: Any) -> str:
    """The gate's reason, or SGLang's word where it forbids something before the gate does."""
    error = answer["error"]
    return str(error if isinstance(error, str) else error["code"])


def _parsed(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode()


def stranger() -> aiohttp.ClientSession:
    """Somebody without any key."""
    return aiohttp.ClientSession()
