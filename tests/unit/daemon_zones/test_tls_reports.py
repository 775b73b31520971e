"""Handshakes that fail: an event for a configured peer, with its remedy; the use of each TSIG key."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from dnssecd.clock import FakeClock
from dnssecd.config.model import Address, Peer
from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.key_usage import KeyUsage, KeyUse
from dnssecd.daemon.tls_reports import TlsReports
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.tls import TlsFailed, TlsFault

HERE = ip_address("192.0.2.53")


class OnePeer:
    def names(self, address: object) -> tuple[str, ...]:
        return ("ns1",) if address == HERE else ()


def test_events_of_peers_only(tmp_path: Path) -> None:
    clock = FakeClock()
    events = EventCore(tmp_path / "events", clock)
    metrics = Metrics()
    mailbox = Mailbox()
    reports = TlsReports(
        events, cast(Any, OnePeer()), metrics.server.tls_handshakes, clock.monotonic, mailbox
    )
    reports.incoming(ip_address("198.51.100.1"), TlsFailed(TlsFault.STALLED, "late"))
    assert events.firing() == []
    reports.incoming(HERE, TlsFailed(TlsFault.CERTIFICATE, "its certificate is refused: expired"))
    reports.incoming(HERE, TlsFailed(TlsFault.CERTIFICATE, "its certificate is refused: expired"))
    reports.outgoing("ns1", TlsFault.OUR_CERTIFICATE, "it refuses our certificate")
    found = {event.subject: event for event in events.firing()}
    assert found.keys() == {"ns1", "ns1 (incoming)"}
    assert found["ns1 (incoming)"].count == 1, "at most one report a minute"
    assert "renew the peer's certificate" in found["ns1 (incoming)"].remedy
    assert "authority of dnssecd's certificate" in found["ns1"].remedy
    reports.incoming(HERE, None)
    reports.outgoing("ns1", None, "")
    assert events.firing() == []
    value = metrics.registry.get_sample_value
    labels = {"direction": "incoming", "result": "certificate"}
    assert value("dnssecd_tls_handshakes_total", labels) == 2
    reports.outgoing("ns1", TlsFault.STALLED, "late")
    mailbox.configured.send()
    assert events.firing() == []
    events.close()


def test_the_use_of_each_key_of_a_peer_that_has_several() -> None:
    clock = FakeClock(1000.0)
    usage = KeyUsage(clock.now)
    address = Address("192.0.2.53", 53)
    one = Peer("one", address, "only.")
    two = Peer("two", address, "new.", tsig_others=("old.",))
    config = cast(Any, SimpleNamespace(secondaries={"one": one, "two": two}, primaries={}))
    usage.received(text_to_wire("old."), HERE)
    usage.received(text_to_wire("new."), ip_address("192.0.2.99"))
    clock.advance(5)
    usage.sent("two", "new")
    usage.sent("two", "")
    assert usage.of(config) == [KeyUse("two", "new.", None, 1005.0), KeyUse("two", "old.", 1000.0, None)]
