"""Prometheus metrics of the gateway. No label names a tenant: `/v1/usage` and the ledger do."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """One gateway's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bulkhead_http_requests_total",
            "Requests answered.",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "bulkhead_http_request_seconds",
            "Time to the last byte of the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refusals = Counter(
            "bulkhead_refusals_total",
            "Requests refused, by the refusal's code.",
            ("code",),
            registry=self.registry,
        )
        self.engine_ready = Gauge(
            "bulkhead_engine_ready", "1 while a probed engine is there.", registry=self.registry
        )
        self.queue_waiting = Gauge(
            "bulkhead_queue_waiting",
            "Requests that wait for a slot of the engine (BULKHEAD_ENGINE_SLOTS).",
            registry=self.registry,
        )
        self.masking_waiting = Gauge(
            "bulkhead_masking_waiting",
            "Texts that wait to be analysed (BULKHEAD_MASKING_WORKERS).",
            registry=self.registry,
        )
        self.adapter_loads = Counter(
            "bulkhead_adapter_loads_total",
            "Adapters loaded into the engine; reload: soon after they were evicted.",
            ("kind",),
            registry=self.registry,
        )
        self.adapter_waits = Counter(
            "bulkhead_adapter_waits_total",
            "Times that a request waited for a place for its adapter.",
            registry=self.registry,
        )
        self.adapter_thrash = Counter(
            "bulkhead_adapter_thrash_total",
            "Looks at which loading had taken its share of the engine's time: "
            "more adapters are in use than fit.",
            registry=self.registry,
        )

    def exposition(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)
