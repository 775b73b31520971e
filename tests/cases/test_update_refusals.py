"""UPDATEs that would freeze a secondary, fail our own verification or cost too much are refused, with the reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import dns.rcode
import dns.update
import pytest

from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tools import REFEREES
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR, UpdateConnection, UpdateMaker, dynamic_world, grant_all
from tests.peers.world import World

pytestmark = pytest.mark.integration

ZONE = "u.test."
TEXT = """$TTL 300
@ SOA ns1 host 1 3600 600 604800 60
@ NS ns1
ns1 A 192.0.2.1
www A 192.0.2.2
c CNAME foo.
x.d A 192.0.2.3
sub NS ns.x.
k.sub DS 1 13 2 ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB
j.sub DNSKEY 256 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==
"""
DS = "1 13 2 " + "AB" * 32
DNSKEY = "256 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ=="
RRSIG = "TXT 13 3 60 20300101000000 20250101000000 1 u.test. AAAA"
SOA = "a. b. 9 1 1 9 1"
SIGNAL = "_dsboot.child.test._signal.ns1"
Add = tuple[str, str, str]


def ask(
    port: int,
    key: TsigKey,
    add: Iterable[Add] = (),
    delete: Iterable[tuple[str, ...]] = (),
    zone: str = ZONE,
    ttl: int = 60,
) -> tuple[str, str]:
    """One signed UPDATE with EDNS: RCODE, and the text of the Extended DNS Error ("": none)."""
    message = dns.update.UpdateMessage(zone)
    for words in delete:
        message.delete(*words)
    for owner, rtype, rdata in add:
        message.add(owner, ttl, rtype, rdata)
    message.use_edns(0, payload=65_535)
    message.use_tsig(key.dnspython())
    answer = dns.query.tcp(message, LOOPBACK, port=port, timeout=20)
    texts = [option.text or "" for option in answer.options if isinstance(option, dns.edns.EDEOption)]
    return dns.rcode.to_text(answer.rcode()), texts[0] if texts else ""


def events(world: World) -> dict[str, str]:
    """What fires, by name: the cause."""
    return {alert["name"]: alert["cause"] for alert in world.daemon.cli_json("alerts", "list")["alerts"]}


def _follow(world: World) -> int:
    """Both secondaries have what we serve."""
    serial = world.daemon.serial(ZONE)
    assert serial is not None
    for second in world.secondaries.values():
        second.wait_serial(ZONE, serial, 20)
    return serial


FREEZING: list[tuple[str, list[Add], str]] = [
    ("101 records", [("_ldap._tcp", "SRV", f"0 0 389 dc{n}.x.") for n in range(101)], "update_records_max"),
    ("50 types", [("t", f"TYPE{n}", r"\# 1 00") for n in range(2000, 2050)], "update_types_max"),
    ("KEY beside a CNAME", [("c", "KEY", "512 3 8 AwEAAaabcd==")], "Knot"),
    ("DNAME above names", [("d", "DNAME", "foo.")], "Knot"),
    ("DNAME at the apex", [("@", "DNAME", "foo.")], "Knot"),
    ("DNAME beside a delegation", [("sub", "DNAME", "foo.")], "Knot"),
]


def test_what_would_freeze_a_secondary_is_refused_unless_configured(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, kinds=[Named, Knotd], text=TEXT)
    port, daemon = world.daemon.port, world.daemon
    before = _follow(world)
    for what, add, words in FREEZING:
        rcode, text = ask(port, tsig_key, add)
        assert rcode == "REFUSED", what
        assert words in text, what
    assert daemon.serial(ZONE) == before
    assert "an update from 127.0.0.1 with key" in events(world)["update-refused"]
    assert daemon.metric("dnssecd_updates_noted_total", event="update-refused") == len(FREEZING)
    assert ask(port, tsig_key, [("w", "TXT", "x")]) == ("NOERROR", "")
    assert _follow(world) == before + 1

    daemon.config["zone"][ZONE] |= {"update_records_max": 200, "update_strict": False}
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    assert ask(port, tsig_key, [*FREEZING[0][1], *FREEZING[2][1]])[0] == "NOERROR"
    time.sleep(2)
    for second in world.secondaries.values():
        assert second.serial(ZONE) == before + 1, f"{second.name} takes it: the default may be more generous"
    assert ask(port, tsig_key, delete=[("_ldap._tcp",), ("c", "KEY")])[0] == "NOERROR"
    _follow(world)


def test_no_content_that_the_verifier_refuses_comes_by_update(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """Each is refused, ignored or mended: never SERVFAIL, and never an event that says we have a defect."""
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, kinds=[], text=TEXT)
    port = world.daemon.port
    key, cdnskey = DNSKEY, DNSKEY.replace("256", "257", 1)
    tries: list[tuple[str, list[Add], list[tuple[str, ...]], str]] = [
        ("dnskey-not-apex", [("www", "DNSKEY", key)], [], "REFUSED"),
        ("dnskey-not-apex: CDS", [("www", "CDS", DS)], [], "REFUSED"),
        ("dnskey-not-apex: CDNSKEY", [("www", "CDNSKEY", cdnskey)], [], "REFUSED"),
        ("nsec3param-extra", [("www", "NSEC3PARAM", "1 0 0 -")], [], "REFUSED"),
        ("zonemd-serial", [("www", "ZONEMD", "1 1 1 " + "00" * 48)], [], "REFUSED"),
        ("dnskey-unexpected", [("@", "DNSKEY", key)], [], "REFUSED"),
        ("cds-mismatch", [("@", "CDS", DS)], [], "REFUSED"),
        ("nsec-extra", [("www", "NSEC", "www.u.test. A")], [], "REFUSED"),
        ("rrsig-dangling", [("www", "RRSIG", RRSIG)], [], "REFUSED"),
        ("ds-without-ns", [("www", "DS", DS)], [], "NOERROR"),
        ("ds-without-ns, uncovered", [], [("sub", "NS")], "REFUSED"),
        ("dnskey-not-apex, uncovered", [], [("sub", "NS"), ("k.sub",)], "REFUSED"),
        ("cname-and-other-data", [("www", "CNAME", "foo."), ("c", "TXT", "x")], [], "NOERROR"),
        ("cname-multiple", [("e", "CNAME", "a."), ("e", "CNAME", "b.")], [], "NOERROR"),
        ("apex-missing", [], [("@", "NS")], "NOERROR"),
        (
            "rrset-multiple",
            [("@", "SOA", "ns1 host 7 3600 600 604800 60"), ("www", "SOA", SOA)],
            [],
            "NOERROR",
        ),
        ("serial-not-forward", [("@", "SOA", "ns1 host 1 3600 600 604800 60")], [], "NOERROR"),
        ("denial-ttl", [("@", "SOA", "ns1 host 20 3600 600 604800 30")], [], "NOERROR"),
        ("nsec3-owner", [("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", "TXT", "x")], [], "NOERROR"),
        ("bootstrap (RFC 9615)", [(SIGNAL, "CDS", DS), (SIGNAL, "CDNSKEY", cdnskey)], [], "NOERROR"),
        ("uncovered in one", [], [("sub",), ("k.sub",), ("j.sub",)], "NOERROR"),
    ]
    for what, add, delete, wanted in tries:
        rcode, text = ask(port, tsig_key, add, delete)
        assert rcode == wanted, f"{what}: {rcode} {text}"
        assert text or wanted == "NOERROR", f"{what}: no reason given"
    assert not {"verification-failed", "signing-failed"} & events(world).keys()
    assert ask(port, tsig_key, delete=[(SIGNAL,)])[0] == "NOERROR", (
        "for kzonecheck, which knows no such names"
    )
    exported = peer_dir / "exported.zone"
    world.daemon.export(ZONE, exported)
    for referee in REFEREES:
        verdict = referee(exported, ZONE)
        assert verdict.ok, verdict


def test_what_has_no_effect_is_seen_and_the_order_of_ttls_does_not_matter(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    text = TEXT.replace("3600 600 604800 60", "600 60 3600 60") + "_acme-challenge CNAME foo.other.\n"
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, kinds=[], text=text)
    port = world.daemon.port
    beside = ask(port, tsig_key, [("_acme-challenge", "TXT", "tok")])
    assert beside == ("NOERROR", "_acme-challenge.u.test. TXT not added: a CNAME is at the name")
    below = ask(port, tsig_key, [("_acme-challenge.sub", "TXT", "tok")])
    assert below == ("NOERROR", "_acme-challenge.sub.u.test. TXT is hidden by the delegation at sub.u.test.")
    far = ask(port, tsig_key, [("@", "SOA", "ns1 host 2147483648 3600 600 604800 60")])
    assert far[0] == "NOERROR"
    assert "too far" in far[1]
    assert (world.daemon.serial(ZONE) or 0) < 100
    assert "a CNAME is at the name" in events(world)["update-ignored"]
    logged = [
        line.get("cause", "") for line in world.daemon.log_events() if line.get("event") == "update ignored"
    ]
    assert ["CNAME" in cause for cause in logged] == [True, False, False], "one line each"
    assert "hidden by the delegation" in logged[1]
    half = 15 * 86_400
    for ttl in (172_800, 86_400, half - 1):
        assert ask(port, tsig_key, [(f"t{ttl}", "A", "192.0.2.1")], ttl=ttl)[0] == "NOERROR", ttl
    rcode, text = ask(port, tsig_key, [("t", "A", "192.0.2.1")], ttl=half)
    assert rcode == "REFUSED"
    assert "TTL" in text


def _deep(number: int, labels: int = 110) -> str:
    return "a." * labels + f"n{number}"


def test_a_dear_update_is_refused_at_once_and_a_flood_stops_no_other_zone(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """120 TXT of 30 kB would have made 27,000 records in 16 s; a thousand updates behind it stopped all other zones."""
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, kinds=[], text=TEXT)
    other_key = TsigKey("other.")
    daemon = world.daemon
    daemon.config["tsig"][other_key.name] = {"secret": other_key.secret}
    daemon.config["zone"]["o.test."] = dict(daemon.config["zone"][ZONE])
    grant_all(daemon.config["zone"]["o.test."], other_key)
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    wait_until(lambda: daemon.serial("o.test."), "the other zone is served")
    records = daemon.zone_content(ZONE)
    rcode, text = ask(daemon.port, tsig_key, [(_deep(number), "TXT", "x") for number in range(120)])
    assert (rcode, daemon.zone_content(ZONE)) == ("REFUSED", records)
    assert "update_names_max" in text

    maker = UpdateMaker(ZONE, tsig_key)
    flood = [[maker.wire(add=[(f"f{n}-{c}", 60, "TXT", "x")]) for n in range(60)] for c in range(10)]
    dear = maker.wire(add=[(_deep(number), 60, "TXT", "x") for number in range(8)])
    answered = [0]

    def send(wires: list[bytes]) -> None:
        with UpdateConnection(daemon.port, 60) as connection:
            connection.send(*wires)
            for _ in wires:
                assert connection.receive()[1] == NOERROR
                answered[0] += 1

    threads = [threading.Thread(target=send, args=(wires,)) for wires in ([dear], *flood)]
    for thread in threads:
        thread.start()
    wait_until(
        lambda: answered[0] or daemon.metric("dnssecd_tcp_connections") >= 8, "the flood is on its way"
    )
    rcode, _ = ask(daemon.port, other_key, [("w", "TXT", "x")], zone="o.test.")
    assert rcode == "NOERROR"
    assert answered[0] < 500, "the other zone's update did not wait for the flood to end"
    for thread in threads:
        thread.join(60)
    assert answered[0] == 601
    assert ask(daemon.port, tsig_key, delete=[(_deep(number),) for number in range(8)])[0] == "NOERROR"
