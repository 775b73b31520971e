"""RFC 2136 §2.4 and §3.2: the five kinds of prerequisite, against data that is there and data that is not."""

from __future__ import annotations

import pytest

from dnssecd.core.dns.message import FormError
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.update.apply import apply_update
from dnssecd.core.update.types import NOERROR, NOTZONE, NXDOMAIN, NXRRSET, REFUSED, YXDOMAIN, YXRRSET
from dnssecd.core.verify.memoryview import MemoryZoneView
from dnssecd.server.update_message import parse_update
from tests.unit.core_update.build import (
    ANY,
    IN,
    NONE,
    ORIGIN,
    RR,
    absent,
    add,
    equals,
    exists,
    message,
    rdata_of,
    rrsets,
    rtype_of,
    wire_name,
    zone_view,
)
from tests.unit.core_update.carry import BASE, POLICY, update

NEW = add("new", "A", "192.0.2.7")


@pytest.mark.parametrize(
    ("prerequisite", "rcode"),
    [
        (exists("www", "A"), NOERROR),
        (exists("www", "AAAA"), NXRRSET),
        (exists("nowhere", "A"), NXRRSET),
        (absent("www", "AAAA"), NOERROR),
        (absent("nowhere", "A"), NOERROR),
        (absent("www", "A"), YXRRSET),
        (exists("www"), NOERROR),
        (exists("nowhere"), NXDOMAIN),
        (absent("nowhere"), NOERROR),
        (absent("www"), YXDOMAIN),
        (exists("WWW.Example.", "A"), NOERROR),
        (exists("@"), NOERROR),
        (exists("@", "SOA"), NOERROR),
    ],
    ids=str,
)
def test_value_independent_prerequisites(prerequisite: RR, rcode: int) -> None:
    done = update(NEW, when=[prerequisite])
    assert done.rcode == rcode
    assert bool(done.added) == (rcode == NOERROR)


def test_an_empty_non_terminal_is_not_in_use() -> None:
    assert update(when=[exists("wild")]).rcode == NXDOMAIN
    assert update(when=[absent("wild")]).rcode == NOERROR


@pytest.mark.parametrize(
    ("texts", "rcode"),
    [
        (("192.0.2.1", "192.0.2.2"), NOERROR),
        (("192.0.2.2", "192.0.2.1"), NOERROR),
        (("192.0.2.1",), NXRRSET),
        (("192.0.2.1", "192.0.2.2", "192.0.2.3"), NXRRSET),
        (("192.0.2.1", "192.0.2.3"), NXRRSET),
    ],
)
def test_value_dependent_is_the_whole_rrset_in_any_order(texts: tuple[str, ...], rcode: int) -> None:
    assert update(when=equals("www", "A", *texts)).rcode == rcode


def test_value_dependent_on_an_absent_rrset() -> None:
    assert update(when=equals("nowhere", "A", "192.0.2.1")).rcode == NXRRSET
    assert update(when=equals("www", "TXT", '"other"')).rcode == NXRRSET


def test_value_dependent_compares_names_as_the_canonical_form_does() -> None:
    assert update(when=equals("MX", "MX", "10 MAIL.Example.")).rcode == NOERROR
    assert update(when=equals("@", "NS", "NS2.OTHER.", "ns1.other.")).rcode == NOERROR
    assert update(when=equals("www", "TXT", '"HELLO"')).rcode == NXRRSET
    svcb = zone_view("@ 60 SOA a. b. 1 2 3 4 5\n@ 60 NS a.\nx 60 SVCB 1 svc.example. alpn=h2")
    assert update(when=equals("X", "SVCB", "1 svc.example. alpn=h2"), zone=svcb).rcode == NOERROR
    assert update(when=equals("x", "SVCB", "1 SVC.Example. alpn=h2"), zone=svcb).rcode == NXRRSET


def test_value_dependent_may_repeat_an_rr() -> None:
    assert update(when=equals("www", "TXT", '"hello"', '"hello"')).rcode == NOERROR


def test_value_dependent_ignores_the_ttl_of_the_zone() -> None:
    assert update(when=equals("sub", "NS", "ns.sub.example.")).rcode == NOERROR


def test_several_value_dependent_prerequisites_at_once() -> None:
    both = [
        *equals("www", "A", "192.0.2.2"),
        *equals("www", "TXT", '"hello"'),
        *equals("www", "A", "192.0.2.1"),
    ]
    assert update(when=both).rcode == NOERROR


def test_wildcards_are_literal() -> None:
    assert update(when=[exists("x.wild", "A")]).rcode == NXRRSET
    assert update(when=[exists("x.wild")]).rcode == NXDOMAIN
    assert update(when=[exists("*.wild", "A")]).rcode == NOERROR
    assert update(when=[exists("*.www", "A")]).rcode == NXRRSET


def test_aliases_are_not_followed() -> None:
    assert update(when=[exists("alias", "A")]).rcode == NXRRSET
    assert update(when=equals("alias", "A", "192.0.2.1", "192.0.2.2")).rcode == NXRRSET


def test_names_below_a_delegation_are_looked_up_as_they_stand() -> None:
    assert update(when=[exists("ns.sub", "A")]).rcode == NOERROR
    assert update(when=[exists("other.sub")]).rcode == NXDOMAIN


@pytest.mark.parametrize("rclass", [IN, NONE, ANY])
def test_ttl_other_than_0_is_formerr(rclass: int) -> None:
    rdata = rdata_of("A", "192.0.2.1") if rclass == IN else b""
    with pytest.raises(FormError, match="TTL"):
        parse_update(message([], [RR(wire_name("www"), rtype_of("A"), rclass, 1, rdata)]))


@pytest.mark.parametrize("rclass", [IN, NONE, ANY])
@pytest.mark.parametrize("name", ["www.other.", "ample.", "notexample.", "."])
def test_out_of_zone_is_notzone(rclass: int, name: str) -> None:
    rdata = rdata_of("A", "192.0.2.1") if rclass == IN else b""
    done = update(NEW, when=[RR(wire_name(name), rtype_of("A"), rclass, 0, rdata)])
    assert done.rcode == NOTZONE
    assert not done.added


def test_the_first_prerequisite_that_fails_is_answered() -> None:
    assert update(when=[absent("www", "A"), exists("nowhere")]).rcode == YXRRSET
    assert update(when=[exists("nowhere"), absent("www", "A")]).rcode == NXDOMAIN


def test_prerequisites_see_the_zone_before_the_update() -> None:
    assert update(NEW, when=[absent("new")]).rcode == NOERROR
    assert update(NEW, when=[exists("new")]).rcode == NXDOMAIN


def test_a_key_without_grants_learns_nothing() -> None:
    from dnssecd.core.update.types import UpdatePolicy
    from dnssecd.core.zone.grants import NOTHING

    assert update(when=[exists("nowhere")], policy=UpdatePolicy(NOTHING)).rcode == REFUSED
    assert update(when=[exists("www")], policy=UpdatePolicy(NOTHING)).rcode == REFUSED


def _signed() -> MemoryZoneView:
    key = RRset(b"", rtype_of("DNSKEY"), 3600, pack([rdata_of("DNSKEY", "257 3 13 AAAA")]))
    nsec = RRset(b"www\x00", rtype_of("NSEC"), 300, pack([rdata_of("NSEC", "example. A TXT RRSIG NSEC")]))
    sigs = Rrsigs(b"www\x00", 1, 300, pack([b"\x00\x01" + bytes(40)]))
    return MemoryZoneView(ORIGIN, [*BASE.scan(), key], [nsec], [sigs])


def test_what_the_signer_published_is_there() -> None:
    zone = _signed()
    for prerequisite in (exists("@", "DNSKEY"), exists("www", "NSEC"), exists("www", "RRSIG")):
        parsed = parse_update(message([], [prerequisite]))
        assert apply_update(zone, parsed, POLICY).rcode == NOERROR
        assert apply_update(BASE, parsed, POLICY).rcode == NXRRSET
    parsed = parse_update(message([], equals("@", "DNSKEY", "257 3 13 AAAA")))
    assert apply_update(zone, parsed, POLICY).rcode == NOERROR
    parsed = parse_update(message([], [exists("www", "NSEC3")]))
    assert apply_update(zone, parsed, POLICY).rcode == NXRRSET


def test_soa_as_a_lock() -> None:
    soa = rrsets("@ 1 SOA ns1.other. host.other. 10 3600 600 86400 300")[0].rdata[2:]
    lock = RR(ORIGIN, rtype_of("SOA"), IN, 0, soa)
    assert update(NEW, when=[lock]).rcode == NOERROR
    stale = lock._replace(rdata=soa[:-20] + (9).to_bytes(4, "big") + soa[-16:])
    assert update(NEW, when=[stale]).rcode == NXRRSET
