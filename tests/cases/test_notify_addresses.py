"""Where NOTIFY and questions leave from, which NOTIFY is taken, and what a refused one has the operator see."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

ZONE = "s.test."
OURS = "127.0.0.7"
TEXT = "$TTL 300\n@ IN SOA ns1 host {serial} 3600 600 86400 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"


@contextmanager
def answering(reply: Callable[[dns.message.Message], dns.message.Message]) -> Iterator[tuple[int, list]]:
    """A server on loopback that answers over UDP; yields its port and the (address, message) it was sent."""
    seen: list[tuple[str, dns.message.Message]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        sock.settimeout(0.2)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    wire, client = sock.recvfrom(65_535)
                except TimeoutError:
                    continue
                message = dns.message.from_wire(wire)
                seen.append((client[0], message))
                sock.sendto(reply(message).to_wire(), client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1], seen
        finally:
            over.set()
            thread.join()


def _started(
    servers: Servers, home: Path, key: TsigKey, port: int, **of_secondary: object
) -> tuple[Dnssecd, DaemonPorts]:
    zone = home / "zone"
    zone.write_text(TEXT.format(serial=1))
    ports = DaemonPorts.free()
    config = daemon_config(home, ports, key, {ZONE: zone}, {"ns1": port})
    del config["secondary"]["ns1"]["tsig"]
    config["secondary"]["ns1"].update(of_secondary)
    config["server"]["listen"] = [f"{OURS}:{ports.dns}"]
    daemon = Dnssecd(home, config, key)
    servers.start(daemon)
    return daemon, ports


def _refused(query: dns.message.Message) -> dns.message.Message:
    answer = dns.message.make_response(query)
    answer.set_rcode(dns.rcode.REFUSED)
    return answer


@pytest.mark.parametrize(("more", "wanted"), [({}, OURS), ({"source": "127.0.0.9"}, "127.0.0.9")])
def test_notify_and_questions_leave_from_the_address_listened_on_or_the_source(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, more: dict[str, object], wanted: str
) -> None:
    with answering(_refused) as (port, seen):
        _started(servers, peer_dir, tsig_key, port, **more)
        opcodes = wait_until(
            lambda: {m.opcode() for _, m in seen} if len({m.opcode() for _, m in seen}) == 2 else None,
            "a NOTIFY and a question",
        )
        assert opcodes == {dns.opcode.NOTIFY, dns.opcode.QUERY}
        assert {address for address, _ in seen} == {wanted}


def test_a_secondary_that_refuses_notify_is_an_alert_that_ends_when_it_takes_one(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    refuse = threading.Event()
    refuse.set()

    def reply(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        if query.opcode() == dns.opcode.NOTIFY and refuse.is_set():
            answer.set_rcode(dns.rcode.REFUSED)
        return answer

    def alert() -> str:
        listed = daemon.cli_json("alerts", "list")["alerts"]
        return next((a["cause"] for a in listed if a["name"] == "notify-unanswered"), "")

    with answering(reply) as (port, _):
        daemon, _ports = _started(servers, peer_dir, tsig_key, port)
        cause = wait_until(alert, "notify-unanswered fires", 40)
        assert "ns1: REFUSED" in cause
        refuse.clear()
        wait_until(lambda: not alert(), "the event ends", 40)


def test_an_address_that_takes_notify_only_is_no_evidence_and_is_asked_nothing(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    with answering(dns.message.make_response) as (port, seen):
        zone = peer_dir / "zone"
        zone.write_text(TEXT.format(serial=1))
        ports = DaemonPorts.free()
        config = daemon_config(peer_dir, ports, tsig_key, {ZONE: zone}, {"hub": port})
        config["secondary"]["hub"] = {"address": f"{LOOPBACK}:{port}", "query": False}
        config["zone"][ZONE]["check_servers"] = [f"{LOOPBACK}:{ports.dns}"]
        daemon = Dnssecd(peer_dir, config, tsig_key)
        servers.start(daemon)
        first = daemon.wait_serial_other_than(ZONE, None)
        wait_until(lambda: [m for _, m in seen if m.opcode() == dns.opcode.NOTIFY], "a NOTIFY")
        replace_file(zone, TEXT.format(serial=2))
        daemon.wait_serial_other_than(ZONE, first)
        wait_until(lambda: len(seen) >= 2, "the next NOTIFY")
        assert {message.opcode() for _, message in seen} == {dns.opcode.NOTIFY}
        explained = daemon.cli("explain", ZONE).out
        assert "hub" not in explained, "nothing waits for what it serves"


class UnsignedNotify(Named):
    """named as most people configure it: ``also-notify`` with an address alone."""

    def configuration(self) -> str:
        return re.sub(r'(also-notify \{ \S+ port \d+) key "[^"]+"', r"\1", super().configuration())


def test_a_notify_as_named_sends_it_by_default_has_the_primary_asked(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """named signs NOTIFY only where its configuration says so; the [primary] has a TSIG key for transfers."""
    zone = peer_dir / "zone"
    zone.write_text(TEXT.format(serial=1))
    ports = DaemonPorts.free()
    primary = UnsignedNotify(peer_dir / "named", [PrimaryZone(ZONE, zone, tsig_key, notify=(ports.dns,))])
    config = daemon_config(peer_dir, ports, tsig_key, {})
    config["primary"] = {"up": {"address": f"{LOOPBACK}:{primary.port}", "tsig": tsig_key.name}}
    config["zone"] = {
        ZONE: {
            "source": "primaries",
            "primaries": ["up"],
            "parent": "none",
            "allow_transfer": [tsig_key.name],
        }
    }
    daemon = Dnssecd(peer_dir, config, tsig_key)
    servers.start(primary)
    servers.start(daemon)
    first = daemon.wait_serial_other_than(ZONE, None)
    replace_file(zone, TEXT.format(serial=2))
    primary.reload()
    assert daemon.wait_serial_other_than(ZONE, first, 15) == 2


def _notify(port: int, source: str) -> int:
    query = dns.message.make_query(ZONE, dns.rdatatype.SOA)
    query.set_opcode(dns.opcode.NOTIFY)
    return dns.query.udp(query, LOOPBACK, 5, port, source=source).rcode()


def test_unsigned_notify_is_taken_from_the_primary_alone_unless_a_key_is_demanded(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    ports = DaemonPorts.free()
    config = daemon_config(peer_dir, ports, tsig_key, {})
    config["primary"] = {"up": {"address": f"127.0.0.3:{free_port()}", "tsig": tsig_key.name}}
    config["zone"] = {ZONE: {"source": "primaries", "primaries": ["up"], "parent": "none"}}
    daemon = Dnssecd(peer_dir, config, tsig_key)
    servers.start(daemon)
    assert _notify(ports.dns, "127.0.0.3") == dns.rcode.NOERROR
    assert _notify(ports.dns, "127.0.0.4") != dns.rcode.NOERROR
    config["primary"]["up"]["notify_tsig"] = tsig_key.name
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    assert _notify(ports.dns, "127.0.0.3") != dns.rcode.NOERROR
