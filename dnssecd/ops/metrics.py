"""All metrics of the daemon. A test compares ``docs/metrics.md`` with this list.

Label values are bounded: zones, secondaries and key stores come from the configuration, all others from small fixed
sets. A value that a client can choose freely (an unknown opcode, a name) is never a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dnssecd.ops.alerts.metrics import AlertMetrics
from dnssecd.ops.anchor_metrics import AnchorMetrics
from dnssecd.ops.cluster_metrics import ClusterMetrics
from dnssecd.ops.events import EventCore
from dnssecd.ops.key_metrics import KeyCollector
from dnssecd.ops.keystore_metrics import KeystoreCollector
from dnssecd.ops.many_gauge import ManyGauge

disable_created_metrics()  # type: ignore[no-untyped-call]  # creation times would be a third of all samples

_FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_SLOW = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)

#: Maximum number of `dnssecd_event_firing` samples; all events are counted in `dnssecd_events_firing`.
EVENT_SAMPLES_MAX = 1_000


class ZoneMetrics:
    """Metrics of served zones. Serials are numbers: compare them by RFC 1982."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> ManyGauge:
            return ManyGauge(f"dnssecd_{name}", text, ("zone",), registry=registry)

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"dnssecd_{name}", text, labels, registry=registry)

        self.zones = Gauge(
            "dnssecd_zones",
            "Zones by state: served, waiting (for their first version)",
            ("state",),
            registry=registry,
        )
        self.serial = gauge("zone_serial", "SOA serial being served")
        self.input_serial = gauge("zone_input_serial", "SOA serial of the input last taken")
        self.earliest_expiration = gauge(
            "zone_rrsig_earliest_expiration_timestamp_seconds",
            "When the first RRSIG of the whole zone, as served, expires",
        )
        self.refresh = gauge(
            "zone_refresh_seconds",
            "Signatures are renewed this long before they expire: the runway of a healthy zone is hardly shorter",
        )
        self.last_published = gauge(
            "zone_last_published_timestamp_seconds", "When the version being served was published"
        )
        self.records = gauge("zone_records", "Records in the version being served")
        self.loads = counter(
            "zone_loads_total", "Inputs read by result: changed, unchanged, rejected", ("result",)
        )
        self.stripped = counter("zone_stripped_records_total", "DNSSEC records found in input and left out")
        self.signatures = counter("signatures_total", "RRSIGs made")
        self.verifications = counter(
            "verifications_total", "Independent checks of new versions by result: ok, failed", ("result",)
        )
        self.versions = counter("versions_published_total", "Versions committed and served")
        self.load_seconds = Histogram(
            "dnssecd_zone_load_seconds",
            "From input read to version committed",
            buckets=_SLOW,
            registry=registry,
        )
        self.store_errors = counter("store_errors_total", "Zone database reads and writes that failed")

    def by_zone(self) -> tuple[ManyGauge, ...]:
        """Return the gauges with a sample for each zone."""
        return (
            self.serial,
            self.input_serial,
            self.earliest_expiration,
            self.refresh,
            self.last_published,
            self.records,
        )

    def forget(self, zone: str) -> None:
        """Drop the samples of a zone that was removed."""
        for gauge in self.by_zone():
            gauge.remove_by_labels({"zone": zone})


class ServerMetrics:
    """Metrics of clients' requests and their answers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"dnssecd_{name}", text, labels, registry=registry)

        self.queries = counter(
            "queries_total", "Messages answered, by opcode and rcode (mnemonics; OTHER)", ("opcode", "rcode")
        )
        self.dropped = counter(
            "messages_dropped_total",
            "Messages not answered, by reason: malformed, response, limit",
            ("reason",),
        )
        self.tsig_errors = counter(
            "tsig_errors_total",
            "TSIG refused, by error: BADSIG, BADKEY, BADTIME, BADTRUNC, FORMERR",
            ("error",),
        )
        self.refused = counter(
            "requests_refused_total",
            "Requests refused, by kind (query, axfr, ixfr, notify, update, tsig, transfer), reason (access, "
            "no-such-zone, class, transport, replayed, other or a TSIG error) and sender: peer (configured), other",
            ("kind", "reason", "sender"),
        )
        self.truncated = counter(
            "answers_truncated_total",
            "Answers by UDP cut short because an unsigned client had many large ones: its address may be forged",
        )
        self.accept_rests = counter(
            "accept_rests_total",
            "Times no TCP connection could be accepted for lack of descriptors or memory",
        )
        self.transfers = counter(
            "transfers_total", "Transfers out by kind: axfr, ixfr, ixfr-as-axfr, up-to-date", ("kind",)
        )
        self.transfers_failed = counter("transfers_failed_total", "Transfers out that were aborted")
        self.transfers_ended = counter(
            "transfers_ended_total",
            "Transfers out that were ended because they kept a zone's write-ahead log on the disk, by reason: log (it "
            "was too long), disk (the disk is nearly full)",
            ("reason",),
        )
        self.transfer_bytes = counter("transfer_bytes_total", "Octets of transfers out")
        self.transfers_in = counter(
            "transfers_in_total",
            "Transfers from primaries by result: axfr, ixfr, up-to-date, failed",
            ("result",),
        )
        self.forwarded = counter(
            "forwarded_total",
            "UPDATE and NOTIFY messages that were forwarded to the node that owns the zone, by outcome: answered, "
            "failed (no answer in time), returned (it came back)",
            ("outcome",),
        )
        self.updates = counter("updates_total", "DNS UPDATE messages by rcode", ("rcode",))
        self.updates_noted = counter(
            "updates_noted_total",
            "DNS UPDATE messages reported to operators, by event: update-refused (the zone would be refused or too "
            "costly), update-ignored (NOERROR, but a part has no effect)",
            ("event",),
        )
        self.tls_handshakes = counter(
            "tls_handshakes_total",
            "TLS handshakes of clients (incoming), exchanges with peers over TLS (outgoing), by result: done, stalled, "
            "certificate (the peer's is refused), our-certificate (the peer refuses it), closed, protocol, "
            "no-identity, flood",
            ("direction", "result"),
        )
        self.tls_expiration = Gauge(
            "dnssecd_tls_certificate_expiration_timestamp_seconds",
            "When the TLS certificate of this daemon expires; 0 if it has none",
            registry=registry,
        )
        self.tcp_connections = Gauge("dnssecd_tcp_connections", "TCP connections open now", registry=registry)


class PeerMetrics:
    """Metrics of secondaries and parents."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"dnssecd_{name}", text, labels, registry=registry)

        self.notify = counter(
            "notify_total", "NOTIFY sent, by result: answered, refused, timeout, error", ("result",)
        )
        self.notify_in = counter(
            "notify_received_total", "NOTIFY received, by result: taken, refused", ("result",)
        )
        self.secondary_serial = ManyGauge(
            "dnssecd_secondary_serial",
            "SOA serial a secondary was last seen to serve",
            ("zone", "secondary"),
            registry=registry,
        )
        self.secondary_polls = counter(
            "secondary_polls_total",
            "SOA polls of secondaries by result: current, behind, ahead, failed",
            ("result",),
        )
        self.ds_ways = counter(
            "parent_ds_ways_total",
            "DS changes sent to parents by channel (push, hook, notify) and result: done, failed",
            ("way", "result"),
        )

    def forget(self, zone: str, secondary: str | None = None) -> None:
        """Drop the samples of a zone, or of one of its secondaries."""
        labels = {"zone": zone} if secondary is None else {"zone": zone, "secondary": secondary}
        self.secondary_serial.remove_by_labels(labels)


class KeyMetrics:
    """Metrics of zones' keys and parents that have a sample for each zone; counts: ``KeyCollector``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> ManyGauge:
            return ManyGauge(f"dnssecd_zone_{name}", text, ("zone",), registry=registry)

        self.next_step = gauge(
            "next_key_step_timestamp_seconds",
            "When dnssecd next has something to do with the zone's keys: a step of a rollover, or the next rollover",
        )
        self.parent_seen = gauge(
            "parent_seen_timestamp_seconds",
            "When the parent's servers were last seen: the time of the one that was seen longest ago",
        )
        self.parent_ds = gauge(
            "parent_ds", "DS records that the parent's servers have: of the one with fewest"
        )

    def by_zone(self) -> tuple[ManyGauge, ...]:
        """Return the gauges with a sample for each zone."""
        return (self.next_step, self.parent_seen, self.parent_ds)

    def forget(self, zone: str) -> None:
        """Drop the samples of a zone that was removed."""
        for gauge in self.by_zone():
            gauge.remove_by_labels({"zone": zone})


class SignerMetrics:
    """Metrics of the key service's client; the service's counters: ``KeystoreCollector``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.breaker = Gauge(
            "dnssecd_signer_breaker_state",
            "Circuit breaker before the key service: 0 closed (works), 1 half open (trying), 2 open (does not)",
            registry=registry,
        )


class BackupMetrics:
    """Metrics of the backups in ``[backup] directory``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.made = Gauge(
            "dnssecd_backup_made_timestamp_seconds",
            "When the newest complete backup was made; 0: there is none, or [backup] is not configured",
            registry=registry,
        )
        self.checked = Gauge(
            "dnssecd_backup_checked_timestamp_seconds",
            "When a check last found that this host can be restored from the newest backup; 0: never since the start",
            registry=registry,
        )
        self.zones = Gauge(
            "dnssecd_backup_zones",
            "Zones by result of the last check of the newest backup: restorable, refused, absent (published, but not "
            "in it)",
            ("result",),
            registry=registry,
        )


class DaemonMetrics:
    """Metrics of the daemon itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.build = Gauge("dnssecd_build_info", "Always 1", ("version",), registry=registry)
        self.loop_lag = Histogram(
            "dnssecd_event_loop_lag_seconds",
            "How late the event loop wakes up",
            buckets=_FAST,
            registry=registry,
        )
        self.control = Counter(
            "dnssecd_control_requests_total",
            "Control socket requests by command (OTHER: unknown) and result: ok, error, denied",
            ("command", "result"),
            registry=registry,
        )
        self.config_reloads = Counter(
            "dnssecd_config_reloads_total",
            "Configuration reloads by result: ok, rejected",
            ("result",),
            registry=registry,
        )
        self.catalog_looks = Counter(
            "dnssecd_catalog_looks_total",
            "Comparisons of a followed catalog with the zones, by result: ok, broken, failed",
            ("result",),
            registry=registry,
        )
        self.page_requests = Counter(
            "dnssecd_status_page_requests_total",
            "Requests to the status page by result: ok, denied (no token, or another host name), error",
            ("result",),
            registry=registry,
        )
        self.config_loaded = Gauge(
            "dnssecd_config_loaded_timestamp_seconds",
            "When the configuration in use was loaded",
            registry=registry,
        )


class _EventCollector(Collector):
    """Reads the event core at each scrape, so a sample ends with its event."""

    def __init__(self, events: EventCore | None) -> None:
        self._events = events

    def collect(self) -> Iterator[Metric]:
        firing = self._events.firing() if self._events else []
        detail = GaugeMetricFamily(
            "dnssecd_event_firing",
            'Always 1: the event fires for the zone ("" for the daemon as a whole)',
            labels=["event", "zone"],
        )
        pairs = dict.fromkeys((event.name, event.zone) for event in firing)
        for pair in list(pairs)[:EVENT_SAMPLES_MAX]:
            detail.add_metric(pair, 1)
        yield detail
        total = GaugeMetricFamily("dnssecd_events_firing", "Events that fire, by name", labels=["event"])
        counts: dict[str, int] = {}
        for event in firing:
            counts[event.name] = counts.get(event.name, 0) + 1
        for name, count in counts.items():
            total.add_metric([name], count)
        yield total


class MetricInfo(NamedTuple):
    """One row of the metrics table. labels: none for ``_bucket``'s ``le``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


class Metrics:
    """All metrics, in their own registry (tests create many)."""

    def __init__(self, events: EventCore | None = None) -> None:
        self.registry = CollectorRegistry()
        self.zone = ZoneMetrics(self.registry)
        self.server = ServerMetrics(self.registry)
        self.peers = PeerMetrics(self.registry)
        self.signer = SignerMetrics(self.registry)
        self.daemon = DaemonMetrics(self.registry)
        self.alerts = AlertMetrics(self.registry)
        self.keys = KeyMetrics(self.registry)
        self.backup = BackupMetrics(self.registry)
        self.cluster = ClusterMetrics(self.registry)
        self.anchors = AnchorMetrics(self.registry)
        self.tokens = KeystoreCollector()
        self.key_counts = KeyCollector()
        self.registry.register(_EventCollector(events))
        self.registry.register(self.tokens)
        self.registry.register(self.key_counts)
        ProcessCollector(registry=self.registry)

    def large(self) -> tuple[ManyGauge, ...]:
        """Return the gauges whose samples grow with the number of zones."""
        return (*self.zone.by_zone(), *self.keys.by_zone(), self.peers.secondary_serial)

    def forget_zone(self, zone: str) -> None:
        """Drop the samples of a zone that was removed."""
        self.zone.forget(zone)
        self.peers.forget(zone)
        self.keys.forget(zone)

    def table(self) -> list[MetricInfo]:
        """Return dnssecd's metrics (without ``process_*``), by name."""
        return sorted(self._rows())

    def _rows(self) -> Iterable[MetricInfo]:
        groups: tuple[object, ...] = (
            self.zone,
            self.server,
            self.peers,
            self.keys,
            self.signer,
            self.daemon,
            self.alerts,
            self.backup,
            self.cluster,
            self.anchors,
        )
        for group in groups:
            for metric in vars(group).values():
                (family,) = metric.describe()
                suffix = "_total" if family.type == "counter" else ""
                labels = metric.label_names if isinstance(metric, ManyGauge) else tuple(metric._labelnames)
                yield MetricInfo(family.name + suffix, family.type, labels, family.documentation)
        for family in _EventCollector(None).collect():
            assert isinstance(family, GaugeMetricFamily)
            yield MetricInfo(family.name, "gauge", tuple(family._labelnames), family.documentation)
        yield from (MetricInfo(*row) for row in self.tokens.families())
        yield from (MetricInfo(*row) for row in self.key_counts.families())
