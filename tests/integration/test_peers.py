"""The harness itself, with BIND as a primary in the place of dnssecd: what it says of the peers is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone, SecondaryZone, Transfers
from tests.peers.nsd import Nsd
from tests.peers.process import PeerError, Servers, free_port, wait_until
from tests.peers.tools import REFEREES, dig, dnssec_signzone, kdig, named_checkzone, nsupdate
from tests.peers.tsig import TsigKey
from tests.peers.unbound import Unbound
from tests.peers.zones import axfr, canonical_line, difference, soa_serial, zone_file

pytestmark = pytest.mark.integration

ZONE = "harness.test."
SECONDARIES = (Nsd, Knotd, Named)


def write_zone(path: Path, serial: int, extra: str = "") -> Path:
    path.write_text(
        f"$ORIGIN {ZONE}\n$TTL 300\n@ SOA ns1 hostmaster {serial} 3600 600 604800 60\n@ NS ns1\n"
        f"ns1 A 127.0.0.1\nWWW A 192.0.2.1\n* TXT \"Any\"\nsub NS ns.sub\nns.sub A 192.0.2.2\n{extra}"
    )  # fmt: skip
    return path


def start_world(servers: Servers, home: Path, key: TsigKey) -> tuple[Named, list[Nameserver]]:
    """A signed zone on a BIND primary, followed by NSD, Knot and BIND."""
    unsigned = write_zone(home / "zone", 1)
    signed = dnssec_signzone(unsigned, ZONE, home)
    primary_port = free_port()
    seconds: list[Nameserver] = [
        kind(home / kind.name, [SecondaryZone(ZONE, primary_port, key)]) for kind in SECONDARIES
    ]
    zone = PrimaryZone(ZONE, signed, key, notify=[second.port for second in seconds])
    primary = servers.start(Named(home / "primary", [zone], primary_port))
    for second in seconds:
        servers.start(second)
    return primary, seconds


def test_secondaries_follow_by_ixfr_and_hold_what_the_primary_has(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    primary, seconds = start_world(servers, peer_dir, tsig_key)
    for second in seconds:
        second.wait_serial(ZONE, 1)
        assert second.transfers(ZONE) == Transfers(axfr=1, ixfr=0), second.log_tail()

    write_zone(peer_dir / "zone", 2, "new A 192.0.2.3\n")
    signed = dnssec_signzone(peer_dir / "zone", ZONE, peer_dir)
    primary.reload()
    wanted = zone_file(signed, ZONE)
    assert soa_serial(wanted) == 2
    primary.wait_serial(ZONE, 2)
    assert difference(wanted, primary.zone_content(ZONE)) == ""
    for second in seconds:
        second.wait_serial(ZONE, 2)
        assert difference(wanted, second.zone_content(ZONE)) == ""
        assert second.transfers(ZONE) == Transfers(axfr=1, ixfr=1), second.log_tail(60)

    primary.max_ixfr_ratio = "1%"  # too little: BIND answers IXFR with the whole zone
    primary.config_path.write_text(primary.configuration())
    write_zone(peer_dir / "zone", 3)
    dnssec_signzone(peer_dir / "zone", ZONE, peer_dir)
    primary.reload()
    for second in seconds:
        second.wait_serial(ZONE, 3)
        assert second.transfers(ZONE).axfr >= 2, second.log_tail(60)


@pytest.mark.parametrize("nsec3", [False, True])
def test_referees_accept_a_good_zone_and_refuse_a_damaged_one(peer_dir: Path, nsec3: bool) -> None:
    signed = dnssec_signzone(write_zone(peer_dir / "zone", 1), ZONE, peer_dir, nsec3=nsec3)
    for referee in REFEREES:
        assert referee(signed, ZONE).ok, referee(signed, ZONE)
    assert named_checkzone(signed, ZONE).ok

    good = zone_file(signed, ZONE)
    victim = next(line for line in sorted(good) if " RRSIG A " in line)
    fields = victim.split()
    last = fields[-1]
    damaged = " ".join([*fields[:-1], ("A" if last[0] != "A" else "B") + last[1:]])
    broken = peer_dir / "broken"
    broken.write_text("\n".join([damaged if line == victim else line for line in sorted(good)]) + "\n")
    for referee in REFEREES:
        assert not referee(broken, ZONE).ok, f"{referee.__name__} accepts a broken signature"


def test_unbound_judges(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    _, seconds = start_world(servers, peer_dir, tsig_key)
    for number, second in enumerate(seconds):
        second.wait_serial(ZONE, 1)
        anchors = [line for line in second.zone_content(ZONE) if " IN DNSKEY 257 " in line]
        resolver = servers.start(Unbound(peer_dir / f"unbound{number}", ZONE, second.port, anchors))
        assert resolver.verdict(f"www.{ZONE}", "A") == ("NOERROR", True), resolver.log_tail()
        assert resolver.verdict(f"www.{ZONE}", "AAAA") == ("NOERROR", True)
        assert resolver.verdict(f"a.ns1.{ZONE}", "A") == ("NXDOMAIN", True)
        resolver.stop()
    stranger = dnssec_signzone(write_zone(peer_dir / "other", 1), ZONE, _made(peer_dir / "strange"))
    anchors = [line for line in zone_file(stranger, ZONE) if " IN DNSKEY 257 " in line]
    resolver = servers.start(Unbound(peer_dir / "unbound-wrong", ZONE, seconds[0].port, anchors))
    assert resolver.verdict(f"www.{ZONE}", "A") == ("SERVFAIL", False)


def _made(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("kind", [Named, Knotd])
def test_primaries_take_updates_and_reloads(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, kind: type[Named] | type[Knotd]
) -> None:
    zone = PrimaryZone(ZONE, write_zone(peer_dir / "zone", 1), tsig_key, updates=True)
    primary = servers.start(kind(peer_dir / kind.name, [zone]))
    wait_until(lambda: primary.serial(ZONE) == 1, "zone loaded")
    commands = f"zone {ZONE}\nupdate add x.{ZONE} 60 TXT yes"
    assert not nsupdate(primary.port, commands).ok
    answer = nsupdate(primary.port, commands, tsig_key, peer_dir)
    assert answer.ok, answer
    assert primary.serial(ZONE) == 2
    assert '"yes"' in dig(primary.port, f"x.{ZONE}", "TXT", "+short").out
    assert '"yes"' in kdig(primary.port, f"x.{ZONE}", "TXT", "+short").out


def test_axfr_without_the_key_is_an_error(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    zone = PrimaryZone(ZONE, write_zone(peer_dir / "zone", 1), tsig_key)
    primary = servers.start(Named(peer_dir / "primary", [zone]))
    with pytest.raises(PeerError):
        axfr(primary.port, ZONE)
    with pytest.raises(PeerError):
        axfr(primary.port, ZONE, TsigKey(), peer_dir)


def test_a_server_that_ends_at_once_is_reported_with_its_log(servers: Servers, peer_dir: Path) -> None:
    broken = servers.add(Named(peer_dir / "broken", []))
    broken.configuration = lambda: "nonsense;"  # type: ignore[method-assign]
    with pytest.raises(PeerError, match=r"(?s)ended with 1.*nonsense"):
        broken.start()


def test_case_folds_where_dns_ignores_it_and_nowhere_else() -> None:
    assert canonical_line("WWW.Example.\t300\tIN\tNS\tNS.Example.") == "www.example. 300 IN NS ns.example."
    assert canonical_line('a. 1 IN TXT "Mixed"') == 'a. 1 IN TXT "Mixed"'
    signed = "a. 1 IN RRSIG A 13 1 1 20300101000000 20200101000000 7 Example. AbCd eF=="
    assert canonical_line(signed).endswith(" 7 example. AbCdeF==")
