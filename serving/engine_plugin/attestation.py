"""The scheduler process says itself that the plugin's hooks are in force."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

PROTOCOL = 1
_OWNER = "sglang.srt.managers.scheduler_components.internal_state.SchedulerInternalStateController"


def register() -> None:
    """Add the claim to the scheduler's state, which `/server_info` shows.

    Raises:
        AttributeError: this SGLang lacks the place.
    """
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    module, _, owner = _OWNER.rpartition(".")
    # A missing target is only logged by SGLang.
    getattr(importlib.import_module(module), owner).get_internal_state  # noqa: B018
    HookRegistry.register(f"{_OWNER}.get_internal_state", _with_claim, HookType.AROUND)


def _with_claim(original: Callable[..., Any], controller: Any, *args: Any, **kwargs: Any) -> Any:
    output = original(controller, *args, **kwargs)
    output.internal_state["bulkhead"] = {
        "protocol": PROTOCOL,
        "radix_cache": not controller.scheduler.server_args.disable_radix_cache,
    }
    return output
