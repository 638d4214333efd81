"""What the scheduler refuses reaches the caller as the error it is, also of a stream.

SGLang 0.5.23 sends an abort's status from process to process as a plain number; its chat route
takes only an `HTTPStatus` for an error of a stream, and made an empty answer of any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

# A request that could not run beside what is reserved for others, however long it waited.
KV_RESERVED = "kv_reserved_for_others"


def status_of(code: str) -> HTTPStatus:
    """What a refusal by the scheduler is answered with: another try changes no 400."""
    return HTTPStatus.BAD_REQUEST if code == KV_RESERVED else HTTPStatus.FORBIDDEN


def restore_statuses(reasons: Iterable[dict[str, Any] | None]) -> None:
    """Make numbers statuses again, in the reasons for which requests ended."""
    for reason in reasons:
        if reason and reason.get("status_code") is not None:
            reason["status_code"] = HTTPStatus(reason["status_code"])
