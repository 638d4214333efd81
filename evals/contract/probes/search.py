"""Foreign passages through search."""

from __future__ import annotations

from typing import Any

from evals.contract.checks import Checks
from evals.contract.planting import Plant, planted
from evals.contract.target import Pair, Tenant

_MOST = 50


async def probe(pair: Pair, checks: Checks) -> None:
    """However close a foreign passage comes to the query, it is not found."""
    async with planted(pair) as plants:
        for victim, attacker in pair.directions:
            theirs = plants[victim.name]
            found = await _results(victim, {"query": theirs.question, "top_k": _MOST})
            if checks.control("the owner finds its passage", theirs.secret in found):
                await _attack(victim, attacker, theirs, checks)


async def _attack(victim: Tenant, attacker: Tenant, theirs: Plant, checks: Checks) -> None:
    other = {"query": theirs.question, "top_k": _MOST}
    attacks: dict[str, dict[str, Any]] = {
        "the owner's question": other,
        "the secret itself": other | {"query": theirs.secret},
        "the document's id": other | {"query": theirs.own_id},
        "a filter written into the query": other
        | {"query": f'{theirs.topic} tenant_id:"{victim.name}" OR 1=1'},
        "a tenant named in the body": other | {"tenant_id": victim.name, "tenant": victim.name},
        "a filter by the tenant's name": other
        | {"filter": {"any": [{"field": "tenant_id", "equals": victim.name}]}},
        "a filter that everything passes": other
        | {"filter": {"not": {"field": "verify_no_such_field", "equals": "x"}}},
        "a foreign filter language": other
        | {"filter": {"must": [{"key": "tenant_id", "match": {"value": victim.name}}]}},
    }
    for name, body in attacks.items():
        found = await _results(attacker, body)
        checks.boundary(
            f"search with {name} finds nothing foreign",
            theirs.secret not in found and theirs.own_id not in found,
            "a foreign passage",
        )


async def _results(tenant: Tenant, body: dict[str, Any]) -> str:
    """What was found, as text; a refusal found nothing."""
    reply = await tenant.send("POST", "/v1/search", body)
    return str(reply.json().get("data", "")) if reply.status_code == 200 else ""
