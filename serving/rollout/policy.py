"""What a rollout must show before it is promoted: declared at its start, kept with it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RolloutPolicy(BaseModel):
    """The window and its gates.

    alpha: the chance of rolling back a version that keeps all margins, over all gates and looks.
    minimum_requests: of each arm; below it only a leak decides.
    window_requests, window_seconds: the canary's, and both must be over before it is promoted.
    *_rise: how much higher a rate may be (0.02: two of a hundred answers).
    *_ratio: how many times longer the 95th percentile of a duration may be.
    score_drop: how much lower the mean score of the tenant's own evaluation may be.
    minimum_scores: of each version; 0: the tenant sends none, and that gate is not asked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha: float = Field(0.05, gt=0, lt=0.5)
    minimum_requests: int = Field(50, ge=10, le=100_000)
    window_requests: int = Field(200, ge=10, le=1_000_000)
    window_seconds: int = Field(600, ge=0, le=90 * 86_400)
    error_rise: float = Field(0.02, ge=0, le=1)
    refusal_rise: float = Field(0.10, ge=0, le=1)
    removal_rise: float = Field(0.02, ge=0, le=1)
    ttft_ratio: float = Field(1.25, ge=1, le=100)
    gap_ratio: float = Field(1.25, ge=1, le=100)
    score_drop: float = Field(0.05, ge=0, le=1)
    minimum_scores: int = Field(0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _window_holds_the_minimum(self) -> Self:
        if self.window_requests < self.minimum_requests:
            raise ValueError("window_requests must not be below minimum_requests")
        if self.minimum_scores == 1:
            raise ValueError("minimum_scores must be 0 or above 1")
        return self
