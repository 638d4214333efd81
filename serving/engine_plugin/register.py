"""SGLang's entry point `sglang.srt.plugins`: called once in each of the engine's processes.

SGLang logs a plugin's failure and goes on without it, and its prefix cache works without it too. So
the process ends when anything is missing, the scheduler's process attests what is in force, and a
gateway refuses an engine that does not (`serving.engine.probe`).
"""

from __future__ import annotations

from serving.engine_plugin import (
    admission,
    attestation,
    bindings,
    budgets,
    chunks,
    control,
    cpu_linear,
    cpu_registry,
    forking,
    front,
    grammars,
    hooks,
    lora_scrub,
    metering,
    public_prefix,
    redaction,
    scrub,
)
from serving.engine_plugin.identity import identity

_PARTS = (
    attestation,
    bindings,
    redaction,
    front,
    admission,
    control,
    budgets,
    chunks,
    grammars,
    scrub,
    metering,
    public_prefix,
    lora_scrub,
    cpu_linear,
    cpu_registry,
    forking,
)


def register() -> None:
    """Register all hooks, or end the process: an engine without them must not serve."""
    try:
        identity()
        for part in _PARTS:
            part.register()
    except BaseException:
        hooks.refuse_to_serve()
