"""Masking inside an application's own program, without a gateway.

A function of texts and a policy, with no state behind it: what placeholders stand for is known to
the object that gave them out, and to whom the application hands that.
"""

from __future__ import annotations

from collections.abc import Sequence

from isolation.masking.findings import Detector, without_overlaps
from isolation.masking.json_stream import JsonStream
from isolation.masking.placeholders import Literals, Numbering, joined, replaced
from isolation.masking.policy import Direction, MaskingPolicy
from isolation.masking.restoring import Restoring

_STANDARD = MaskingPolicy()


class MaskedConversation:
    """One conversation's placeholders. Make one for each: its values come back in its own answers.

    detector: such as `isolation.masking.detector.PresidioDetector`, loaded once for all. policy:
    what it says of `user` holds for everything that is masked.
    """

    def __init__(self, detector: Detector, policy: MaskingPolicy = _STANDARD) -> None:
        self._detector = detector
        self._policy = policy
        self._literals = Literals(policy.kinds)
        self._numbering = Numbering()

    def mask(self, text: str) -> str:
        """The text with placeholders; a value that was met before has the same one.

        Raises:
            ContentBlockedError: the policy does not let something in it pass.
        """
        readable = text.encode("utf-8", "replace").decode()
        found = without_overlaps(self._detector.find(readable, self._policy.locale))
        wanted = self._policy.judged(Direction.user, text, found)
        return replaced(text, joined(self._literals.find(text), wanted), self._numbering)

    def restore(self, text: str) -> str:
        """An answer with the values in place of their placeholders."""
        stream = self.stream()
        return stream.feed(text) + stream.flush()

    def stream(self) -> Restoring:
        """The same for a stream, cut anywhere."""
        return Restoring(self._numbering.values())

    def json_stream(self) -> JsonStream:
        """The same for JSON, such as a tool call's arguments: values are escaped."""
        return JsonStream(self.stream)

    def __repr__(self) -> str:
        return f"<MaskedConversation of {len(self._numbering.values())} values>"


def mask(
    texts: Sequence[str], detector: Detector, policy: MaskingPolicy = _STANDARD
) -> tuple[list[str], MaskedConversation]:
    """The turns of one conversation with placeholders, and what restores its answers.

    Raises:
        ContentBlockedError: the policy does not let something in them pass.
    """
    conversation = MaskedConversation(detector, policy)
    return [conversation.mask(text) for text in texts], conversation
