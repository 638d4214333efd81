"""Keys stay out of the engine's log: SGLang 0.5.23 logs all its arguments at start, keys too."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

_MODULE = "sglang.srt.entrypoints.engine"
_FUNCTION = "_server_args_for_logging"
_SECRETS = ("api_key", "admin_api_key")


def register() -> None:
    """Replace the keys in what is logged.

    Raises:
        AttributeError: this SGLang lacks the place.
    """
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    getattr(importlib.import_module(_MODULE), _FUNCTION)
    HookRegistry.register(f"{_MODULE}.{_FUNCTION}", _without_keys, HookType.AROUND)


def _without_keys(original: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    arguments = original(*args)
    return arguments | {name: "***" for name in _SECRETS if arguments.get(name)}
