"""Identifiers that callers see. Engine-side request ids are others, and stay inside."""

from __future__ import annotations

import secrets


def completion_id() -> str:
    """An id for a chat completion."""
    return f"chatcmpl-{secrets.token_hex(12)}"
