"""`/admin/v1/policies`: what is masked for each tenant, for the operator alone."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from isolation.masking.policy import MaskingPolicy
from isolation.tenant_id import tenant_id
from serving.gateway.dependencies import Operator, Parts, operators

router = APIRouter(prefix="/admin/v1/policies")


@router.get("/{name}")
async def get_policy(name: str, operator: Operator, parts: Parts) -> dict[str, Any]:
    """A tenant's policy; the standard one, if it has no other."""
    return _shown(name, await parts.policies.get(operator, tenant_id(name)))


@router.put("/{name}")
async def set_policy(
    name: str,
    policy: Annotated[MaskingPolicy, Depends(operators(MaskingPolicy))],
    operator: Operator,
    parts: Parts,
) -> dict[str, Any]:
    """Replace a tenant's policy. It holds for requests that begin two seconds later, or sooner."""
    await parts.policies.set(operator, tenant_id(name), policy)
    return _shown(name, policy)


@router.delete("/{name}")
async def reset_policy(name: str, operator: Operator, parts: Parts) -> dict[str, Any]:
    """Take a tenant back to the standard policy."""
    await parts.policies.reset(operator, tenant_id(name))
    return _shown(name, MaskingPolicy())


def _shown(name: str, policy: MaskingPolicy) -> dict[str, Any]:
    return {"object": "masking_policy", "tenant_id": name, **policy.model_dump(mode="json")}
