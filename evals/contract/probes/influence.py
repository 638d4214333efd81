"""What one tenant writes changes no answer of another's: no rank, no score, no count.

Poisoning (arXiv 2402.07867): texts that match the victim's question better than its own. Membership
(arXiv 2410.20142): whether somebody else has a document is asked for by its text. Each answer is
compared with itself before and after, so that nothing is left to chance.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from evals.contract.checks import Checks
from evals.contract.planting import Plant, document_path, planted, put
from evals.contract.target import Pair, Tenant, results

_SEARCH = "/v1/search"
_POISONS, _WIDE, _NARROW = 6, 50, 3


async def probe(pair: Pair, checks: Checks) -> None:
    """Both ways: as who writes, and as who is asked."""
    async with planted(pair) as plants:
        for victim, attacker in pair.directions:
            theirs = plants[victim.name]
            if await _is_steady(victim, theirs.question, checks):
                await _poisoned(victim, attacker, theirs, checks)
                await _member(victim, attacker, theirs, checks)


async def _is_steady(tenant: Tenant, question: str, checks: Checks) -> bool:
    """Else a changed answer would say nothing."""
    answers = {await _answers(tenant, question) for _ in range(3)}
    return checks.control("the same question has the same answer", len(answers) == 1)


async def _poisoned(victim: Tenant, attacker: Tenant, theirs: Plant, checks: Checks) -> None:
    before = await _answers(victim, theirs.question)
    checks.control("the victim finds its passage", theirs.secret in before)
    lie = f"QX{secrets.token_hex(5).upper()}"
    ids = [f"verify-{secrets.token_hex(6)}" for _ in range(_POISONS)]
    try:
        for number, document_id in enumerate(ids):
            await put(attacker, document_id, f"{theirs.question} It is {lie}, number {number}.")
        own = await _answers(attacker, theirs.question)
        checks.control("the poison works on who planted it", lie in own)
        after = await _answers(victim, theirs.question)
    finally:
        await _remove(attacker, ids)
    checks.boundary(
        "another's documents change no rank, score or count", before == after, "another answer"
    )


async def _member(victim: Tenant, attacker: Tenant, theirs: Plant, checks: Checks) -> None:
    text = f"The {theirs.topic} order {secrets.token_hex(4)} came back twice"
    document_id = f"verify-{secrets.token_hex(6)}"
    before, own_before = await _answers(attacker, text), await _answers(victim, text)
    await put(victim, document_id, text)
    try:
        after, own_after = await _answers(attacker, text), await _answers(victim, text)
    finally:
        await _remove(victim, [document_id])
    checks.control("the owner's own answer tells that it has it", own_before != own_after)
    checks.boundary(
        "an answer does not tell whether another has a document", before == after, "another answer"
    )


async def _answers(tenant: Tenant, question: str) -> str:
    """All that a search says, wide and narrow; results of equal score in an order of our own."""
    said = []
    for top_k in (_NARROW, _WIDE):
        reply = await tenant.send("POST", _SEARCH, {"query": question, "top_k": top_k})
        found = sorted(results(reply), key=_rank)
        # What does not fit is cut by the target: ties at the end are its own.
        shown = found if top_k == _WIDE else [one.get("score") for one in found]
        rest = {name: value for name, value in _body(reply).items() if name != "data"}
        said.append([reply.status_code, shown, rest])
    return json.dumps(said, sort_keys=True)


def _rank(one: dict[str, Any]) -> tuple[float, str]:
    score = one.get("score")
    return -float(score) if isinstance(score, int | float) else 0.0, str(one.get("document_id"))


def _body(reply: Any) -> dict[str, Any]:
    body = reply.json()
    return body if isinstance(body, dict) else {}


async def _remove(tenant: Tenant, ids: list[str]) -> None:
    for document_id in ids:
        await tenant.send("DELETE", document_path(document_id))
