"""What adapters are called inside the engine: opaque, unguessable, new at every load.

New, because SGLang remembers what it has unloaded and would load it again for a request that names
it, and because KV that was computed under a name must never meet other weights of the same name
(vllm-project/vllm#42125). Unguessable, because whoever could name one could be served by it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NewType

from isolation.namespaces import length_prefixed
from serving.adapters.ports import AdapterRecord

EngineName = NewType("EngineName", str)


class EngineNames:
    """Derives names with a key that never leaves the gateway."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new(self, record: AdapterRecord) -> EngineName:
        """A name for one load of a version: 64 hexadecimal digits."""
        epoch = secrets.token_hex(16)
        parts = (record.tenant, record.name, str(record.version), record.upload, epoch)
        return EngineName(hmac.new(self._key, length_prefixed(parts), hashlib.sha256).hexdigest())
