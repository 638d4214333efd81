"""What adapters are called inside the engine: opaque, unguessable, new at every load.

New, because SGLang remembers what it has unloaded and would load it again for a request that names
it, and because KV that was computed under a name must never meet other weights of the same name
(vllm-project/vllm#42125). Unguessable, because whoever could name one could be served by it.

The second half of a name says which gateway loaded it, to those that have the key and to nobody
else: gateways that share an engine leave each other's adapters alone.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import NewType

from isolation.namespaces import length_prefixed
from serving.adapters.ports import AdapterRecord

EngineName = NewType("EngineName", str)

# Hexadecimal digits of each half: 128 bits.
_HALF = 32


class EngineNames:
    """Derives names with a key that never leaves the gateways. `owner`: this gateway's own id."""

    def __init__(self, key: bytes, owner: str = "") -> None:
        self._key = key
        self.owner = owner

    def new(self, record: AdapterRecord) -> EngineName:
        """A name for one load of a version: 64 hexadecimal digits."""
        epoch = secrets.token_hex(16)
        load = self._half(
            ("load", record.tenant, record.name, str(record.version), record.upload, epoch)
        )
        return EngineName(load + self._mark(self.owner, load))

    def is_of(self, owner: str, name: str) -> bool:
        """Whether the gateway of this id made the name."""
        return hmac.compare_digest(name[_HALF:].encode(), self._mark(owner, name[:_HALF]).encode())

    def _mark(self, owner: str, load: str) -> str:
        return self._half(("owner", owner, load))

    def _half(self, parts: Sequence[str]) -> str:
        return hmac.new(self._key, length_prefixed(parts), hashlib.sha256).hexdigest()[:_HALF]
