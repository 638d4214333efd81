"""Stands where a Python stands: asks a zygote for a fork, or becomes the real one.

Run as `ZYGOTE/bin/python`. What no zygote forks goes to the real interpreter, and so does whatever
one declines. A fork has this process's standard streams and gets its signals; it is killed when
this process ends, however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

_STREAMS = [0, 1, 2]


def main(arguments: list[str]) -> int:
    """The exit status of what was asked for."""
    folder = Path(__file__).resolve().parent
    settings = json.loads((folder / "zygote.json").read_text())
    module, after = _module(arguments)
    address = settings["sockets"].get(module)
    if address is None:
        _become(settings["python"], arguments)
    with socket.socket(socket.AF_UNIX) as zygote:
        try:
            zygote.connect(address)
        except OSError:
            _become(settings["python"], arguments)
        asked = json.dumps([[module, *after], dict(os.environ), str(Path.cwd())]).encode()
        socket.send_fds(zygote, [len(asked).to_bytes(4, "big")], _STREAMS)
        zygote.sendall(asked)
        # What comes before the fork waits for it in the socket.
        signal.signal(signal.SIGTERM, lambda *_: zygote.send(b"T"))
        if zygote.recv(1) != b"F":
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _become(settings["python"], arguments)
        status = b""
        while not status:
            status = zygote.recv(1)
    return status[0]


def _module(arguments: list[str]) -> tuple[str, list[str]]:
    """Of `[OPTION...] -m MODULE ARGUMENT...`."""
    if "-m" not in arguments[:-1]:
        return "", []
    module, *after = arguments[arguments.index("-m") + 1 :]
    return module, after


def _become(python: str, arguments: list[str]) -> NoReturn:
    os.execv(python, [python, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
