"""A token for one collection, as a Qdrant server with `service.jwt_rbac` takes it.

HS256, signed with the server's API key (https://qdrant.tech/documentation/guides/security/).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time


def collection_token(api_key: str, collection: str, seconds: int) -> str:
    """Reads and writes the points of `collection`, and nothing else, for so long."""
    claims = {
        "exp": int(time.time()) + seconds,
        "access": [{"collection": collection, "access": "rw"}],
    }
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    digest = hmac.new(api_key.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64(digest)}"


def _part(value: dict[str, object]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
