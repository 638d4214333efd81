"""What is told when the program breaks: which kind of error and where, and never its text."""

from __future__ import annotations

import sys
import threading
import traceback
from types import TracebackType
from typing import Any

_FRAMES = 8


def places(trace: TracebackType | None) -> list[str]:
    """Where an error went through, the innermost last."""
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def report(kind: type[BaseException], trace: TracebackType | None) -> None:
    """A crash report, on standard error."""
    lines = [f"bulkhead: {kind.__name__}", *(f"  at {place}" for place in places(trace))]
    print(*lines, sep="\n", file=sys.stderr)


def install() -> None:
    """For errors that nobody caught: of the program, of a thread, of a finalizer."""
    sys.excepthook = lambda kind, _, trace: report(kind, trace)
    threading.excepthook = lambda args: report(args.exc_type, args.exc_traceback)
    sys.unraisablehook = _unraisable


def _unraisable(args: Any) -> None:
    report(args.exc_type, args.exc_traceback)
