"""`/v1/adapters/NAME/rollouts`: a tenant's own. `/admin/v1/rollouts`: everybody's, for the
operator."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from isolation.tenant_id import tenant_id
from serving.adapters.names import NOTHING, parse_reference
from serving.gateway.dependencies import Operator, Tenant
from serving.gateway.json_body import read_json
from serving.gateway.routes.adapters import Adapters
from serving.rollout.policy import RolloutPolicy
from serving.rollout.records import Rollout, Step
from serving.rollout.service import Report, TenantRollouts

# Its routes stand before those of `adapters`, whose references may be any path.
router = APIRouter()

_MOST_BYTES, _MOST_SCORES = 500_000, 20_000


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    candidate: int
    percent: float = 10.0
    control: int | None = None
    gates: RolloutPolicy = RolloutPolicy()
    shadow: bool = False
    start: bool = True


class _Scores(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int
    scores: list[float] = Field(min_length=1, max_length=_MOST_SCORES)


async def _own(ctx: Tenant, adapters: Adapters) -> TenantRollouts:
    return adapters.rollouts.of(ctx)


async def _name(name: str) -> str:
    """The adapter's name; of what is none, one that no adapter has."""
    reference = parse_reference(name)
    return reference.name if reference.version is None else NOTHING.name


Name = Annotated[str, Depends(_name)]
Own = Annotated[TenantRollouts, Depends(_own)]
_PATH = "/v1/adapters/{name}/rollouts"


@router.post(_PATH, status_code=201)
async def begin(name: Name, request: Request, own: Own) -> dict[str, Any]:
    """Propose a rollout, and start it unless `start` is false."""
    asked = await read_json(request, _Asked, limit=_MOST_BYTES)
    rollout = await own.propose(
        name, asked.candidate, asked.percent, asked.gates, asked.control, shadow=asked.shadow
    )
    return _shown(await own.start(name) if asked.start else rollout)


@router.get(_PATH)
async def list_rollouts(name: Name, own: Own) -> dict[str, Any]:
    """All of an adapter, the oldest first; the newest with its figures and its audit trail."""
    rollouts = await own.list(name)
    newest = _reported(await own.report(name))
    return {"object": "list", "data": [*map(_shown, rollouts[:-1]), newest]}


@router.delete(_PATH)
async def stop(name: Name, own: Own) -> dict[str, Any]:
    """End the open rollout; its conversations go back to the control."""
    return _shown(await own.stop(name))


@router.post(_PATH + "/start")
async def start(name: Name, own: Own) -> dict[str, Any]:
    """Begin to send conversations to the candidate of a proposal."""
    return _shown(await own.start(name))


@router.post(_PATH + "/release")
async def release(name: Name, own: Own) -> dict[str, Any]:
    """After the end of a rollout: the name means the newest active version again."""
    return _shown(await own.release(name))


@router.post(_PATH + "/scores")
async def score(name: Name, request: Request, own: Own) -> dict[str, Any]:
    """The scores, each 0 to 1, that a version got in the tenant's own evaluation."""
    scored = await read_json(request, _Scores, limit=_MOST_BYTES, values=_MOST_SCORES + 10)
    await own.score(name, scored.version, scored.scores)
    return {"object": "scores", "version": scored.version, "count": len(scored.scores)}


@router.get("/admin/v1/rollouts")
async def list_everybodys(operator: Operator, adapters: Adapters) -> dict[str, Any]:
    """All rollouts of all tenants."""
    rollouts = await adapters.rollouts.everybodys(operator)
    data = [{"tenant_id": rollout.tenant, **_shown(rollout)} for rollout in rollouts]
    return {"object": "list", "data": data}


@router.get("/admin/v1/rollouts/{tenant}/{name}")
async def get_a_tenants(
    tenant: str, name: Name, operator: Operator, adapters: Adapters
) -> dict[str, Any]:
    """A tenant's newest rollout of an adapter, with its figures and its audit trail."""
    report = await adapters.rollouts.report(operator, tenant_id(tenant), name)
    return {"tenant_id": tenant, **_reported(report)}


@router.delete("/admin/v1/rollouts/{tenant}/{name}")
async def stop_a_tenants(
    tenant: str, name: Name, operator: Operator, adapters: Adapters
) -> dict[str, Any]:
    """End a tenant's open rollout; its conversations go back to the control."""
    return _shown(await adapters.rollouts.stop(operator, tenant_id(tenant), name))


def _shown(rollout: Rollout) -> dict[str, Any]:
    proposal = rollout.proposal
    ended = rollout.ended_at
    return {
        "id": rollout.id,
        "object": "rollout",
        "adapter": proposal.name,
        "number": rollout.number,
        "control": proposal.control,
        "candidate": proposal.candidate,
        "percent": proposal.percent,
        "shadow": proposal.shadow,
        "gates": proposal.policy.model_dump(mode="json"),
        "state": rollout.state,
        "serving": rollout.serving,
        "holds": rollout.holds,
        "created_at": int(rollout.created_at.timestamp()),
        "started_at": rollout.started_at and int(rollout.started_at.timestamp()),
        "ended_at": ended and int(ended.timestamp()),
    }


def _reported(report: Report) -> dict[str, Any]:
    return {
        **_shown(report.rollout),
        "figures": report.figures.encoded(),
        "steps": [_step(step) for step in report.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "at": int(step.at.timestamp()),
        "who": step.who,
        "from": step.before,
        "to": step.after,
        "why": list(step.why),
        "figures": step.figures and step.figures.encoded(),
    }
