"""What the engine says, on its way out: unmasked and guarded, text and each tool call apart."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterator

from isolation.streaming import AsyncTransform, StreamTransform
from serving.engine.client import CallDelta, Delta
from serving.gateway.answer import AnswerCall, AnswerPiece, AnswerText
from serving.metering.meter import Meter


class Outward:
    """One answer. names: what its text passes last. arguments: the transform of one call's
    arguments. offered: the tools that may be
    called; what calls another one does not leave."""

    def __init__(
        self,
        meter: Meter,
        text: StreamTransform,
        names: AsyncTransform,
        arguments: Callable[[], StreamTransform],
        offered: Collection[str],
    ) -> None:
        self._meter = meter
        self._text = text
        self._names = names
        self._make = arguments
        self._offered = offered
        self._calls: dict[int, _Call] = {}

    async def feed(self, delta: Delta) -> AsyncIterator[AnswerPiece]:
        """What can leave now."""
        for piece in self._said(await self._names.feed(self._text.feed(delta.text))):
            yield piece
        for call in delta.calls:
            for part in self._called(call):
                yield part

    async def flush(self) -> AsyncIterator[AnswerPiece]:
        """What was still held back. The last call."""
        last = await self._names.feed(self._text.flush())
        for piece in self._said(last + await self._names.flush()):
            yield piece
        for call in self._calls.values():
            if arguments := call.arguments.flush():
                yield AnswerCall(call.index, self._meter.called(arguments))

    def _said(self, text: str) -> Iterator[AnswerText]:
        if text:
            yield AnswerText(self._meter.emitted(text))

    def _called(self, delta: CallDelta) -> Iterator[AnswerCall]:
        call, new = self._calls.get(delta.index), False
        if call is None and delta.name in self._offered:
            call = self._calls[delta.index] = _Call(len(self._calls), self._make())
            new = True
        if call is None:
            return
        arguments = self._meter.called(call.arguments.feed(delta.arguments))
        if new:
            # The engine's id is not the caller's matter.
            yield AnswerCall(
                call.index, arguments, f"call_{secrets.token_hex(12)}", delta.name or ""
            )
        elif arguments:
            yield AnswerCall(call.index, arguments)


class _Call:
    def __init__(self, index: int, arguments: StreamTransform) -> None:
        self.index = index
        self.arguments = arguments
