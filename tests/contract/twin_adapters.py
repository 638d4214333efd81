"""The twin platform's adapters: tight without a fault, and leaking with one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.contract.refusing import RefusedError

ACCEPTS = {
    "base_model": "m",
    "layers": 1,
    "modules": {"q_proj": [4, 4], "v_proj": [4, 4]},
    "rank": 4,
}
_ONE = "/v1/adapters/{reference}"
_NAMED = "/v1/adapters/{name}/rollouts"


@dataclass
class TwinAdapters:
    """has: whether a fault is switched on. tenant_of: whose key a request has."""

    has: Callable[[str], bool]
    tenant_of: Callable[[Request], str]
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    rollouts: dict[tuple[str, str], str] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        if self.has("no adapters are served"):
            return []
        return [
            Route("/v1/adapters", self._list),
            Route("/v1/adapters", self._add, methods=["POST"]),
            Route(_NAMED, self._rollout, methods=["GET", "POST", "DELETE"]),
            Route(_NAMED + "/{step}", self._step, methods=["POST"]),
            Route(_ONE, self._get),
            Route(_ONE, self._delete, methods=["DELETE"]),
        ]

    def models(self, tenant: str) -> list[dict[str, str]]:
        everybody = self.has("adapters: the models are everybody's")
        return [{"id": name} for who, name in self.versions if everybody or who == tenant]

    def cache_of(self, tenant: str, model: str) -> str:
        """The part of the prefix cache that a model's prompts go into."""
        if model == "base" or self.has("adapters: the base model's prefixes are theirs"):
            return ""
        name, _, version = model.partition("@")
        if self.has("adapters: versions share prefixes"):
            return name
        return f"{name}@{version or self.versions[self._owner(tenant, name), name]}"

    def require(self, tenant: str, model: str) -> None:
        """Refuse a model that is not the tenant's."""
        if model == "base":
            return
        name, _, version = model.partition("@")
        owner = tenant
        if self.has("adapters: foreign ones answer"):
            owner = self._owner(tenant, name)
        if self.has("adapters: a version is looked for in all tenants") and version:
            owner = self._of_version(tenant, name, int(version))
        foreign = self._owner(tenant, name) != tenant
        if foreign and self.has("adapters: foreign ones are forbidden, not unknown"):
            raise RefusedError(403, "forbidden")
        if foreign and self.has("adapters: foreign ones are unknown in other words"):
            raise RefusedError(404, "model_not_yours")
        newest = self.versions.get((owner, name), 0)
        if not newest or (version and not 1 <= int(version) <= newest):
            raise RefusedError(404, "model_not_found")

    def _owner(self, tenant: str, name: str) -> str:
        owners = [who for who, known in self.versions if known == name]
        return tenant if tenant in owners or not owners else owners[0]

    def _of_version(self, tenant: str, name: str, version: int) -> str:
        having = [
            who
            for (who, known), newest in self.versions.items()
            if known == name and newest >= version
        ]
        return tenant if tenant in having or not having else having[0]

    async def _list(self, request: Request) -> Response:
        tenant = self.tenant_of(request)
        everybody = self.has("adapters: the list is everybody's")
        rows = [
            {"id": f"{name}@{version}", "name": name, "owner": who}
            for (who, name), newest in self.versions.items()
            if everybody or who == tenant
            for version in range(1, newest + 1)
        ]
        accepts = None if self.has("adapters' shapes are not told") else ACCEPTS
        return JSONResponse({"data": rows, "accepts": accepts})

    async def _add(self, request: Request) -> Response:
        tenant, body = self.tenant_of(request), await request.body()
        found = re.search(rb'name="name"\r\n\r\n([^\r]+)', body)
        assert found is not None
        name = found[1].decode()
        if self.has("adapters are not kept"):
            return JSONResponse({"id": f"{name}@1"}, 201)
        self.versions[tenant, name] = self.versions.get((tenant, name), 0) + 1
        return JSONResponse({"id": f"{name}@{self.versions[tenant, name]}"}, 201)

    async def _get(self, request: Request) -> Response:
        tenant, (name, version) = self.tenant_of(request), _reference(request)
        owner = (
            self._owner(tenant, name) if self.has("adapters: foreign ones are shown") else tenant
        )
        if not 1 <= version <= self.versions.get((owner, name), 0):
            raise RefusedError(404, "adapter_not_found")
        return JSONResponse({"id": f"{name}@{version}", "owner": owner})

    async def _delete(self, request: Request) -> Response:
        tenant, (name, version) = self.tenant_of(request), _reference(request)
        if self.has("adapters stay"):
            raise RefusedError(500, "internal_error")
        owner = self._owner(tenant, name) if self.has("adapters: anybody deletes") else tenant
        if not 1 <= version <= self.versions.get((owner, name), 0):
            raise RefusedError(404, "adapter_not_found")
        del self.versions[owner, name]
        return JSONResponse({"deleted": True})

    async def _rollout(self, request: Request) -> Response:
        tenant, name = self.tenant_of(request), request.path_params["name"]
        if request.method == "POST":
            owner = self._owner(tenant, name) if self.has("adapters: anybody rolls out") else tenant
            if (owner, name) not in self.versions:
                raise RefusedError(404, "adapter_not_found")
            self.rollouts[owner, name] = "running"
            return JSONResponse({"state": "running"}, 201)
        owner = tenant
        if request.method == "GET" and self.has("adapters: rollouts are everybody's"):
            owner = next((who for who, known in self.rollouts if known == name), tenant)
        if request.method == "DELETE" and self.has("adapters: anybody ends a rollout"):
            owner = next((who for who, known in self.rollouts if known == name), tenant)
        if (owner, name) not in self.rollouts:
            raise RefusedError(404, "rollout_not_found")
        if request.method == "DELETE":
            self.rollouts[owner, name] = "stopped"
        return JSONResponse({"data": [{"state": self.rollouts[owner, name]}]})

    async def _step(self, request: Request) -> Response:
        tenant, name = self.tenant_of(request), request.path_params["name"]
        foreign = self._owner(tenant, name) != tenant
        if foreign and self.has("adapters: anybody scores"):
            return JSONResponse({"object": "scores"})
        raise RefusedError(404, "rollout_not_found")


def _reference(request: Request) -> tuple[str, int]:
    name, _, version = request.path_params["reference"].partition("@")
    return name, int(version or 1)
