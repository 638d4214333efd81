"""A rollout as it is kept, its states, and the ways between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from isolation.tenant_id import TenantId
from serving.rollout.assignment import Arm
from serving.rollout.figures import Figures
from serving.rollout.policy import RolloutPolicy


class State(StrEnum):
    """proposed: the name means the control, whatever is uploaded. running: conversations are
    divided. The others are ends."""

    PROPOSED = "proposed"
    RUNNING = "running"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    STOPPED = "stopped"


OPEN = frozenset({State.PROPOSED, State.RUNNING})
# From a state to itself: something was looked at, or the name was released, and nothing else.
WAYS = {
    State.PROPOSED: {State.RUNNING, State.STOPPED},
    State.RUNNING: {State.RUNNING, State.PROMOTED, State.ROLLED_BACK, State.STOPPED},
    State.PROMOTED: {State.PROMOTED},
    State.ROLLED_BACK: {State.ROLLED_BACK},
    State.STOPPED: {State.STOPPED},
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a rollout is to be. Version numbers; `percent` of the conversations.

    shadow: the candidate answers after the control, and what it says is compared and never sent.
    """

    name: str
    control: int
    candidate: int
    percent: float
    policy: RolloutPolicy
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout. Times are UTC, with zone.

    number: counts within the adapter. holds: the adapter's bare name follows this rollout.
    revision: counts its changes; who changes it names the one that it read. looks: `decision`'s.
    """

    tenant: TenantId
    id: str
    proposal: Proposal
    number: int
    state: State
    holds: bool
    revision: int
    looks: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def serving(self) -> int:
        """The version that serves outside the canary."""
        promoted = self.state is State.PROMOTED
        return self.proposal.candidate if promoted else self.proposal.control

    def version(self, arm: Arm) -> int:
        """An arm's version."""
        return self.proposal.candidate if arm is Arm.CANARY else self.proposal.control


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a rollout, by whom and why. figures: what it was decided by."""

    after: State
    who: str
    why: tuple[str, ...]
    looks: int | None = None
    holds: bool = True
    figures: Figures | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the audit trail. `before` None: it was proposed."""

    revision: int
    at: datetime
    who: str
    before: State | None
    after: State
    why: tuple[str, ...]
    figures: Figures | None
