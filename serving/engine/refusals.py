"""What a caller is told of an engine's error: whether to try again, and never SGLang's own words.

They may quote the prompt, or name other tenants' adapters.
"""

from __future__ import annotations

from typing import Any

import orjson

from isolation.errors import InvalidRequestError, RequestRefusedError
from serving.engine_plugin.refusals import KV_RESERVED
from serving.errors import EngineUnavailableError, KvBudgetExceededError

# SGLang's answers to what it will never run. What it will run later has 5xx, 429 or 403.
_FOR_GOOD = frozenset((400, 413, 422))
# SGLang answers with 400 too when an adapter was unloaded just now: it will be loaded again.
_OF_AN_ADAPTER = "LoRA adapter"


def answered(status: int, body: bytes) -> RequestRefusedError:
    """The refusal for an answer that is no stream."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    said = said if isinstance(said, dict) else {}
    return _refusal(status, said.get("error", said), "The engine refused the request.")


def streamed(error: Any) -> RequestRefusedError:
    """The refusal for an error within a stream."""
    status = error.get("code") if isinstance(error, dict) else None
    return _refusal(status, error, "The engine failed on this request.")


def _refusal(status: object, error: Any, temporary: str) -> RequestRefusedError:
    words = str(error.get("message")) if isinstance(error, dict) else ""
    if status not in _FOR_GOOD or _OF_AN_ADAPTER in words:
        return EngineUnavailableError(temporary)
    if words == KV_RESERVED:
        return KvBudgetExceededError()
    return InvalidRequestError(
        "The engine cannot run this request: it is too long for the model, or a parameter has a "
        "value that the engine does not take. Shorten or change it."
    )
