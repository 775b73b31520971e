"""Zones that come from primaries: BIND, Knot and NSD by AXFR and IXFR, and one that lies."""

from __future__ import annotations

import base64
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.xfr
import dns.zone
import pytest

from dnssecd.core.dns.tsig import TsigKey as OurKey
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone, ask
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tools import dnssec_signzone, ldns_verify_zone, nsupdate
from tests.peers.tsig import TsigKey
from tests.peers.zones import difference, unsigned_content, zone_file
from tests.unit.xfrin import streams as s
from tests.unit.xfrin.liar import Cut, Liar, Script, Stall, answers, ixfr_answers, rcode, running
from tests.unit.xfrin.streams import RR

pytestmark = pytest.mark.integration

ZONE = "upstream.test."


def zone_text(serial: int, hosts: int = 40, extra: str = "", refresh: int = 600, expire: int = 86_400) -> str:
    lines = [
        "$TTL 300",
        f"@ IN SOA ns1 host {serial} {refresh} 1 {expire} 300",
        "@ IN NS ns1",
        "ns1 IN A 192.0.2.1",
        "sub IN NS ns.sub",
        "ns.sub IN A 192.0.2.2",
        'TXT.upper IN TXT "Some \\"Text\\"" "more"',
        'ns1 IN CAA 0 issue "ca.example"',
        "_s._tcp IN SRV 1 2 3 Host1.Upstream.Test.",
        *(f"host{number} IN A 192.0.2.{number % 250}" for number in range(hosts)),
        extra,
    ]
    return "\n".join(lines) + "\n"


@dataclass
class Upstream:
    """A daemon that has a zone from primaries."""

    daemon: Dnssecd
    home: Path
    zone: str = ZONE

    def check_equal(self, source: Path) -> set[str]:
        """What is served is the content of the primaries' file, signed so that everybody accepts it."""
        served = self.daemon.zone_content(self.zone)
        wanted = unsigned_content(zone_file(source, self.zone))
        assert difference(wanted, unsigned_content(served)) == ""
        exported = self.home / "exported"
        self.daemon.export(self.zone, exported)
        assert ldns_verify_zone(exported, self.zone).ok
        verdict = self.daemon.cli("verify", str(exported), "--origin", self.zone)
        assert verdict.ok, verdict
        return served

    def events(self) -> dict[str, str]:
        """What fires, with its cause."""
        return {alert["name"]: alert["cause"] for alert in self.daemon.zone_status(self.zone)["alerts"]}

    def wait_event(self, name: str, *, fires: bool = True) -> str:
        """The cause of an event, once it fires (or "" once it does not)."""
        wait_until(lambda: (name in self.events()) is fires, f"event {name} fires: {fires}", every=0.2)
        return self.events().get(name, "")

    def transfers(self) -> dict[str, int]:
        """Transfers in, by result."""
        kinds = ("axfr", "ixfr", "failed", "up-to-date")
        return {kind: int(self.daemon.metric("dnssecd_transfers_in_total", result=kind)) for kind in kinds}


def start_daemon(
    servers: Servers,
    home: Path,
    key: TsigKey,
    primaries: Sequence[int],
    ports: DaemonPorts | None = None,
    *,
    name: str = ZONE,
    start: bool = True,
    **policy: Any,
) -> Upstream:
    """The daemon with a zone from the primaries at ports on loopback."""
    ports = ports or DaemonPorts.free()
    config = daemon_config(home, ports, key, {}, policy=policy)
    config["primary"] = {
        f"p{number}": {"address": f"{LOOPBACK}:{port}", "tsig": key.name}
        for number, port in enumerate(primaries)
    }
    config["zone"] = {
        name: {
            "policy": "default",
            "source": "primaries",
            "primaries": list(config["primary"]),
            "allow_transfer": [key.name],
            "parent": "none",
        }
    }
    daemon = servers.add(Dnssecd(home / "dnssecd", config, key))
    if start:
        daemon.start()
    return Upstream(daemon, home, name)


class NsdWithIxfr(Nsd):
    """NSD that makes differences of what it reloads."""

    def configuration(self) -> str:
        text = super().configuration()
        return text.replace("    provide-xfr:", "    store-ixfr: yes\n    create-ixfr: yes\n    provide-xfr:")


@pytest.mark.parametrize("kind", [Named, Knotd, NsdWithIxfr])
def test_real_primary(kind: type[Nameserver], servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    ports = DaemonPorts.free()
    source = peer_dir / "source.zone"
    source.write_text(zone_text(7))
    primary = kind(peer_dir / "primary", [PrimaryZone(ZONE, source, tsig_key, [ports.dns])])
    servers.start(primary)
    upstream = start_daemon(servers, peer_dir, tsig_key, [primary.port], ports)
    daemon = upstream.daemon
    assert daemon.wait_serial_other_than(ZONE, None) == 7
    upstream.check_equal(source)
    status = daemon.zone_status(ZONE)
    assert status["input_serial"] == 7
    assert [(p["name"], p["serial"]) for p in status["primaries"]] == [("p0", 7)]
    for serial, extra in ((8, "new IN A 192.0.2.9"), (9, "a.b.c IN TXT x\nsub IN DS 1 13 2 " + "00" * 32)):
        replace_file(source, zone_text(serial, 40 - serial, extra))
        primary.signal(signal.SIGHUP)
        primary.wait_serial(ZONE, serial)
        assert daemon.wait_serial_other_than(ZONE, serial - 1) == serial
        upstream.check_equal(source)
    assert upstream.transfers() == {
        "axfr": 1,
        "ixfr": 2,
        "failed": 0,
        "up-to-date": upstream.transfers()["up-to-date"],
    }
    assert upstream.events() == {}


def test_nsd_without_differences(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """Its NSD answers IXFR with NOTIMP or the like, or the whole zone; by SOA timer, without NOTIFY."""
    source = peer_dir / "source.zone"
    source.write_text(zone_text(7, refresh=2))
    primary = servers.start(Nsd(peer_dir / "primary", [PrimaryZone(ZONE, source, tsig_key)]))
    upstream = start_daemon(servers, peer_dir, tsig_key, [primary.port])
    upstream.daemon.wait_serial_other_than(ZONE, None)
    replace_file(source, zone_text(8, refresh=2, extra="new IN A 192.0.2.9"))
    primary.signal(signal.SIGHUP)
    assert upstream.daemon.wait_serial_other_than(ZONE, 7) == 8
    upstream.check_equal(source)
    assert upstream.transfers()["axfr"] == 2


def test_signed_upstream(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """A zone that its primary signs, too: stripped, and its re-signing is no change."""
    ports = DaemonPorts.free()
    source, published = peer_dir / "source.zone", peer_dir / "published.zone"

    def sign(serial: int, extra: str = "") -> None:
        source.write_text(zone_text(serial, extra=extra))
        signed = dnssec_signzone(source, ZONE, peer_dir)
        replace_file(published, signed.read_text())

    sign(7)
    primary = Named(peer_dir / "primary", [PrimaryZone(ZONE, published, tsig_key, [ports.dns])])
    servers.start(primary)
    # Our serial is far beyond the primary's, so that its serial alone is no change.
    upstream = start_daemon(servers, peer_dir, tsig_key, [primary.port], ports, serial="unixtime")
    daemon = upstream.daemon
    serial = daemon.wait_serial_other_than(ZONE, None)
    upstream.check_equal(source)
    sign(8)
    primary.signal(signal.SIGHUP)
    wait_until(lambda: upstream.transfers()["ixfr"] == 1, "the IXFR of new signatures")
    wait_until(lambda: daemon.zone_status(ZONE)["input_serial"] == 8, "the input serial is known")
    assert daemon.serial(ZONE) == serial
    sign(9, "new IN A 192.0.2.7")
    primary.signal(signal.SIGHUP)
    daemon.wait_serial_other_than(ZONE, serial)
    upstream.check_equal(source)
    assert upstream.transfers()["failed"] == 0


def test_fail_over_and_restarts(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    source = peer_dir / "source.zone"
    source.write_text(zone_text(7, refresh=2))
    primaries: list[Nameserver] = [
        Named(peer_dir / "named", [PrimaryZone(ZONE, source, tsig_key)]),
        Knotd(peer_dir / "knotd", [PrimaryZone(ZONE, source, tsig_key)]),
    ]
    for primary in primaries:
        servers.start(primary)
    upstream = start_daemon(servers, peer_dir, tsig_key, [primary.port for primary in primaries])
    daemon = upstream.daemon
    daemon.wait_serial_other_than(ZONE, None)

    primaries[0].kill()
    replace_file(source, zone_text(8, refresh=2, expire=4, extra="by IN TXT second"))
    primaries[1].signal(signal.SIGHUP)
    assert daemon.wait_serial_other_than(ZONE, 7) == 8
    seen = {p["name"]: p["serial"] for p in daemon.zone_status(ZONE)["primaries"]}
    assert seen == {"p0": None, "p1": 8}
    assert "primary-unreachable" not in upstream.events()

    primaries[1].kill()
    cause = upstream.wait_event("primary-unreachable")
    assert "p0" in cause
    assert "p1" in cause
    upstream.check_equal(source)
    what = "the SOA's expire is over"
    wait_until(lambda: "longer than SOA expire" in upstream.events()["primary-unreachable"], what, every=0.2)
    (alert,) = daemon.zone_status(ZONE)["alerts"]
    assert alert["severity"] == "critical"
    upstream.check_equal(source)

    replace_file(source, zone_text(9, refresh=2, extra="by IN TXT first"))
    primaries[0].start()
    assert daemon.wait_serial_other_than(ZONE, 8) == 9
    upstream.wait_event("primary-unreachable", fires=False)
    upstream.check_equal(source)
    daemon.kill()
    daemon.start()
    assert daemon.serial(ZONE) == 9
    replace_file(source, zone_text(10, refresh=2, extra="by IN TXT third"))
    primaries[0].signal(signal.SIGHUP)
    assert daemon.wait_serial_other_than(ZONE, 9) == 10
    assert upstream.transfers()["ixfr"] == 1, "after a restart differences still go on from what is held"


def test_a_zone_that_follows_its_soa_expires(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """SERVFAIL and no transfers once no primary has confirmed it for so long, a restart included; nothing is lost."""
    source = peer_dir / "source.zone"
    source.write_text(zone_text(7, refresh=1, expire=2))
    primary = servers.start(Named(peer_dir / "named", [PrimaryZone(ZONE, source, tsig_key)]))
    upstream = start_daemon(servers, peer_dir, tsig_key, [primary.port], start=False)
    daemon = upstream.daemon
    daemon.config["zone"][ZONE]["soa_expire"] = "follow"
    daemon.start()
    daemon.wait_serial_other_than(ZONE, None)
    primary.kill()
    assert "SOA expire (2 s)" in upstream.wait_event("zone-expired")
    for start in (lambda: None, daemon.start):
        start()
        answer = ask(daemon.port, ZONE, "SOA")
        assert answer is not None
        assert answer.rcode() == dns.rcode.SERVFAIL
        with pytest.raises(dns.xfr.TransferError, match="SERVFAIL"):
            dns.query.inbound_xfr(
                LOOPBACK, dns.zone.Zone(ZONE), xfr_query(tsig_key), port=daemon.port, lifetime=10
            )
        assert daemon.export(ZONE, peer_dir / "exported.zone"), "it is kept"
        daemon.kill()
    source.write_text(zone_text(8, refresh=1))  # which no machine is too slow to confirm in time
    daemon.start()
    primary.start()
    upstream.wait_event("zone-expired", fires=False)
    wait_until(lambda: daemon.serial(ZONE) == 8, "the zone is followed again")
    upstream.check_equal(source)
    wait_until(lambda: daemon.zone_status(ZONE)["alerts"] == [], "no alert fires", every=0.2)


def xfr_query(key: TsigKey) -> dns.message.QueryMessage:
    query, _ = dns.xfr.make_query(dns.zone.Zone(ZONE), keyring=key.dnspython())
    return query


def our_key(key: TsigKey) -> OurKey:
    return OurKey.make(key.name, key.algorithm, base64.b64decode(key.secret))


def notify(port: int, key: TsigKey | None, zone: str = ZONE, source: str = LOOPBACK) -> str:
    """Send a NOTIFY from ``source``; the RCODE of the answer."""
    message = dns.message.make_query(zone, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    if key is not None:
        message.use_tsig({key.dnspython().name: key.dnspython()})  # type: ignore[arg-type]
    return dns.rcode.to_text(dns.query.udp(message, LOOPBACK, timeout=5, port=port, source=source).rcode())


class Lies:
    """A lying primary of ZONE and a daemon that has the zone, at serial 7, from it."""

    def __init__(self, liar: Liar, upstream: Upstream) -> None:
        self.liar, self.upstream = liar, upstream
        self.daemon = upstream.daemon

    def zone(self, serial: int, *rrs: RR) -> list[RR]:
        return [s.soa(serial), s.NS_RR, s.a("ns", 1), *rrs]

    def be_honest(self, serial: int, *rrs: RR) -> None:
        """Let the primary have a sound zone."""
        self.liar.serial = serial
        self.liar.ixfr = rcode(4, s.IXFR)
        self.liar.axfr = answers([*self.zone(serial, *rrs), s.soa(serial)])

    def publish(self, serial: int, *rrs: RR) -> None:
        """Let the primary have a sound zone, and have the daemon take it."""
        self.be_honest(serial, *rrs)
        done = self.daemon.cli("zone", "reload", s.ZONE)
        assert done.ok, done
        assert self.daemon.zone_status(s.ZONE)["input_serial"] == serial

    def refused(self, serial: int, axfr: Script, ixfr: Script | None = None) -> str:
        """Let the primary lie; the message of a reload that fails. What is served stays."""
        before = self.daemon.zone_content(s.ZONE)
        self.liar.serial, self.liar.axfr, self.liar.ixfr = serial, axfr, ixfr or rcode(4, s.IXFR)
        done = self.daemon.cli("zone", "reload", s.ZONE)
        assert done.status == 1, done
        assert self.daemon.zone_content(s.ZONE) == before
        return done.err


@pytest.fixture
def lies(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> Iterator[Lies]:
    with running(Liar(our_key(tsig_key))) as liar:
        upstream = start_daemon(servers, peer_dir, tsig_key, [liar.port], name=s.ZONE, start=False)
        made = Lies(liar, upstream)
        made.be_honest(7, s.a("www", 1))
        upstream.daemon.start()
        assert upstream.daemon.wait_serial_other_than(s.ZONE, None) == 7
        yield made


def test_lies_in_axfr(lies: Lies) -> None:
    """Each line of the torture list on AXFR: the old zone stays, and the cause is reported."""
    www = s.a("www", 2)
    whole = lies.zone(8, www)
    other = s.soa(8, s.name("www"))
    cases: dict[str, tuple[list[RR], str]] = {
        "SOA of another owner": ([*whole, other, s.soa(8)], "not the apex"),
        "SOA mid-stream": ([*whole, s.soa(9), s.soa(8)], "other SOA after"),
        "data after the final SOA": ([*whole, s.soa(8), www], "RR after: end"),
        "wrong class": ([*whole, www._replace(rclass=3), s.soa(8)], "class 3"),
        "SOA out of zone": ([*whole, s.soa(8, b"\x05other\x00"), s.soa(8)], "not in the zone"),
        "malformed RDATA": ([*whole, RR(s.name("x"), s.TXT, b"\x09a"), s.soa(8)], "TXT"),
        "CNAME beside other data": ([*whole, RR(s.name("www"), s.CNAME, s.name("x")), s.soa(8)], "CNAME"),
        "no NS": ([s.soa(8), www, s.soa(8)], "no NS"),
        "a thousand types at a name": (
            [*whole, *(RR(s.name("x"), 1000 + n, b"x") for n in range(1000)), s.soa(8)],
            "types",
        ),
        "a TTL beyond the refresh": ([*whole, s.a("x", 1, 20 * 86_400), s.soa(8)], "TTL"),
    }
    for name, (rrs, why) in cases.items():
        told = lies.refused(8, answers(rrs))
        assert why in told, f"{name}: {told}"
        firing = lies.upstream.events()
        assert firing.keys() & {"input-error", "ttl-rejected"}, name
    assert "closed before the end" in lies.refused(8, lambda mid: [s.message(whole, mid=mid), Cut()])
    assert "REFUSED" in lies.refused(8, rcode(5))
    assert lies.upstream.transfers()["failed"] > 2
    lies.publish(8, www)
    assert lies.upstream.events() == {}


def test_lies_in_ixfr(lies: Lies) -> None:
    """Differences that do not fit, do not chain or go back, and refusals: AXFR follows at once."""
    cases: dict[str, Callable[[int], Script]] = {
        "deletes what is missing": lambda n: ixfr_answers(
            [s.soa(n), s.soa(n - 1), s.a("nix", 1), s.soa(n), s.soa(n)]
        ),
        "adds what is there": lambda n: ixfr_answers(
            [s.soa(n), s.soa(n - 1), s.soa(n), s.a("ns", 1), s.soa(n)]
        ),
        "does not chain": lambda n: ixfr_answers([s.soa(n), s.soa(n - 2), s.soa(n), s.soa(n)]),
        "goes back": lambda n: ixfr_answers(
            [s.soa(n), s.soa(n - 1), s.soa(n - 2), s.soa(n - 2), s.soa(n), s.soa(n)]
        ),
        "cut": lambda n: lambda mid: [s.message([s.soa(n), s.soa(n - 1)], s.IXFR, mid=mid), Cut()],
        "NOTIMP": lambda n: rcode(4, s.IXFR),
        "FORMERR": lambda n: rcode(1, s.IXFR),
        "SERVFAIL": lambda n: rcode(2, s.IXFR),
        "REFUSED": lambda n: rcode(5, s.IXFR),
        "TC": lambda n: lambda mid: [s.message([s.soa(n)], s.IXFR, mid=mid, flags=0x8600)],
        "one newer SOA": lambda n: lambda mid: [s.message([s.soa(n)], s.IXFR, mid=mid), Cut()],
        "nothing newer, although the SOA was": lambda n: ixfr_answers([s.soa(n - 1)]),
    }
    serial = 7
    for name, script in cases.items():
        serial += 1
        lies.liar.asked.clear()
        lies.liar.serial, lies.liar.ixfr = serial, script(serial)
        lies.liar.axfr = answers([*lies.zone(serial, s.a("www", serial)), s.soa(serial)])
        done = lies.daemon.cli("zone", "reload", s.ZONE)
        assert done.ok, (name, done)
        assert lies.daemon.serial(s.ZONE) == serial, name
        assert lies.liar.asked == ["ixfr", "axfr"], name
    lies.liar.asked.clear()
    lies.liar.serial = serial + 1
    lies.liar.ixfr = ixfr_answers(
        [
            s.soa(serial + 1),
            s.soa(serial),
            s.a("www", serial),
            s.soa(serial + 1),
            s.a("www", 99),
            s.soa(serial + 1),
        ]
    )
    assert lies.daemon.cli("zone", "reload", s.ZONE).ok
    assert lies.daemon.serial(s.ZONE) == serial + 1
    assert lies.liar.asked == ["ixfr"]
    assert lies.upstream.events() == {}


def test_serial_going_back(lies: Lies) -> None:
    lies.publish(9, s.a("www", 9))
    lies.liar.serial = 8
    assert notify(lies.daemon.port, lies.daemon.key, s.ZONE) == "NOERROR"
    assert "decreased" in lies.upstream.wait_event("input-error")
    assert lies.daemon.serial(s.ZONE) == 9
    lies.liar.axfr = answers([*lies.zone(8, s.a("www", 8)), s.soa(8)])
    done = lies.daemon.cli("zone", "reload", s.ZONE, "--accept-change")
    assert done.ok, done
    assert lies.daemon.serial(s.ZONE) == 10
    assert lies.daemon.zone_status(s.ZONE)["input_serial"] == 8
    assert lies.upstream.events() == {}


def test_notify(lies: Lies) -> None:
    """Unknown zones and senders are turned away; a flood makes few questions."""
    port, key = lies.daemon.port, lies.daemon.key
    assert notify(port, key, "unknown.test.") == "NOTAUTH"
    for zone in (s.ZONE, "unknown.test."):
        assert notify(port, None, zone, "127.0.0.9") == "REFUSED"
    before = lies.upstream.transfers()["up-to-date"]
    started = time.monotonic()
    while time.monotonic() < started + 2:
        assert notify(port, key, s.ZONE) == "NOERROR"
    taken = lies.daemon.metric("dnssecd_notify_received_total", result="taken")
    looks = lies.upstream.transfers()["up-to-date"] - before
    assert taken > 100
    assert 1 <= looks <= max(15, taken // 3)
    lies.liar.serial = 8
    lies.liar.axfr = answers([*lies.zone(8, s.a("www", 8)), s.soa(8)])
    assert notify(port, key, s.ZONE) == "NOERROR"
    assert lies.daemon.wait_serial_other_than(s.ZONE, 7) == 8


def test_kill_9_during_a_transfer(lies: Lies) -> None:
    """Of a transfer that was under way nothing is left but the old version."""
    daemon = lies.daemon
    before = daemon.zone_content(s.ZONE)
    lies.liar.serial = 8
    lies.liar.axfr = lambda mid: [s.message(lies.zone(8, s.a("www", 8)), mid=mid), Stall()]
    lies.liar.asked.clear()
    notify(daemon.port, daemon.key, s.ZONE)
    wait_until(lambda: lies.liar.asked == ["ixfr", "axfr"], "the transfer is under way")
    spool = Path(daemon.config["server"]["state_dir"]) / "transfers"
    wait_until(lambda: list(spool.iterdir()), "the transfer is kept in a file")
    daemon.kill_alone()
    lies.liar.mute = True
    daemon.start()
    assert daemon.zone_content(s.ZONE) == before
    lies.be_honest(9, s.a("www", 9))
    lies.liar.mute = False
    assert daemon.wait_serial_other_than(s.ZONE, 7) == 9
    wait_until(lambda: not list(spool.iterdir()), "nothing is left of the transfers")


def test_a_slow_primary_delays_no_other_zone(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """Three zones whose primary stalls in the middle, and one that must not notice."""
    with running(Liar(our_key(tsig_key))) as slow, running(Liar(our_key(tsig_key))) as quick:
        slow.axfr = lambda mid: [s.message([s.soa(7), s.NS_RR], mid=mid), Stall()]
        quick.axfr = answers([s.soa(7), s.NS_RR, s.a("ns", 1), s.soa(7)])
        zones = {f"slow{number}.test.": slow.port for number in range(3)} | {s.ZONE: quick.port}
        upstream = start_daemon(servers, peer_dir, tsig_key, [slow.port, quick.port], start=False)
        (template,) = upstream.daemon.config["zone"].values()
        upstream.daemon.config["zone"] = {
            zone: {**template, "primaries": ["p0" if port == slow.port else "p1"]}
            for zone, port in zones.items()
        }
        upstream.daemon.start()
        assert upstream.daemon.wait_serial_other_than(s.ZONE, None, timeout=10) == 7


def test_import(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """A dynamic zone's file is read once; zone import brings it in; others are told why not."""
    ports = DaemonPorts.free()
    dynamic, plain = peer_dir / "dynamic.zone", peer_dir / "plain.zone"
    dynamic.write_text(zone_text(7))
    plain.write_text(zone_text(7))
    config = daemon_config(peer_dir, ports, tsig_key, {ZONE: dynamic, "plain.test.": plain})
    config["zone"][ZONE]["source"] = "dynamic"
    config["zone"][ZONE]["allow_update"] = [{"tsig": tsig_key.name, "names": ["*"], "types": ["ANY"]}]
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    upstream = Upstream(daemon, peer_dir)
    assert daemon.wait_serial_other_than(ZONE, None) == 7
    done = nsupdate(ports.dns, f"zone {ZONE}\nupdate add dyn.{ZONE} 60 TXT kept", tsig_key, peer_dir)
    assert done.ok, done
    serial = daemon.wait_serial_other_than(ZONE, 7)

    replace_file(dynamic, zone_text(20, extra="host1 IN AAAA 2001:db8::1"))
    assert "read once" in upstream.wait_event("input-error")
    assert daemon.serial(ZONE) == serial

    merged = daemon.cli("zone", "import", ZONE, str(dynamic), "--merge")
    assert merged.ok, merged
    assert daemon.serial(ZONE) == 20
    lines = daemon.zone_content(ZONE)
    assert any(line.startswith(f"dyn.{ZONE}") for line in lines)
    assert any("2001:db8::1" in line for line in lines)
    assert upstream.events() == {}

    replace_file(dynamic, zone_text(30))
    upstream.wait_event("input-error")
    exported = daemon.cli("zone", "export", ZONE, "-o", str(dynamic))
    assert exported.ok, exported
    upstream.wait_event("input-error", fires=False)

    dynamic.write_text(zone_text(21, hosts=2))
    held = daemon.cli("zone", "import", ZONE, str(dynamic), "--replace")
    assert held.status == 1
    assert "--replace --accept-change" in held.err
    assert daemon.serial(ZONE) == 20
    done = daemon.cli("zone", "import", ZONE, str(dynamic), "--replace", "--accept-change")
    assert done.ok, done
    upstream.check_equal(dynamic)
    history = daemon.cli("zone", "history", ZONE)
    assert "by import" in history.out

    part, before = peer_dir / "part.zone", daemon.serial(ZONE)
    part.write_text("$TTL 60\npart IN TXT added\nhost1 IN A 192.0.2.200\n")
    assert "no SOA" in daemon.cli("zone", "import", ZONE, str(part), "--replace").err
    merged = daemon.cli("zone", "import", ZONE, str(part), "--merge")
    assert merged.ok, merged
    assert daemon.serial(ZONE) == (before or 0) + 1
    lines = daemon.zone_content(ZONE)
    assert {line.split()[-1] for line in lines if line.startswith(f"host1.{ZONE}") and " IN A " in line} == {
        "192.0.2.200"
    }
    assert any(line.startswith(f"part.{ZONE}") for line in lines)

    for words, why in (
        (("plain.test.", str(plain), "--merge"), "comes from its file"),
        ((ZONE, str(peer_dir / "nix"), "--merge"), "cannot read"),
        (("nix.test.", str(plain), "--merge"), "no zone nix.test."),
        ((ZONE, str(plain), "--merge", "--replace"), "exactly one"),
        ((ZONE, "/etc", "--merge"), ""),
    ):
        refused = daemon.cli("zone", "import", *words)
        assert refused.status in (1, 2), refused
        assert why in refused.err, refused


def test_source_changes(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """From a file to primaries, to updates and back, while the daemon runs and over a restart."""
    with running(Liar(our_key(tsig_key))) as liar:
        upstream = start_daemon(servers, peer_dir, tsig_key, [liar.port], name=s.ZONE, start=False)
        daemon = upstream.daemon
        of_primaries = daemon.config["zone"][s.ZONE]
        file = peer_dir / "own.zone"
        file.write_text(
            "$TTL 300\n@ IN SOA ns host 7 60 30 600 300\n@ IN NS ns\nns IN A 192.0.2.1\nold IN A 192.0.2.1\n"
        )
        others = {"policy": "default", "allow_transfer": [tsig_key.name], "parent": "none"}
        grant = {"tsig": tsig_key.name, "names": ["*"], "types": ["ANY"]}
        of_file = {**others, "source": "file", "file": file}
        of_updates = {**others, "source": "dynamic", "allow_update": [grant]}

        def change(zone: dict[str, Any]) -> None:
            daemon.config["zone"][s.ZONE] = zone
            daemon.write_config()
            done = daemon.cli("config", "reload")
            assert done.ok, done

        daemon.config["zone"][s.ZONE] = of_file
        daemon.start()
        assert daemon.wait_serial_other_than(s.ZONE, None) == 7

        # The serial of the primary is below ours, and says nothing about our content.
        liar.serial, liar.ixfr = 5, ixfr_answers([s.soa(5)])
        liar.axfr = answers([s.soa(5), s.NS_RR, s.a("ns", 1), s.a("new", 1), s.soa(5)])
        change(of_primaries)
        assert daemon.wait_serial_other_than(s.ZONE, 7) == 8
        content = "\n".join(daemon.zone_content(s.ZONE))
        assert "new.example." in content
        assert "old.example." not in content
        assert [p["serial"] for p in daemon.zone_status(s.ZONE)["primaries"]] == [5]

        change(of_updates)
        done = nsupdate(daemon.port, f"zone {s.ZONE}\nupdate add extra.{s.ZONE} 60 TXT x", tsig_key, peer_dir)
        assert done.ok, done
        assert daemon.wait_serial_other_than(s.ZONE, 8) == 9
        assert daemon.zone_status(s.ZONE)["primaries"] == []

        # Differences from serial 5 would apply, but not to what is held by now.
        liar.serial = 6
        liar.ixfr = ixfr_answers([s.soa(6), s.soa(5), s.soa(6), s.a("more", 1), s.soa(6)])
        liar.axfr = answers([s.soa(6), s.NS_RR, s.a("ns", 1), s.a("new", 1), s.a("more", 1), s.soa(6)])
        daemon.config["zone"][s.ZONE] = of_primaries
        daemon.stop()
        daemon.start()
        assert daemon.wait_serial_other_than(s.ZONE, 9) == 10
        content = "\n".join(daemon.zone_content(s.ZONE))
        assert "more.example." in content
        assert "extra.example." not in content
        change(of_file)
        assert daemon.wait_serial_other_than(s.ZONE, 10) == 11
