"""What the engine says, on its way out: unmasked and guarded, text and each tool call apart."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator

from isolation.streaming import StreamTransform
from serving.engine.client import CallDelta, Delta
from serving.gateway.answer import AnswerCall, AnswerPiece, AnswerText
from serving.metering.meter import Meter


class Outward:
    """One answer. arguments: the transform of one call's arguments. offered: the tools that may be
    called; what calls another one does not leave."""

    def __init__(
        self,
        meter: Meter,
        text: StreamTransform,
        arguments: Callable[[], StreamTransform],
        offered: Collection[str],
    ) -> None:
        self._meter = meter
        self._text = text
        self._make = arguments
        self._offered = offered
        self._calls: dict[int, _Call] = {}

    def feed(self, delta: Delta) -> Iterator[AnswerPiece]:
        """What can leave now."""
        yield from self._said(self._text.feed(delta.text))
        for call in delta.calls:
            yield from self._called(call)

    def flush(self) -> Iterator[AnswerPiece]:
        """What was still held back. The last call."""
        yield from self._said(self._text.flush())
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
