"""The scheduler's numbers on the engine's `/metrics`: what tenants hold, and what was evicted.

An account is an opaque name, and only so many of them get a label of their own: the rest are
`other`, so that a thousand tenants do not make a thousand series.
"""

from __future__ import annotations

import time
from typing import Any

from serving.engine_plugin.accounts import Accounts

_MOST_LABELS = 50
_OTHER = "other"
_EVERY_SECONDS = 1.0


class Gauges:
    """Made in the scheduler's process, where SGLang has set up its own metrics already."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge

        self._resident = Gauge(
            "bulkhead_kv_resident_tokens",
            "Tokens of the prefix cache that an account holds.",
            ("account",),
            multiprocess_mode="mostrecent",
        )
        self._evicted = Counter(
            "bulkhead_kv_evicted_tokens", "Tokens evicted from an account.", ("account",)
        )
        self._busy = Counter("bulkhead_busy_seconds", "Time that was charged to requests.")
        self._labels: set[str] = set()
        self._counted: dict[str, int] = {}
        self._busy_counted = 0.0
        self._updated = 0.0

    def update(self, accounts: Accounts, busy_seconds: float) -> None:
        """Show the state; at most once a second."""
        if time.monotonic() - self._updated < _EVERY_SECONDS:
            return
        self._updated = time.monotonic()
        self._busy.inc(busy_seconds - self._busy_counted)
        self._busy_counted = busy_seconds
        resident = dict.fromkeys((*self._labels, _OTHER), 0)
        counted = {}
        for account in accounts:
            label = self._label(account.name)
            resident[label] = resident.get(label, 0) + account.resident
            # An account that was forgotten and came back starts anew.
            more = account.evicted - min(self._counted.get(account.name, 0), account.evicted)
            self._evicted.labels(label).inc(more)
            counted[account.name] = account.evicted
        self._counted = counted
        for label, tokens in resident.items():
            self._resident.labels(label).set(tokens)

    def _label(self, name: str) -> str:
        if name not in self._labels:
            if len(self._labels) >= _MOST_LABELS:
                return _OTHER
            self._labels.add(name)
        return name


_gauges: Gauges | None = None


def update(scheduler: Any, busy_seconds: float) -> None:
    """Show the scheduler's accounts."""
    global _gauges
    if scheduler.metrics_reporter.enable_metrics:
        _gauges = _gauges or Gauges()
        _gauges.update(scheduler.tree_cache.accounts, busy_seconds)
