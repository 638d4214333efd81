"""Keys stay out of the engine's log: SGLang 0.5.23 logs all its arguments at start, keys too."""

from __future__ import annotations

from typing import Any

from serving.engine_plugin import hooks

_TARGET = "sglang.srt.entrypoints.engine._server_args_for_logging"
_SECRETS = ("api_key", "admin_api_key")


def register() -> None:
    """Replace the keys in what is logged.

    Raises:
        MissingTargetError: this SGLang lacks the place.
    """
    hooks.around(_TARGET, ("server_args",), _without_keys)


def _without_keys(original: hooks.Hook, *args: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = original(*args)
    return arguments | {name: "***" for name in _SECRETS if arguments.get(name)}
