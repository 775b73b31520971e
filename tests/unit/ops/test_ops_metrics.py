"""Metrics: the list, the samples, and the endpoint under clients that misbehave."""

import asyncio
import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dnssecd.clock import FakeClock
from dnssecd.config import Address
from dnssecd.ops import http_server
from dnssecd.ops.events import EventCore
from dnssecd.ops.looplag import LoopMonitor
from dnssecd.ops.metrics import EVENT_SAMPLES_MAX, Metrics
from dnssecd.ops.metrics_http import MetricsEndpoint


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventCore]:
    core = EventCore(tmp_path / "events.sqlite", FakeClock())
    yield core
    core.close()


def test_the_names_of_the_contract_are_there() -> None:
    table = {row.name: row for row in Metrics().table()}
    assert {
        "dnssecd_zone_serial",
        "dnssecd_zone_rrsig_earliest_expiration_timestamp_seconds",
        "dnssecd_signatures_total",
        "dnssecd_event_loop_lag_seconds",
        "dnssecd_secondary_serial",
        "dnssecd_signer_breaker_state",
        "dnssecd_event_firing",
    } <= set(table)
    assert table["dnssecd_transfers_total"].labels == ("kind",)
    assert table["dnssecd_queries_total"].labels == ("opcode", "rcode")
    for row in table.values():
        assert row.help, row.name
        if row.kind == "counter":
            assert row.name.endswith("_total")


def test_the_table_is_what_is_exported() -> None:
    metrics = Metrics()
    exported = {
        family.name for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
    }
    ours = {row.name.removesuffix("_total") for row in metrics.table()}
    assert ours == {name for name in exported if name.startswith("dnssecd_")}


def test_events_are_samples_while_they_fire(events: EventCore) -> None:
    metrics = Metrics(events)
    labels = {"event": "input-error", "zone": "example.com."}
    events.raise_event("input-error", "example.com.", "x")
    assert metrics.registry.get_sample_value("dnssecd_event_firing", labels) == 1
    events.resolve("input-error", "example.com.")
    assert metrics.registry.get_sample_value("dnssecd_event_firing", labels) is None


def test_event_samples_are_bounded(events: EventCore) -> None:
    metrics = Metrics(events)
    for number in range(EVENT_SAMPLES_MAX + 50):
        events.raise_event("input-error", f"z{number}.", "x")
    text = generate_latest(metrics.registry).decode()
    assert text.count("dnssecd_event_firing{") == EVENT_SAMPLES_MAX
    value = metrics.registry.get_sample_value("dnssecd_events_firing", {"event": "input-error"})
    assert value == EVENT_SAMPLES_MAX + 50


def test_a_removed_zone_leaves_no_samples() -> None:
    metrics = Metrics()
    metrics.zone.serial.labels(zone="example.com.").set(7)
    metrics.zone.serial.labels(zone="example.net.").set(8)
    metrics.peers.secondary_serial.labels(zone="example.com.", secondary="ns1").set(7)
    metrics.forget_zone("example.com.")
    text = generate_latest(metrics.registry).decode()
    assert 'zone="example.com."' not in text
    assert 'zone="example.net."' in text
    metrics.forget_zone("never.seen.")


class Probes:
    ready = (True, "ok")

    def health(self) -> tuple[bool, str]:
        return True, "ok"

    def readiness(self) -> tuple[bool, str]:
        return self.ready


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
def endpoint(probes: Probes) -> Iterator[MetricsEndpoint]:
    metrics = Metrics()
    metrics.zone.serial.labels(zone=".").set(2018010100)
    endpoint = MetricsEndpoint(
        Address("127.0.0.1", 0),
        metrics.registry,
        probes.health,
        probes.readiness,
        names=("signer.example.net",),
    )
    endpoint.start()
    yield endpoint
    endpoint.stop()


def get(endpoint: MetricsEndpoint, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.address.port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_scrape_health_and_readiness(endpoint: MetricsEndpoint, probes: Probes) -> None:
    status, body = get(endpoint, "/metrics")
    assert status == 200
    assert 'dnssecd_zone_serial{zone="."} 2.0180101e+09' in body
    assert "process_resident_memory_bytes" in body
    assert get(endpoint, "/healthz") == (200, "ok\n")
    assert get(endpoint, "/readyz") == (200, "ok\n")
    probes.ready = (False, "2 zones wait for their first version")
    assert get(endpoint, "/readyz") == (503, "2 zones wait for their first version\n")
    assert get(endpoint, "/etc/passwd")[0] == 404
    assert get(endpoint, "/metrics", "POST")[0] == 501
    assert get(endpoint, "/healthz", "HEAD") == (200, "")


def test_under_the_name_of_a_stranger_nothing_is_shown(endpoint: MetricsEndpoint, probes: Probes) -> None:
    """DNS rebinding: a stranger's web page asks through a browser of this network. Probes keep their status."""
    assert get(endpoint, "/metrics", Host="signer.example.net:9533")[0] == 200
    status, body = get(endpoint, "/metrics", Host="evil.example")
    assert status == 421
    assert "[metrics] names" in body
    assert "dnssecd_" not in body
    probes.ready = (False, "2 zones wait for their first version")
    assert get(endpoint, "/healthz", Host="evil.example") == (200, "ok\n")
    assert get(endpoint, "/readyz", Host="evil.example") == (503, "not ok\n")


def test_clients_that_hang_are_cut_off(endpoint: MetricsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_S", 0.3)
    address = ("127.0.0.1", endpoint.address.port)
    hanging = [socket.create_connection(address, timeout=10) for _ in range(http_server.READING_MAX)]
    started = time.monotonic()
    for connection in hanging:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
    for connection in hanging:
        while connection.recv(4096):
            pass
        connection.close()
    assert time.monotonic() - started < 5
    assert get(endpoint, "/healthz")[0] == 200


@pytest.mark.parametrize("octets", [b"", b"GET /metrics HTTP/1.1\r\nX: "], ids=["silent", "half a request"])
def test_silent_clients_do_not_blind_the_probes(endpoint: MetricsEndpoint, octets: bytes) -> None:
    """Their number, and how often they come again, does not matter: the newest that says nothing stays a moment."""
    address, held = ("127.0.0.1", endpoint.address.port), []
    for _ in range(5):
        for _ in range(40):
            held.append(socket.create_connection(address, timeout=10))
            held[-1].sendall(octets)
        started = time.monotonic()
        assert get(endpoint, "/healthz")[0] == 200
        assert get(endpoint, "/metrics")[0] == 200
        assert time.monotonic() - started < 5
    for connection in held:
        connection.close()


def test_scrapes_that_are_read_slowly_blind_neither_probes_nor_scrapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "COSTLY_S", 0.2)
    metrics = Metrics()
    for number in range(40_000):
        metrics.zone.serial.labels(zone=f"a-name-of-some-length-{number}.example.").set(number)
    endpoint = MetricsEndpoint(
        Address("127.0.0.1", 0), metrics.registry, lambda: (True, "ok"), lambda: (True, "ok")
    )
    endpoint.start()
    held = []
    for _ in range(http_server.COSTLY_MAX):
        held.append(socket.socket())
        held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        held[-1].settimeout(10)
        held[-1].connect(("127.0.0.1", endpoint.address.port))
        held[-1].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert held[-1].recv(10) == b"HTTP/1.0 2"
    assert get(endpoint, "/healthz")[0] == 200
    time.sleep(0.3)
    status, body = get(endpoint, "/metrics")
    assert (status, body.count("dnssecd_zone_serial{")) == (200, 40_000)
    for connection in held:
        connection.close()
    endpoint.stop()


def test_a_taken_port_is_an_error(endpoint: MetricsEndpoint) -> None:
    place = f"cannot serve metrics on 127.0.0.1 port {endpoint.address.port}: .*in use"
    with pytest.raises(OSError, match=place):
        MetricsEndpoint(endpoint.address, Metrics().registry, lambda: (True, ""), lambda: (True, ""))


async def test_the_loop_monitor_beats() -> None:
    lags: list[float] = []
    beaten = asyncio.Event()

    def observe(lag: float) -> None:
        lags.append(lag)
        beaten.set()

    monitor = LoopMonitor(observe)
    task = asyncio.create_task(monitor.run())
    await asyncio.wait_for(beaten.wait(), 10)
    task.cancel()
    assert lags[0] >= 0
    assert monitor.health() == (True, "ok")
    monitor._beat -= 60
    good, text = monitor.health()
    assert not good
    assert "blocked for 60 s" in text
