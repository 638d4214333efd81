"""The time to the first token through a running gateway, with masking and without."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

_OFF = {"default": "off"}
_POLICIES: dict[str, dict[str, Any]] = {
    "without": {"user": _OFF, "documents": _OFF, "output": _OFF},
    "with": {"user": {}, "documents": {}, "output": {}},
}
_TEXT = (
    "Returns are taken back within 30 days. Maria Lopez, 24 Elm Street in Denver, answers on "
    "+1 303 555 0100 or at returns@example.com, and says when the money for a return comes."
)
# Nothing of them is masked. What is masked becomes the same placeholders each time, and a question
# that begins with it would be a prefix that the engine has already.
_GOODS = (
    *("kettle", "lamp", "tent", "rope", "jacket", "stove", "charger", "mirror", "helmet", "basket"),
    *("blanket", "speaker", "ladder", "bottle", "wallet", "pillow", "scooter", "teapot", "hammock"),
)
_QUESTION = (
    "It is about a {2}: I am Ada Lind, order {0}, and I live at 7 Elm Street in Denver, CO 80279. "
    "How many days do I have for returns, and who answers me? Call me on +1 303 555 {1:04}."
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where it is, and its operator's key."""

    url: str
    admin_key: str


async def measure(gateway: Gateway, requests: int) -> dict[str, Any]:
    """Two tenants of one gateway, asked by turns, alike but for the policy; each question is new.

    Raises:
        httpx.HTTPError: it does not answer.
    """
    spent: dict[str, list[float]] = {name: [] for name in _POLICIES}
    async with _tenants(gateway) as keys, httpx.AsyncClient(base_url=gateway.url, timeout=300) as c:
        for number in range(requests + 2):
            for name in _order(number):
                took = await _first(c, keys[name], number)
                if number >= 2:  # the first two warm it up
                    spent[name].append(took * 1000)
    p50 = {name: round(statistics.median(times), 1) for name, times in spent.items()}
    ratios = [a / b for a, b in zip(spent["with"], spent["without"], strict=True)]
    return {
        "requests_of_each": requests,
        "p50_ms": p50,
        "ratio_of_p50": round(p50["with"] / p50["without"], 3),
        "median_of_paired_ratios": round(statistics.median(ratios), 3),
    }


def _order(number: int) -> list[str]:
    return list(_POLICIES) if number % 2 else list(reversed(_POLICIES))


@asynccontextmanager
async def _tenants(gateway: Gateway) -> AsyncGenerator[dict[str, str], None]:
    """A key of each of two new tenants; they are deleted afterwards."""
    headers = {"Authorization": f"Bearer {gateway.admin_key}"}
    names = {name: f"bench-{secrets.token_hex(4)}" for name in _POLICIES}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=300) as client:
        try:
            yield {name: await _tenant(client, names[name], _POLICIES[name]) for name in names}
        finally:
            for tenant in names.values():
                await client.delete(f"/admin/v1/tenants/{tenant}")


async def _tenant(client: httpx.AsyncClient, name: str, policy: dict[str, Any]) -> str:
    body = {"id": name, "tier": "business"}
    (await client.post("/admin/v1/tenants", json=body)).raise_for_status()
    issued = (await client.post("/admin/v1/keys", json={"tenant_id": name})).raise_for_status()
    key = str(issued.json()["api_key"])
    (await client.put(f"/admin/v1/policies/{name}", json=policy)).raise_for_status()
    await asyncio.sleep(2.5)  # a policy holds after two seconds, at the latest
    document = {"id": "returns", "title": "Returns", "text": _TEXT}
    headers = {"Authorization": f"Bearer {key}"}
    (await client.post("/v1/documents", json=document, headers=headers)).raise_for_status()
    return key


async def _first(client: httpx.AsyncClient, key: str, number: int) -> float:
    """Seconds until the first text of an answer."""
    goods = ", a ".join(secrets.SystemRandom().sample(_GOODS, 3))
    asked = _QUESTION.format(secrets.token_hex(4), number, goods)
    body = {"model": "base", "messages": [{"role": "user", "content": asked}], "stream": True}
    headers = {"Authorization": f"Bearer {key}"}
    begun = time.perf_counter()
    first = 0.0
    async with client.stream(
        "POST", "/v1/chat/completions", json=body | {"max_tokens": 4}, headers=headers
    ) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if not first and '"content":"' in line and '"content":""' not in line:
                first = time.perf_counter() - begun
    return first or time.perf_counter() - begun
