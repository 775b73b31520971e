"""Metrics of the delivery of alerts: monitoring can notice that alerts do not reach operators."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class AlertMetrics:
    """The metrics; one instance per registry. Label way: mail, webhook, command."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.deliveries = Counter(
            "dnssecd_alert_deliveries_total",
            "Messages about alerts by channel and result: delivered, deferred (tried again), rejected, dropped",
            ("way", "result"),
            registry=registry,
        )
        self.queue = Gauge(
            "dnssecd_alert_queue_messages",
            "Messages about alerts not yet delivered",
            ("way",),
            registry=registry,
        )
        self.oldest = Gauge(
            "dnssecd_alert_queue_oldest_timestamp_seconds",
            "When the oldest message not yet delivered was made; 0: none is queued",
            ("way",),
            registry=registry,
        )
        self.last_delivered = Gauge(
            "dnssecd_alert_last_delivered_timestamp_seconds",
            "When a message was last delivered; 0: never, as far as recorded",
            ("way",),
            registry=registry,
        )
        self.working = Gauge(
            "dnssecd_alert_way_working",
            "1: the last attempt by this channel succeeded, 0: it failed",
            ("way",),
            registry=registry,
        )
