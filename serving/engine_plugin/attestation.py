"""The scheduler process says itself what is in force there, as `/server_info` shows."""

from __future__ import annotations

from typing import Any

from serving.engine_plugin import cpu_linear, hooks
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
        "kernels": _kernels(scheduler.tp_worker.model_runner),
    }


def _kernels(runner: Any) -> dict[str, Any]:
    """What computes in this process: classes by name. rounded: layers with weights of eight bits
    when decoding."""
    from sglang.srt.platforms import current_platform

    lora = runner.lora_manager and runner.lora_manager.lora_backend
    return {
        "platform": type(current_platform).__name__,
        "attention": type(runner.attn_backend).__name__,
        "lora": type(lora).__name__ if lora else None,
        "rounded": cpu_linear.rounded_layers(runner.model),
    }
