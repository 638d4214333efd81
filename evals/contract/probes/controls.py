"""The engine's controls and the tenant itself, named by a caller."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from evals.contract.checks import Checks
from evals.contract.conversation import chat, chat_body
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
    "tenant": "x",
    # A control hidden among options that are OpenAI's; the first are as in an honest stream.
    "stream_options": {"include_usage": True, "continuous_usage_stats": True, "cache_salt": "x"},
}
_BOTH = (False, True)
_CHAT = "/v1/chat/completions"
_HEADERS = ("X-Tenant-Id", "X-Tenant", "X-Bulkhead-Tenant", "X-Forwarded-User", "X-Cache-Salt")
_FOREIGN = "a foreign document"


async def probe(pair: Pair, checks: Checks) -> None:
    """What the platform decides cannot be said by a caller, in the body, a header or the URL."""
    for tenant in (pair.a, pair.b):
        plain = [await tenant.send("POST", _CHAT, chat_body("Hello", stream=s)) for s in _BOTH]
        answered = all(reply.status_code == 200 for reply in plain)
        if checks.control("a chat without controls is answered", answered):
            for name, value in _CONTROLS.items():
                await _is_refused(tenant, name, value, checks)
    async with planted(pair) as plants:
        for victim, attacker in pair.directions:
            await _has_no_effect(victim, attacker, plants[victim.name], checks)


async def _is_refused(tenant: Tenant, name: str, value: Any, checks: Checks) -> None:
    body = chat_body("Hello", stream=name == "stream_options", **{name: value})
    reply = await tenant.send("POST", _CHAT, body)
    checks.boundary(
        f"the parameter {name} is refused",
        reply.status_code == 400 and "parameter_not_allowed" in reply.text,
        f"status {reply.status_code}",
    )


async def _has_no_effect(victim: Tenant, attacker: Tenant, theirs: Plant, checks: Checks) -> None:
    own = await _found(victim, theirs, {}, "")
    if not checks.control("the owner lists and finds its document", own == [True, True]):
        return
    # Compared with no header at all: a search that leaks anyway is another probe's finding.
    plain = await _found(attacker, theirs, {}, "")
    for header in _HEADERS:
        seen = await _found(attacker, theirs, {header: victim.name}, "")
        checks.boundary(f"the header {header} has no effect", seen == plain, _FOREIGN)
    for name in ("tenant", "tenant_id"):
        seen = await _found(attacker, theirs, {}, f"?{name}={quote(victim.name)}")
        checks.boundary(f"{name} in the URL has no effect", seen == plain, _FOREIGN)
    answer = await chat(attacker, theirs.question, headers=dict.fromkeys(_HEADERS, victim.name))
    checks.boundary(
        "no header has an effect on a chat",
        theirs.secret not in answer.raw and theirs.own_id not in answer.raw,
        _FOREIGN,
    )


async def _found(
    tenant: Tenant, theirs: Plant, headers: dict[str, str], parameters: str
) -> list[bool]:
    """Whether the list, and whether a search, shows the document."""
    query = {"query": theirs.question, "top_k": 50}
    listed = await tenant.send("GET", f"/v1/documents{parameters}", headers=headers)
    found = await tenant.send("POST", f"/v1/search{parameters}", query, headers)
    return [theirs.own_id in reply.text for reply in (listed, found)]
