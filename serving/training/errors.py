"""The error tree of `serving.training`.

BulkheadError
├── ExamplesError           training_data_invalid: a line of a file, and never what it says
├── TrainingFailedError     training_failed: the child ended without an adapter
└── NotResumableError       training_not_resumable: the checkpoint is of other data or options
"""

from __future__ import annotations

from isolation.errors import BulkheadError


class ExamplesError(BulkheadError):
    """What should be learned from cannot be. The message names file and line, and quotes none."""

    code = "training_data_invalid"


class TrainingFailedError(BulkheadError):
    """The training ended without an adapter."""

    code = "training_failed"


class NotResumableError(BulkheadError):
    """There is a checkpoint, and it belongs to another training."""

    code = "training_not_resumable"

    def __init__(self) -> None:
        super().__init__(
            "What was begun there has other data or options. "
            "Repeat it as it was begun, or leave --resume out to begin anew."
        )
