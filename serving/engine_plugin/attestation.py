"""The scheduler process says itself what is in force there, as `/server_info` shows."""

from __future__ import annotations

from typing import Any

from serving.engine_plugin import hooks
from serving.engine_plugin.identity import identity

PROTOCOL = 2
SGLANG = "0.5.23"


def register() -> None:
    """Check the version: the hooks are written for one.

    Raises:
        MissingTargetError: SGLang is another one.
    """
    import sglang

    if sglang.__version__ != SGLANG:
        raise hooks.MissingTargetError(f"SGLang is {sglang.__version__}, not {SGLANG}")


def claim(scheduler: Any) -> dict[str, Any]:
    """What this scheduler runs with. A gateway refuses an engine that lacks any of it."""
    me = identity()
    return {
        "protocol": PROTOCOL,
        "worker": me.worker,
        "keys": me.trust.names(),
        "hooks": hooks.in_force(),
        "radix_cache": not scheduler.server_args.disable_radix_cache,
        "budgets": type(scheduler.tree_cache).__name__ == "TenantRadixCache",
        "priority": bool(scheduler.enable_priority_scheduling),
        "lora": bool(scheduler.enable_lora),
        "tokens": scheduler.max_total_num_tokens,
    }
