"""What each request costs: busy time by tokens computed, and KV slots over time. No tensors here.

A step is one batch. Its time goes from the end of the step before, or from the scheduler's waking
up, to its own end, and is split among its requests by the tokens computed for each: so the shares
of all requests add up to the time that the engine was busy.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Cost:
    """One request's. Seconds, tokens, and slots times seconds.

    prefill_seconds, decode_seconds: how long it was in each phase, other requests' work included.
    busy_seconds: its share of the steps that it was in. preemptions: how often it gave way to a
    request of a higher priority. retractions: how often it did because the pool was full.
    """

    queue_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    busy_seconds: float = 0.0
    cached_tokens: int = 0
    computed_tokens: int = 0
    peak_kv_tokens: int = 0
    kv_token_seconds: float = 0.0
    preemptions: int = 0
    retractions: int = 0
    worker_type: str = ""


@dataclass(slots=True)
class RequestWatch:
    """Follows one request through the scheduler."""

    received: float
    begun: float | None = None
    first_token: float | None = None
    cost: Cost = field(default_factory=Cost)

    def report(self, now: float, **facts: Any) -> dict[str, Any]:
        """Its cost up to `now`, which is its end."""
        begun = self.begun if self.begun is not None else now
        first = self.first_token if self.first_token is not None else now
        self.cost.queue_seconds = begun - self.received
        self.cost.prefill_seconds = max(0.0, first - begun)
        self.cost.decode_seconds = now - first
        return asdict(self.cost) | facts


@dataclass(frozen=True, slots=True)
class Row:
    """One request in one step: the tokens computed for it, and the slots that its row holds."""

    watch: RequestWatch
    tokens: int
    slots: int
    decodes: bool


class StepMeter:
    """Splits the scheduler's time. Steps end in the order in which they began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.busy_seconds = 0.0
        self._open: deque[Sequence[Row]] = deque()
        self._settled_at = 0.0
        self._idle = True

    @property
    def busy(self) -> bool:
        """Whether a step has begun and not ended."""
        return bool(self._open)

    def woke(self) -> None:
        """There may be work again."""
        if self._idle:
            self._idle, self._settled_at = False, self.clock()

    def idle(self) -> None:
        """There was none."""
        self._idle = True
        self._open.clear()

    def begin(self, rows: Sequence[Row]) -> None:
        """A batch is launched."""
        now = self.clock()
        for row in rows:
            watch = row.watch
            watch.cost.computed_tokens += row.tokens
            if watch.begun is None:
                watch.begun = now
            if row.decodes and watch.first_token is None:
                watch.first_token = now
        self._open.append(rows)

    def settle(self) -> float:
        """Charge the oldest open step for its time until now; called again, for the rest."""
        now = self.clock()
        span, self._settled_at = now - self._settled_at, now
        if not self._open:
            return now
        rows = self._open[0]
        self.busy_seconds += span
        whole = sum(row.tokens for row in rows) or 1
        for row in rows:
            cost = row.watch.cost
            cost.busy_seconds += span * row.tokens / whole
            cost.kv_token_seconds += span * row.slots
            cost.peak_kv_tokens = max(cost.peak_kv_tokens, row.slots)
        return now

    def end(self) -> None:
        """The oldest open step is over."""
        self.settle()
        if self._open:
            self._open.popleft()
