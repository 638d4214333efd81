"""`python -m tests.cli.speaks LOG WORD [leaky]`: says WORD in every way in which a program that
means no harm tells a log what it works on, and ends with an error that nobody catches."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import structlog

from serving import crashes, logs
from serving.cli import main as command


def _everything(event: Any) -> dict[str, Any]:
    return dict(event)


def _library(record: logging.LogRecord) -> dict[str, Any]:
    return {"event": record.getMessage(), "logger": record.name}


def _fails(word: str) -> None:
    try:
        raise KeyError(word)
    except KeyError as error:
        raise ValueError(f"cannot read {word}") from error


async def _forgotten(word: str) -> None:
    task = asyncio.create_task(asyncio.to_thread(_fails, word))
    await asyncio.sleep(0.05)
    del task


class _Finalized:
    def __init__(self, word: str) -> None:
        self._word = word

    def __del__(self) -> None:
        _fails(self._word)


def _say(word: str) -> None:
    own, library = structlog.get_logger("serving.own"), logging.getLogger("library")
    own.warning("request", route="/v1/search", status=200, tenant="acme")
    own.warning("said", prompt=word, error=f"about {word}!", kind=[word], route={"q": word})
    own.warning(f"what about {word}")
    own.warning("said %s", word)
    library.warning("read %s", word)
    library.error(f"read {word}", extra={"text": word}, stack_info=True)
    for say in (own.exception, library.exception):
        try:
            _fails(word)
        except ValueError:
            say("failed")
    own.error("failed", exc_info=ValueError(word))
    warnings.warn(f"deprecated: {word}", stacklevel=1)
    asyncio.run(_forgotten(word))
    thread = threading.Thread(target=_fails, args=(word,))
    thread.start()
    thread.join()


def main(path: str, word: str, *leaky: str) -> None:
    if leaky:
        logs.only_known, logs.of_a_library = _everything, _library  # type: ignore[assignment]
        crashes.report = lambda kind, trace: print(word, file=sys.stderr)
    logs.log_to(Path(path))

    def build(_: object) -> Any:
        crashes.install()
        return lambda: (_say(word), _Finalized(word), _fails(word))

    command.build = build
    command.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
