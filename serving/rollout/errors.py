"""The error tree of `serving.rollout`.

RequestRefusedError
├── RolloutRefusedError        400, it cannot be begun so
├── RolloutNotFoundError       404, unknown or another tenant's: one answer
├── RolloutRunsError           409, the adapter has an open one already
└── RolloutStateError          409, it is over, or not begun, or somebody was quicker
"""

from __future__ import annotations

from isolation.errors import RequestRefusedError


class RolloutRefusedError(RequestRefusedError):
    """A rollout cannot be begun so."""

    code = "rollout_refused"


class RolloutNotFoundError(RequestRefusedError):
    """Unknown, or another tenant's: one answer."""

    code = "rollout_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__(
            "There is no such rollout. Begin one with POST /v1/adapters/NAME/rollouts."
        )


class RolloutRunsError(RequestRefusedError):
    """The adapter has an open rollout."""

    code = "rollout_runs"
    status = 409

    def __init__(self) -> None:
        super().__init__("The adapter has a rollout already. Stop it, or wait for its end.")


class RolloutStateError(RequestRefusedError):
    """The rollout is not in a state where this can be done, or changed at the same moment."""

    code = "rollout_state"
    status = 409

    def __init__(self) -> None:
        super().__init__("The rollout is in another state. Read it and decide again.")
