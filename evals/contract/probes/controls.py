"""The engine's controls and the tenant itself, named by a caller."""

from __future__ import annotations

from typing import Any

from evals.contract.checks import Checks
from evals.contract.conversation import chat_body
from evals.contract.planting import Plant, planted
from evals.contract.target import Pair, Tenant

# SGLang's request fields that choose a namespace, an adapter, a priority or a foreign request.
_CONTROLS: dict[str, Any] = {
    "cache_salt": "x",
    "extra_key": "x",
    "rid": "x",
    "priority": 100,
    "lora_path": "x",
    "session_params": {"id": "x"},
    "input_ids": [1, 2, 3],
    "custom_params": {"x": 1},
    "custom_logit_processor": "x",
    "return_hidden_states": True,
    "bootstrap_host": "127.0.0.1",
    "data_parallel_rank": 0,
    "chat_template_kwargs": {"x": 1},
    "tenant_id": "x",
}
_CHAT = "/v1/chat/completions"
_HEADERS = ("X-Tenant-Id", "X-Tenant", "X-Bulkhead-Tenant", "X-Forwarded-User", "X-Cache-Salt")


async def probe(pair: Pair, checks: Checks) -> None:
    """What the platform decides cannot be said by a caller, in the body, a header or the URL."""
    for tenant in (pair.a, pair.b):
        plain = await tenant.send("POST", _CHAT, chat_body("Hello"))
        if checks.control("a chat without controls is answered", plain.status_code == 200):
            for name, value in _CONTROLS.items():
                await _is_refused(tenant, name, value, checks)
    async with planted(pair) as plants:
        for victim, attacker in pair.directions:
            await _has_no_effect(victim, attacker, plants[victim.name], checks)


async def _is_refused(tenant: Tenant, name: str, value: Any, checks: Checks) -> None:
    reply = await tenant.send("POST", _CHAT, chat_body("Hello", **{name: value}))
    checks.boundary(
        f"the parameter {name} is refused",
        reply.status_code == 400 and "parameter_not_allowed" in reply.text,
        f"status {reply.status_code}",
    )


async def _has_no_effect(victim: Tenant, attacker: Tenant, theirs: Plant, checks: Checks) -> None:
    own = await victim.send("GET", "/v1/documents")
    if not checks.control("the owner's list holds its document", theirs.own_id in own.text):
        return
    for header in _HEADERS:
        reply = await attacker.send("GET", "/v1/documents", headers={header: victim.name})
        checks.boundary(
            f"the header {header} has no effect", theirs.own_id not in reply.text, "a foreign id"
        )
    for name in ("tenant", "tenant_id"):
        reply = await attacker.send("GET", f"/v1/documents?{name}={victim.name}")
        checks.boundary(
            f"{name} in the URL has no effect", theirs.own_id not in reply.text, "a foreign id"
        )
