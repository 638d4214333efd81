"""Rollouts over HTTP: what their tests do again and again, for a tenant's `support`."""

from __future__ import annotations

from typing import Any

from tests.gateway.adapter_gateway import Gateway

PATH = "/v1/adapters/support/rollouts"
# Times of a busy machine decide nothing here.
GATES = {
    "minimum_requests": 10,
    "window_requests": 10,
    "window_seconds": 0,
    "ttft_ratio": 100,
    "gap_ratio": 100,
}


async def two_versions(gateway: Gateway, key: str = "key-f", first: int = 1) -> list[str]:
    """Two versions; what each answers."""
    return [await gateway.add(key, seed) for seed in (first, first + 1)]


async def begun(gateway: Gateway, key: str = "key-f", **more: Any) -> dict[str, Any]:
    body = {"candidate": 2, "percent": 50, "gates": GATES} | more
    answer = await gateway.call(key, "POST", PATH, json=body)
    assert answer.status_code == 201, answer.text
    rollout: dict[str, Any] = answer.json()
    return rollout


async def says(gateway: Gateway, conversation: str, key: str = "key-f") -> str:
    return await gateway.answer(key, "support", metadata={"conversation": conversation})


async def conversations(gateway: Gateway, answer: str, count: int = 1) -> list[str]:
    """Conversations that get the version of this answer; each was asked once."""
    found: list[str] = []
    for number in range(200):
        if await says(gateway, f"c{number}") == answer:
            found.append(f"c{number}")
        if len(found) == count:
            return found
    raise AssertionError("no such conversation")


async def newest_of(gateway: Gateway, key: str = "key-f") -> dict[str, Any]:
    shown = (await gateway.call(key, "GET", PATH)).json()["data"][-1]
    assert isinstance(shown, dict)
    return shown
