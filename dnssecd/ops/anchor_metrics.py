"""Metrics of published trust anchors: samples for zones with ``anchors = true`` only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge


class AnchorMetrics:
    """Metrics of ``[anchors]``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"dnssecd_zone_trust_anchors{name}", text, ("zone",), registry=registry)

        self.given = gauge("", "Trust anchors of the zone that are given out now")
        self.current = gauge(
            "_current", "1 if the last look found that what is published is what dnssecd wrote, else 0"
        )
        self.looked = gauge(
            "_looked_timestamp_seconds", "When it was last looked at what is published of the zone's anchors"
        )

    def forget(self, zone: str) -> None:
        """Drop the samples of a zone."""
        for gauge in (self.given, self.current, self.looked):
            gauge.remove_by_labels({"zone": zone})
