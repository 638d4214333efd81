"""Which model answers a request: the base model, or one of the tenant's own adapters."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serving.adapters.names import BASE
from serving.adapters.ports import AdapterRecord
from serving.engine.client import Delta
from serving.errors import ModelNotFoundError
from serving.gateway.ports import Lease, TenantModels, TenantTrials
from serving.rollout.assignment import Arm
from serving.rollout.trials import Trial


class BaseLease(Lease):
    """The base model is always there."""

    @property
    def engine_name(self) -> str:
        return ""

    def guarded(self, stream: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
        return stream


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that the tenant may use. `record` None: the base model.

    trial: the rollout that chose the version, if one runs.
    """

    models: TenantModels | None
    record: AdapterRecord | None
    trial: Trial | None = None

    @property
    def name(self) -> str:
        """The tenant's name for it, with the version, as the bill shows it."""
        return BASE if self.record is None else f"{self.record.name}@{self.record.version}"

    def prefetch(self) -> None:
        """Begin to load it."""
        if self.models is not None and self.record is not None:
            self.models.prefetch(self.record)

    @asynccontextmanager
    async def lease(self, deadline: float) -> AsyncGenerator[Lease, None]:
        """Hold it while the block runs. `deadline`: monotonic clock, seconds.

        Raises:
            ModelNotFoundError: it was taken out of service meanwhile.
            AdapterUnavailableError: it cannot be loaded until then.
        """
        if self.models is None or self.record is None:
            yield BaseLease()
            return
        async with self.models.lease(self.record, deadline) as lease:
            yield lease


async def shadow_of(model: ModelChoice) -> ModelChoice | None:
    """The version that answers after this one and is compared with it; None if none does.

    Raises:
        ModelNotFoundError: it was revoked meanwhile.
    """
    trial = model.trial
    if trial is None or not trial.rollout.proposal.shadow or model.models is None:
        return None
    proposal = trial.rollout.proposal
    record = await model.models.resolve(f"{proposal.name}@{proposal.candidate}")
    return ModelChoice(model.models, record, Trial(trial.rollout, Arm.CANARY))


async def choose_model(
    models: TenantModels | None, trials: TenantTrials | None, name: str, conversation: str
) -> ModelChoice:
    """The model that a request names, in the version that its conversation gets.

    Raises:
        ModelNotFoundError: there is none of this name for this tenant.
    """
    if name == BASE:
        return ModelChoice(models, None)
    if models is None:
        raise ModelNotFoundError
    if trials is None:
        return ModelChoice(models, await models.resolve(name))
    route = await trials.route(name, conversation)
    try:
        return ModelChoice(models, await models.resolve(route.model), route.trial)
    except ModelNotFoundError:
        if route.trial is None or route.trial.arm is not Arm.CANARY:
            raise
    # The canary was revoked a moment ago: its rollout ends with the next look.
    proposal = route.trial.rollout.proposal
    return ModelChoice(models, await models.resolve(f"{proposal.name}@{proposal.control}"))
