"""Refused requests are seen: in the log at its usual level, as an event with a remedy when a peer's, and counted."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import pytest

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import wait_until
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

ZONE = "s.example."
TEXT = "$TTL 300\n@ IN SOA ns1 host 1 3600 600 86400 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"
PEER, STRANGER = "127.0.0.53", "127.0.0.9"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dnssecd]:
    home, key, ports = tmp_path_factory.mktemp("refused"), TsigKey(), DaemonPorts.free()
    (home / "zone").write_text(TEXT)
    config = daemon_config(home, ports, key, {ZONE: home / "zone"}, {"ns1": 53})
    config["secondary"]["ns1"]["address"] = f"{PEER}:53"
    config["tsig"]["update."] = {"algorithm": key.algorithm, "secret": key.secret}
    config["zone"][ZONE]["allow_update"] = [{"tsig": "update.", "names": ["a.s.example."], "types": ["TXT"]}]
    config["zone"][ZONE]["max_change"] = "100%"
    daemon = Dnssecd(home / "dnssecd", config, key)
    try:
        daemon.start()
        # The secondary is none that answers.
        wait_until(
            lambda: daemon.cli("zone", "reload", ZONE, "--first-publication").ok, "the zone is published"
        )
        yield daemon
    finally:
        daemon.stop()


def query(rtype: str, key: TsigKey | None = None, name: str = ZONE) -> dns.message.Message:
    message = dns.message.make_query(name, rtype)
    if key is not None:
        message.use_tsig(key.dnspython())
    return message


def ask(daemon: Dnssecd, message: dns.message.Message, source: str, *, tcp: bool = True) -> dns.rcode.Rcode:
    send = dns.query.tcp if tcp else dns.query.udp
    try:
        return send(message, "127.0.0.1", 5, daemon.port, source).rcode()
    except dns.tsig.PeerError:
        return dns.rcode.NOTAUTH


def logged(daemon: Dnssecd, event: str, **fields: Any) -> list[dict[str, Any]]:
    return [
        line for line in daemon.log_events() if line.get("event") == event and fields.items() <= line.items()
    ]


def events(daemon: Dnssecd) -> dict[str | None, dict[str, Any]]:
    """The events about refused peers that fire, by peer."""
    status = daemon.cli_json("status")
    alerts = [alert for place in (status, *status["zones"]) for alert in place["alerts"]]
    return {alert["subject"]: alert for alert in alerts if alert["name"] == "peer-refused"}


def test_strangers_are_in_the_log_once(daemon: Dnssecd) -> None:
    wrong = TsigKey("other.")
    refused = {"kind": "axfr", "reason": "access", "sender": "other"}
    known = events(daemon)
    before = daemon.metric("dnssecd_requests_refused_total", **refused)
    bad_keys = daemon.metric("dnssecd_tsig_errors_total", error="BADKEY")
    for _ in range(20):
        assert ask(daemon, query("AXFR"), STRANGER) == dns.rcode.REFUSED
        assert ask(daemon, query("SOA", wrong), STRANGER) == dns.rcode.NOTAUTH
        notify = query("SOA")
        notify.set_opcode(dns.opcode.NOTIFY)
        assert ask(daemon, notify, STRANGER, tcp=False) == dns.rcode.REFUSED
        assert ask(daemon, dns.update.Update(ZONE), STRANGER) == dns.rcode.REFUSED
    for kind, reason in [
        ("axfr", "access"),
        ("tsig", "BADKEY"),
        ("notify", "access"),
        ("update", "not signed"),
    ]:
        (line,) = logged(daemon, "request refused", kind=kind, reason=reason, address=STRANGER)
        assert line["level"] == "info"
    assert events(daemon).items() <= known.items(), "a stranger raises no event, and changes none of others"
    assert daemon.metric("dnssecd_requests_refused_total", **refused) == before + 20
    assert daemon.metric("dnssecd_tsig_errors_total", error="BADKEY") == bad_keys + 20


def test_a_flood_of_unsigned_updates_fills_no_log(daemon: Dnssecd) -> None:
    wire = dns.update.Update(ZONE).to_wire()
    before = daemon.log_path.stat().st_size
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((STRANGER, 0))
        sock.settimeout(2)
        for _ in range(100):
            for _ in range(20):
                sock.sendto(wire, ("127.0.0.1", daemon.port))
            for _ in range(20):
                sock.recv(512)
    assert daemon.metric("dnssecd_requests_refused_total", kind="update", sender="other") >= 2000
    assert daemon.log_path.stat().st_size - before < 1000


@pytest.mark.parametrize(
    ("secret", "name", "reason", "remedy"),
    [
        (None, None, "access", "sign with the key"),
        ("other", "transfer.", "BADSIG", "copy the secret"),
        ("same", "misspelt.", "BADKEY", "compare name and algorithm"),
    ],
)
def test_a_refused_secondary_is_an_event_until_it_is_served(
    daemon: Dnssecd, secret: str | None, name: str | None, reason: str, remedy: str
) -> None:
    right = daemon.key
    key = None
    if name is not None:
        key = TsigKey(name, secret=right.secret) if secret == "same" else TsigKey(name)
    assert ask(daemon, query("AXFR", key), PEER) in (dns.rcode.REFUSED, dns.rcode.NOTAUTH)
    event = events(daemon)["ns1"]
    assert (event["zone"], event["severity"]) == (ZONE, "warning")
    assert reason in event["cause"]
    assert PEER in event["cause"]
    assert remedy in event["remedy"]
    assert logged(daemon, "request of a peer refused", peer="ns1", reason=reason)[0]["level"] == "warning"
    assert ask(daemon, query("AXFR", right), PEER) == dns.rcode.NOERROR
    assert "ns1" not in events(daemon)


def test_clocks_that_differ_are_an_event(daemon: Dnssecd, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    message = query("AXFR", daemon.key)
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: now - 400)
        wire = message.to_wire()
    with socket.create_connection(("127.0.0.1", daemon.port), 5, (PEER, 0)) as sock:
        sock.sendall(len(wire).to_bytes(2, "big") + wire)
        assert sock.recv(4096)[5] & 15 == dns.rcode.NOTAUTH
    assert "clocks differ" in events(daemon)["ns1"]["remedy"]
    assert ask(daemon, query("AXFR", daemon.key), PEER) == dns.rcode.NOERROR


def test_a_key_without_grant_is_an_event_of_the_key(daemon: Dnssecd) -> None:
    key = TsigKey("update.", secret=daemon.key.secret)
    assert ask(daemon, query("AXFR", key), STRANGER) == dns.rcode.REFUSED
    assert "allow_transfer" in events(daemon)["key update."]["remedy"]
    update = dns.update.Update(ZONE, keyring=daemon.key.dnspython())
    update.add("b", 60, "TXT", "x")
    assert ask(daemon, update, STRANGER) == dns.rcode.REFUSED
    assert "no grant" in events(daemon)["key transfer."]["cause"]
    assert "allow_update" in events(daemon)["key transfer."]["remedy"]


def test_a_replayed_update_is_refused(daemon: Dnssecd) -> None:
    key = TsigKey("update.", secret=daemon.key.secret).dnspython()
    update = dns.update.Update(ZONE, keyring=key)
    update.add("a", 60, "TXT", "x")
    wire = update.to_wire()

    def send() -> int:
        with socket.create_connection(("127.0.0.1", daemon.port), 5, (STRANGER, 0)) as sock:
            sock.sendall(len(wire).to_bytes(2, "big") + wire)
            return sock.recv(4096)[5] & 15

    assert send() == dns.rcode.NOERROR
    serial = daemon.serial(ZONE)
    assert serial == 2
    assert [send() for _ in range(3)] == [dns.rcode.REFUSED] * 3
    assert daemon.serial(ZONE) == serial
    assert daemon.metric("dnssecd_requests_refused_total", reason="replayed") == 3
