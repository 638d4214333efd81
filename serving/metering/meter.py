"""The stopwatch and token counts of one request."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

from isolation.context import TenantContext
from serving.engine.client import Delta, TokenUsage
from serving.engine_plugin.stopwatch import Cost
from serving.metering.usage import UsageRecord
from serving.tracing import NO_TRACE, RequestTrace, Step


class Meter:
    """Follows one request from admission to its end, however it ends.

    trace: where its steps are told; a shadow has none.
    """

    def __init__(
        self, ctx: TenantContext, request_id: str, model: str, trace: RequestTrace = NO_TRACE
    ) -> None:
        self.request_id = request_id
        self._trace = trace
        trace.named(request_id)
        self._ctx = ctx
        self._model = model
        self._begun = time.monotonic()
        self._created_at = datetime.now(UTC)
        self._prepared_at = self._begun
        self._started_at: float | None = None
        self._first_token_at: float | None = None
        self._last_token_at: float | None = None
        self._prompt_tokens = 0
        self._passages = 0
        self._pieces = 0
        self._finish_reason: str | None = None
        self._usage: TokenUsage | None = None
        self._cost: Cost | None = None
        self._answer: list[str] = []
        self._arguments: list[str] = []

    def step(self, name: str) -> Step:
        """A step begins; it ends with its block."""
        return self._trace.step(name)

    def told(self, step: Step) -> None:
        """What the engine has counted, for its step in the trace."""
        tokens = self.tokens
        step.note(prompt_tokens=tokens.prompt, cached_tokens=tokens.cached)
        step.note(completion_tokens=tokens.completion)
        if self._first_token_at is not None:
            step.note(first_token_ms=round(self.waited * 1000, 1))

    def prepared(self, prompt_tokens: int, passages: int) -> None:
        """The prompt is complete; waiting begins."""
        self._prompt_tokens, self._passages = prompt_tokens, passages
        self._prepared_at = time.monotonic()

    def started(self) -> None:
        """The request left the queue for the engine."""
        self._started_at = time.monotonic()

    def saw(self, delta: Delta) -> None:
        """The engine sent a piece."""
        if delta.generated:
            self._pieces += 1
            self._last_token_at = time.monotonic()
            self._first_token_at = self._first_token_at or self._last_token_at
        self._finish_reason = delta.finish_reason or self._finish_reason
        self._usage = delta.usage or self._usage
        self._cost = delta.cost or self._cost

    def settled(self, cost: Cost | None) -> None:
        """The engine said what a request cost whose stream was left."""
        self._cost = cost

    def emitted(self, text: str) -> str:
        """`text` left for the caller."""
        self._answer.append(text)
        return text

    def called(self, arguments: str) -> str:
        """A piece of a tool call's arguments left for the caller."""
        self._arguments.append(arguments)
        return arguments

    @property
    def answer(self) -> str:
        """The text that the caller has received."""
        return "".join(self._answer)

    @property
    def written(self) -> str:
        """The same with the arguments of tool calls."""
        return "".join([*self._answer, *self._arguments])

    @property
    def finish_reason(self) -> str:
        """The engine's reason, `stop` if it gave none."""
        return self._finish_reason or "stop"

    @property
    def tokens(self) -> TokenUsage:
        """The engine's count; of a request cut short, the gateway's own."""
        return self._usage or TokenUsage(self._prompt_tokens, 0, self._pieces)

    @property
    def waited(self) -> float:
        """Seconds from the queue to the first token, or until now if there was none."""
        return (self._first_token_at or time.monotonic()) - (self._started_at or self._begun)

    @property
    def mean_gap(self) -> float | None:
        """The mean time between two pieces, seconds; None of fewer than two."""
        if self._pieces < 2 or self._first_token_at is None or self._last_token_at is None:
            return None
        return (self._last_token_at - self._first_token_at) / (self._pieces - 1)

    def record(self) -> UsageRecord:
        """The record as things stand; called in a `finally`, it sees how the request ended."""
        now, tokens = time.monotonic(), self.tokens
        left_queue = self._started_at or now
        return UsageRecord(
            request_id=self.request_id,
            key_id=self._ctx.credential_id,
            model=self._model,
            prompt_tokens=tokens.prompt if self._started_at else 0,
            cached_tokens=tokens.cached,
            completion_tokens=tokens.completion,
            passages=self._passages,
            queue_seconds=left_queue - self._prepared_at,
            ttft_seconds=self._first_token_at and self._first_token_at - self._begun,
            total_seconds=now - self._begun,
            finish_reason=self._ending(),
            created_at=self._created_at,
            cost=self._cost,
        )

    def _ending(self) -> str:
        error = sys.exc_info()[1]
        if error is None:
            return self.finish_reason
        return "error" if isinstance(error, Exception) else "cancelled"
