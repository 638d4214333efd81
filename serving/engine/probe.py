"""What a gateway must see with its own eyes before it serves through an engine.

SGLang logs a plugin's failure and goes on, and versions 0.5.4 to 0.5.10 ignored the salt silently
(sgl-project/sglang#23300). So each property is probed at start, and an engine without it refused.
"""

from __future__ import annotations

import secrets
from typing import Any

from isolation.context import TenantContext
from isolation.namespaces import Namespace
from serving.engine.client import EngineClient, Job, TokenUsage
from serving.engine_plugin.places import HOOKED
from serving.errors import EngineRefusedError, EngineUnavailableError

ATTESTATION_PROTOCOL = 2
_WITHOUT_PLUGIN = (
    "The engine runs without Bulkhead's plugin, or with another version of it, so nothing is "
    "served through it. Install it with 'bulkhead engine install' and start it with "
    "'bulkhead engine serve'."
)
# What the scheduler must attest beside the protocol.
_REQUIRED = ("radix_cache", "budgets", "priority")
_ADAPTERS = "lora"
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron")


async def probe(engine: EngineClient, ctx: TenantContext, *, adapters: bool = False) -> None:
    """Check every property of the engine that isolation relies on.

    `ctx` is a context of the platform's own probe tenant, which has no data. adapters: whether
    tenants' adapters are served too.

    Raises:
        EngineRefusedError: one is missing; the message says which.
        EngineUnavailableError: the engine does not answer.
    """
    required = (*_REQUIRED, _ADAPTERS) if adapters else _REQUIRED
    _check_attestation(await _info(engine), required)
    await _check_namespaces(engine, ctx)


async def _info(engine: EngineClient) -> dict[str, Any]:
    if not await engine.alive():
        raise EngineUnavailableError
    try:
        await engine.identify()
    except EngineUnavailableError:
        # It answers, and does not know who it is.
        raise EngineRefusedError(_WITHOUT_PLUGIN) from None
    return await engine.server_info()


def _check_attestation(info: dict[str, Any], required: tuple[str, ...]) -> None:
    states = info.get("internal_states") or []
    claims = [state.get("bulkhead") for state in states if isinstance(state, dict)]
    if not claims:
        raise EngineRefusedError(_WITHOUT_PLUGIN)
    for claim in claims:
        if not isinstance(claim, dict) or claim.get("protocol") != ATTESTATION_PROTOCOL:
            raise EngineRefusedError(_WITHOUT_PLUGIN)
        _check_hooks(claim.get("hooks"))
        for name in required:
            if not claim.get(name):
                instead = ", or set BULKHEAD_ADAPTERS=off" if name == _ADAPTERS else ""
                raise EngineRefusedError(
                    f"The engine runs with '{name}' off, on which isolation relies. Start it with "
                    f"'bulkhead engine serve', which sets it{instead}."
                )


def _check_hooks(attested: object) -> None:
    lacking = HOOKED.difference(attested if isinstance(attested, list) else ())
    if lacking:
        raise EngineRefusedError(
            f"The engine runs without a hook that isolation relies on ({min(lacking)}). "
            "Install this version's plugin with 'bulkhead engine install'."
        )


async def _check_namespaces(engine: EngineClient, ctx: TenantContext) -> None:
    text = " ".join(secrets.choice(_WORDS) + secrets.token_hex(2) for _ in range(40))
    own, other = (Namespace(secrets.token_hex(32)) for _ in range(2))
    first = await _cached_tokens(engine, ctx, own, text)
    again = await _cached_tokens(engine, ctx, own, text)
    foreign = await _cached_tokens(engine, ctx, other, text)
    if again == 0:
        raise EngineRefusedError(
            "The engine does not report prefix-cache hits, so namespaces cannot be proven. "
            "Start it with --enable-cache-report and the radix cache on."
        )
    if first or foreign:
        raise EngineRefusedError(
            "The engine shares its prefix cache across namespaces, which would leak between "
            "tenants. Use SGLang 0.5.23."
        )


async def _cached_tokens(
    engine: EngineClient, ctx: TenantContext, namespace: Namespace, text: str
) -> int:
    job = Job(
        request_id=secrets.token_hex(16),
        messages=[{"role": "user", "content": text}],
        max_tokens=1,
        sampling={"temperature": 0},
    )
    usage: TokenUsage | None = None
    async for delta in engine.of(ctx, namespace).stream(job):
        usage = delta.usage or usage
    if usage is None:
        raise EngineRefusedError("The engine reports no token usage. Use SGLang 0.5.23.")
    return usage.cached
