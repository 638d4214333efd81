"""`python -m isolation.masking.forkserver [RECOGNIZER...]`: has the detector loaded, and forks a
worker for each socket that it is sent.

So loading, which takes seconds and 400 MB, is done once, and a worker that a text has ended is
replaced at once: who asks next does not wait for it. On standard input, a Unix socket; it ends when
that does.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from isolation.masking.findings import Detector
from isolation.masking.worker import serve


def main(recognizers: Sequence[str]) -> None:
    """Fork workers until nobody is there who could ask for one."""
    # Loading makes little garbage, and no fork should look through what is loaded.
    gc.disable()
    from isolation.masking.detector import PresidioDetector

    detector = PresidioDetector()
    # What the first text makes it load and compile, too.
    detector.find("Ada Lind, ada@example.com")
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how one has ended
    asked = socket.socket(fileno=0)
    while True:
        _, sockets, _, _ = socket.recv_fds(asked, 1, 1)
        if not sockets:
            return
        if os.fork() == 0:
            asked.close()
            _work(sockets[0], detector, recognizers)
        os.close(sockets[0])


def _work(number: int, detector: Detector, recognizers: Sequence[str]) -> NoReturn:
    """The forked process, to its end."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with socket.socket(fileno=number) as stream:
            serve(stream, detector, recognizers)
    finally:
        # Without the exit handlers, and without an error's text: whoever asked sees the end.
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
