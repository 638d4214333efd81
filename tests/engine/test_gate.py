"""The door's headers: SGLang takes parameters from some, and gets none of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serving.engine_plugin import gate
from serving.engine_plugin.claims import CHAT_ROUTE, HEADER, TENANT, Claims, sign
from serving.engine_plugin.gate import Gate
from serving.engine_plugin.ledger import Ledger
from serving.engine_plugin.trust import Trust, TrustedKey, key_id, trust_document
from serving.engine_plugin.verifier import Verifier
from tests.engine.wire import CONTROLS

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
BODY = orjson.dumps({"model": "base", "messages": [], "cache_salt": "ns", "rid": "r"})
CLAIMS = Claims(
    role=TENANT,
    worker="w",
    route=CHAT_ROUTE,
    body=hashlib.sha256(BODY).hexdigest(),
    request_id="r",
    expires=0,
    nonce="n",
    namespace="ns",
)
NEEDED = {b"host": b"h", b"content-type": b"application/json", b"accept": b"*/*"}


async def _passed(folder: Path) -> dict[bytes, bytes]:
    """The headers that SGLang sees of a chat with every control in them."""
    seen: dict[bytes, bytes] = {}

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        seen.update(scope["headers"])

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": BODY}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    path = folder / "trust.json"
    path.write_text(trust_document([TrustedKey(KEY.public_key(), frozenset((TENANT,)))]))
    verifier = Verifier(Trust(path, {}), "w")
    door = Gate(app, verifier=verifier, worker={}, keys=(), routes={}, costs=Ledger())
    proof = sign(replace(CLAIMS, expires=time.time() + 30), key_id(KEY.public_key()), KEY)
    asked = {name.encode(): value.encode() for name, value in CONTROLS.items()}
    headers = [*NEEDED.items(), *asked.items(), (HEADER.encode(), proof.encode())]
    method, _, target = CHAT_ROUTE.partition(" ")
    scope = {"type": "http", "method": method, "path": target, "headers": headers}
    await door(scope, receive, send)
    return seen


async def test_sglang_gets_the_headers_that_it_needs_and_no_other(tmp_path: Path) -> None:
    assert await _passed(tmp_path) == NEEDED


async def test_a_door_that_lets_headers_through_is_what_the_test_above_would_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = frozenset(name.encode() for name in CONTROLS)
    monkeypatch.setattr(gate, "_HEADERS", gate._HEADERS | known)
    assert (await _passed(tmp_path)).keys() == NEEDED.keys() | known
