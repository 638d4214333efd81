"""Logs: one JSON object a line, for machines and for the operator at three in the morning.

No prompt, document or key may reach them. So a line holds known fields of known shapes
(`serving/log_fields.py`), and errors are logged by kind and place; their text, which may quote
anything, is dropped, for libraries' errors too.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import orjson
import structlog

from serving.crashes import places
from serving.log_fields import of_a_library, only_known

_BYTES, _FILES = 20_000_000, 3


def log_to(path: Path) -> None:
    """Send all logs of this process to `path`, which only the owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    path.chmod(0o600)
    handler = RotatingFileHandler(path, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8")
    before: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_text,
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_json),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    logging.getLogger("serving").setLevel(logging.INFO)
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=lambda value: type(value).__name__).decode()


def _without_text(
    logger: Any, name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    event.pop("stack_info", None)
    record: logging.LogRecord | None = event.pop("_record", None)
    own = event.pop("_from_structlog", None)
    if record is None:
        kept = only_known(event)
    else:
        info = info or record.exc_info
        record.exc_info = record.exc_text = record.stack_info = None
        said = {field: event[field] for field in ("level", "timestamp") if field in event}
        kept = of_a_library(record) | said
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and info[0] is not None:
        kept |= {"error": info[0].__name__, "at": places(info[2])}
    # What the formatter needs, and takes out again.
    return kept if record is None else kept | {"_record": record, "_from_structlog": own}
