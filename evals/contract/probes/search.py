"""Foreign passages through search."""

from __future__ import annotations

from typing import Any

import httpx

from evals.contract.checks import Checks
from evals.contract.planting import Plant, planted
from evals.contract.target import Pair, Tenant, results

_MOST = 50
_SEARCH = "/v1/search"


async def probe(pair: Pair, checks: Checks) -> None:
    """However close a foreign passage comes to the query, it is not found."""
    async with planted(pair) as plants:
        for victim, attacker in pair.directions:
            theirs = plants[victim.name]
            reply = await victim.send("POST", _SEARCH, {"query": theirs.question, "top_k": _MOST})
            found = reply.status_code == 200 and theirs.secret in reply.text
            if checks.control("the owner finds its passage", found, f"status {reply.status_code}"):
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
        reply = await attacker.send("POST", _SEARCH, body)
        said = _said(
            reply, telling=theirs.secret in body["query"] or theirs.own_id in body["query"]
        )
        checks.boundary(
            f"search with {name} finds nothing foreign",
            theirs.secret not in said and theirs.own_id not in said,
            f"status {reply.status_code} with a foreign passage",
        )


def _said(reply: httpx.Response, *, telling: bool) -> str:
    """All that came, counts and errors too. Where the query itself tells what is looked for, the
    results alone: an answer that repeats its query is no leak."""
    return str(results(reply)) if telling else reply.text
