"""`python -m isolation.masking.worker [RECOGNIZER...]`: the detector, with the recognizers
that others bring, in a process of its own, on two pipes.

It reads frames from standard input and answers on standard output, and ends when its input does:
a gateway that is killed leaves no worker behind. Nothing is written anywhere else.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Sequence
from typing import BinaryIO

import orjson

HEADER = struct.Struct("!I")


def frame(message: object) -> bytes:
    """A message as it goes through a pipe: its length, then JSON."""
    body = orjson.dumps(message)
    return HEADER.pack(len(body)) + body


def serve(source: BinaryIO, target: BinaryIO, recognizers: Sequence[str] = ()) -> None:
    """Answer until the source ends. A text that cannot be analysed is answered with null."""
    from isolation.masking.detector import PresidioDetector
    from isolation.masking.recognizers import Recognizers, made, version

    detector = Recognizers([PresidioDetector(), *made(recognizers)])
    target.write(frame(version(recognizers)))
    target.flush()
    while len(head := source.read(HEADER.size)) == HEADER.size:
        number, text, locale = orjson.loads(source.read(*HEADER.unpack(head)))
        try:
            found = [(f.start, f.end, f.entity, f.score) for f in detector.find(text, locale)]
        except Exception:  # whatever it is, its text may quote what is analysed
            found = None
        target.write(frame((number, found)))
        target.flush()


def main() -> None:
    """Serve on this process's pipes; whatever prints goes nowhere, and not into the answers."""
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    serve(os.fdopen(0, "rb"), target, sys.argv[1:])


if __name__ == "__main__":
    main()
