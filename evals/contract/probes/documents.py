"""Foreign documents by id: read, listed, deleted, overwritten."""

from __future__ import annotations

from urllib.parse import quote

import httpx

from evals.contract.checks import Checks
from evals.contract.planting import Plant, document_path, planted, put
from evals.contract.target import Pair, Tenant, results

_UNKNOWN = "verify-no-such-document"


async def probe(pair: Pair, checks: Checks) -> None:
    """An id of another tenant is an id that does not exist."""
    async with planted(pair) as plants:
        for victim, attacker in pair.directions:
            theirs = plants[victim.name]
            if not await _owner_has_it(victim, theirs, checks):
                continue
            for method in ("GET", "DELETE"):
                await _is_unknown(attacker, method, theirs.own_id, checks)
            await _is_not_listed(victim, attacker, theirs, checks)
            await _is_not_overwritten(victim, theirs, plants[attacker.name], checks)
            await _survives(victim, attacker, theirs, checks)
            # As it was, for the other direction.
            await put(attacker, theirs.shared_id, plants[attacker.name].text(theirs.shared_id))


async def _owner_has_it(victim: Tenant, theirs: Plant, checks: Checks) -> bool:
    reply = await victim.send("GET", document_path(theirs.own_id))
    found = reply.status_code == 200
    return checks.control("the owner reads its document", found, f"status {reply.status_code}")


async def _is_unknown(attacker: Tenant, method: str, document_id: str, checks: Checks) -> None:
    unknown = await attacker.send(method, document_path(_UNKNOWN))
    told = unknown.status_code == 404 and '"document_not_found"' in unknown.text
    seen = f"status {unknown.status_code}"
    if not checks.control(f"{method} of an unknown document is document_not_found", told, seen):
        return
    foreign = await attacker.send(method, document_path(document_id))
    checks.boundary(
        f"{method} of a foreign document answers as of an unknown one",
        _said(foreign, document_id) == _said(unknown, _UNKNOWN),
        f"{foreign.status_code} for a foreign, {unknown.status_code} for an unknown id",
    )


def _said(reply: httpx.Response, document_id: str) -> tuple[int, str, str]:
    kind = reply.headers.get("content-type", "")
    return reply.status_code, kind, reply.text.replace(document_id, "")


async def _is_not_listed(victim: Tenant, attacker: Tenant, theirs: Plant, checks: Checks) -> None:
    # A list may come in pages: this one begins right before the document.
    path = f"/v1/documents?after={quote(theirs.own_id[:-1], safe='')}"
    own, foreign = await victim.send("GET", path), await attacker.send("GET", path)
    checks.control("the owner's list holds its document", theirs.own_id in own.text)
    checks.boundary(
        "a list holds no foreign document", theirs.own_id not in foreign.text, "a foreign id"
    )


async def _is_not_overwritten(victim: Tenant, theirs: Plant, others: Plant, checks: Checks) -> None:
    """Both have posted a document of the same id: each to itself."""
    own = await _holding(theirs.secret, victim, theirs.question)
    foreign = await _holding(others.secret, victim, theirs.question)
    # Both contents under one id: a search that leaks, which is another probe's finding.
    checks.boundary(
        "posting a document leaves a foreign one of the same id alone",
        theirs.shared_id not in foreign - own,
        "foreign content in the place of the owner's",
    )


async def _survives(victim: Tenant, attacker: Tenant, theirs: Plant, checks: Checks) -> None:
    """The attacker deletes and replaces its own documents of the same ids."""
    before = await victim.send("GET", document_path(theirs.shared_id))
    both = {theirs.shared_id, theirs.own_id}
    found = await _holding(theirs.secret, victim, theirs.question)
    seen = f"{len(found)} of 2 documents"
    if not checks.control("the owner finds both its documents", found == both, seen):
        return
    await attacker.send("DELETE", document_path(theirs.shared_id))
    gone = await attacker.send("GET", document_path(theirs.shared_id))
    checks.control("a tenant deletes its own document", gone.status_code == 404)
    await put(attacker, theirs.shared_id, f"Nothing about the {theirs.topic} lantern.")
    await put(attacker, theirs.own_id, f"Nothing about the {theirs.topic} lantern.")
    after = await victim.send("GET", document_path(theirs.shared_id))
    found = await _holding(theirs.secret, victim, theirs.question)
    checks.boundary(
        "deleting and replacing one's own document leaves a foreign one of the same id alone",
        (after.status_code, after.text) == (before.status_code, before.text) and found == both,
        f"status {after.status_code}, {len(found)} of 2 documents with their content",
    )


async def _holding(secret: str, tenant: Tenant, question: str) -> set[str]:
    """The ids of what the tenant finds with the secret in it."""
    found = results(await tenant.send("POST", "/v1/search", {"query": question, "top_k": 10}))
    return {str(item.get("document_id")) for item in found if secret in str(item)}
