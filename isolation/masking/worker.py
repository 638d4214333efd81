"""One worker: the detector, with the recognizers that others bring, on a socket.

It reads frames and answers each, and ends when its socket does: a gateway that is killed leaves no
worker behind. Nothing is written anywhere else.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

import orjson

from isolation.masking.findings import Detector

HEADER = struct.Struct("!I")


def frame(message: object) -> bytes:
    """A message as it goes through a socket: its length, then JSON."""
    body = orjson.dumps(message)
    return HEADER.pack(len(body)) + body


def serve(asked: socket.socket, detector: Detector, recognizers: Sequence[str] = ()) -> None:
    """Answer until the socket ends. A text that cannot be analysed is answered with null.

    recognizers: made here, since what one of them has begun may not survive a fork.

    Raises:
        RecognizerError: there is no recognizer of one of these names.
    """
    from isolation.masking.recognizers import Recognizers, made, version

    parts = Recognizers([detector, *made(recognizers)])
    with asked.makefile("rwb") as stream:
        stream.write(frame((os.getpid(), version(recognizers))))
        stream.flush()
        while len(head := stream.read(HEADER.size)) == HEADER.size:
            number, text, locale = orjson.loads(stream.read(*HEADER.unpack(head)))
            try:
                found = [(f.start, f.end, f.entity, f.score) for f in parts.find(text, locale)]
            except Exception:  # whatever it is, its text may quote what is analysed
                found = None
            stream.write(frame((number, found)))
            stream.flush()
