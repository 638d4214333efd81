"""The tenant's predicate, looked for in what was sent: in every filter of every request body."""

from __future__ import annotations

from typing import Any

from tests.rag.loopback.server import Seen


def unscoped(seen: list[Seen], tenant: str) -> list[str]:
    """Where the predicate is missing, as `ROUTE place`; empty when it is everywhere."""
    return [
        f"{one.path.split('/', 3)[-1]} {place}"
        for one in seen
        if "/points" in one.path or one.path.endswith("/facet")
        for place in _places(one.path, one.body, tenant)
    ]


def _places(path: str, body: Any, tenant: str) -> list[str]:
    """Every filter that a body of this route has to have, and every one that it has."""
    if path.endswith("/points/batch"):
        return [
            f"{name}.{place}"
            for operation in body["operations"]
            for name, one in operation.items()
            for place in _filters(one, ["filter"], tenant)
        ]
    if path.endswith("/points"):
        foreign = [p for p in body["points"] if p["payload"].get("tenant_id") != tenant]
        return [*(["payload"] if foreign else []), *_filters(body, ["update_filter"], tenant)]
    if path.endswith("/query"):
        return [*_filters(body, ["filter"], tenant), *_legs(body, tenant)]
    return _filters(body, ["filter"], tenant)


def _legs(body: Any, tenant: str) -> list[str]:
    missing: list[str] = []
    for leg in body["prefetch"]:
        name = leg["using"]
        missing += [f"{name}.{place}" for place in _filters(leg, ["filter"], tenant)]
        if isinstance(leg["query"], dict):
            idf = (leg.get("params") or {}).get("idf") or {}
            missing += [f"{name}.{place}" for place in _filters(idf, ["corpus"], tenant)]
        missing += [
            f"{name}.{place}" for place in _legs({"prefetch": leg.get("prefetch") or []}, tenant)
        ]
    return missing


def _filters(body: Any, names: list[str], tenant: str) -> list[str]:
    return [name for name in names if not holds(body.get(name), tenant)]


def holds(condition: Any, tenant: str) -> bool:
    """Whether all that the filter lets through is the tenant's: its predicate is a `must`, or a
    `must` of a `must`; one in a `should` or a `must_not` is none."""
    if not isinstance(condition, dict):
        return False
    if condition.get("key") == "tenant_id":
        return (condition.get("match") or {}).get("value") == tenant
    required = condition.get("must") or []
    return any(
        holds(one, tenant) for one in (required if isinstance(required, list) else [required])
    )
