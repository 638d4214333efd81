"""What is told when the program breaks: which kind of error and where, and never its text."""

from __future__ import annotations

import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

_OURS = tuple(f"{Path(__file__).parents[1] / name}/" for name in ("evals", "rag", "serving"))
_FRAMES = 4


def places(trace: TracebackType | None) -> list[str]:
    """Where an error went through, the innermost last: of this program, and of the libraries."""
    frames = list(traceback.extract_tb(trace))
    ours = [frame for frame in frames if frame.filename.startswith(_OURS)]
    shown = {id(frame) for frame in (*ours[-_FRAMES:], *frames[-_FRAMES:])}
    told = [frame for frame in frames if id(frame) in shown]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in told]


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
