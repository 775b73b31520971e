"""Group commit: messages one after another on an overlay, each seeing the ones before, each failing alone."""

from __future__ import annotations

from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.update.group import UpdateGroup
from dnssecd.core.update.types import NOERROR, NXDOMAIN, NXRRSET, REFUSED, UpdateResult, soa_serial
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.overlay import Overlay
from dnssecd.replacing import replace
from dnssecd.server.update_message import parse_update
from tests.unit.core_update.build import (
    ANY,
    IN,
    ORIGIN,
    RR,
    absent,
    add,
    delete,
    exists,
    message,
    rtype_of,
    zone_view,
)
from tests.unit.core_update.carry import BASE, POLICY

SOA = "ns1.other. host.other. {} 3600 600 86400 300"
A7 = add("new", "A", "192.0.2.7")


def send(group: UpdateGroup, *updates: RR, when: tuple[RR, ...] = (), **bounds: int) -> UpdateResult:
    return group.apply(parse_update(message(updates, when)), replace(POLICY, **bounds))  # type: ignore[arg-type]


def test_each_message_sees_the_ones_before() -> None:
    group = UpdateGroup(BASE)
    assert send(group, A7, when=(absent("new"),)).rcode == NOERROR
    assert send(group, add("new", "TXT", '"x"'), when=(exists("new", "A"),)).rcode == NOERROR
    assert send(group, delete("new", "A")).rcode == NOERROR
    assert [(c.owner, c.rtype) for c in group.changes()] == [(b"new\x00", 16)]
    assert group.owners_delta == 1


def test_each_message_fails_alone() -> None:
    group = UpdateGroup(BASE)
    assert send(group, A7).rcode == NOERROR
    before = group.changes()
    assert send(group, add("more", "A", "192.0.2.8"), when=(exists("nowhere"),)).rcode == NXDOMAIN
    assert send(group, add("more", "A", "192.0.2.8"), add("@", "DNSKEY", "257 3 13 AAAA")).rcode == REFUSED
    assert group.changes() == before
    assert send(group, add("more", "A", "192.0.2.8"), when=(absent("more"),)).rcode == NOERROR


def test_what_cancels_out_leaves_no_change() -> None:
    group = UpdateGroup(BASE)
    send(group, A7)
    send(group, delete("new"))
    send(group, delete("www", "TXT"))
    send(group, add("www", "TXT", '"hello"'))
    assert group.changes() == []
    assert group.owners_delta == 0
    assert group.client_serial is None


def test_changes_are_against_the_base() -> None:
    group = UpdateGroup(BASE)
    send(group, add("www", "A", "192.0.2.3"))
    send(group, add("www", "A", "192.0.2.4", ttl=60))
    (change,) = group.changes()
    assert change.old == BASE.rrset(b"www\x00", 1)
    assert change.new is not None
    assert change.new.ttl == 60
    assert group.ttl_max == 3600  # the SOA's


def test_an_overtaken_soa_prerequisite_is_not_met() -> None:
    soa = BASE.rrset(b"", 6)
    assert soa is not None
    lock = RR(ORIGIN, 6, IN, 0, soa.rdata[2:])
    group = UpdateGroup(BASE)
    assert (
        send(group, add("@", "TXT", '"apex"'), when=(lock,)).rcode == NOERROR
    )  # no change: nothing overtaken
    assert send(group, A7, when=(lock,)).rcode == NOERROR
    assert send(group, add("www", "A", "192.0.2.3"), when=(lock,)).rcode == NXRRSET


def test_a_client_may_set_the_soa_once_per_serial() -> None:
    group = UpdateGroup(BASE)
    assert send(group, add("@", "SOA", SOA.format(20))).soa is not None
    assert group.client_serial == 20
    assert send(group, add("@", "SOA", SOA.format(20))).is_noop
    assert send(group, A7).rcode == NOERROR
    assert group.client_serial == 20
    assert send(group, add("@", "SOA", SOA.format(30).replace("300", "60"))).soa is not None
    assert group.client_serial == 30
    assert soa_serial(group.soa) == 30
    assert all(change.rtype != 6 for change in group.changes())


def test_the_bound_on_names_is_for_each_message_and_the_group_counts_them_all() -> None:
    group = UpdateGroup(BASE)
    assert send(group, A7, names_changed_max=1).rcode == NOERROR
    assert send(group, add("b.more", "A", "192.0.2.8"), names_changed_max=1).rcode == REFUSED
    assert send(group, delete("new"), names_changed_max=1).rcode == NOERROR
    assert send(group, add("more", "A", "192.0.2.8"), names_changed_max=1).rcode == NOERROR
    assert group.names == 3


def test_a_cut_that_one_message_makes_is_known_to_the_next() -> None:
    group = UpdateGroup(BASE)
    assert not send(group, add("x.new", "TXT", '"seen"')).ignored
    assert send(group, add("new", "NS", "a.")).rcode == NOERROR
    assert "hidden by the delegation at new.example." in send(group, add("y.new", "TXT", '"x"')).ignored[0]
    assert send(group, delete("new", "NS")).rcode == NOERROR
    assert not send(group, add("z.new", "TXT", '"seen"')).ignored


def test_delete_all_in_a_group_needs_grants_for_what_the_group_added() -> None:
    from dnssecd.core.update.types import UpdatePolicy
    from dnssecd.core.zone.grants import NameGrants

    group = UpdateGroup(BASE)
    send(group, A7)
    text_only = UpdatePolicy(NameGrants({b"new\x00": frozenset({16})}))
    assert group.apply(parse_update(message([RR(A7.name, 255, ANY)])), text_only).rcode == REFUSED


# Overlay


def rrset(name: bytes, rtype: int = 1) -> RRset:
    return RRset(name, rtype, 300, pack([b"\x0a\x00\x00\x01"]))


def test_overlay_reads_like_a_version() -> None:
    overlay = Overlay(BASE)
    new, gone = rrset(b"new\x00"), BASE.rrset(b"mx\x00", 15)
    overlay.apply([Change(new.owner, 1, None, new), Change(b"mx\x00", 15, gone, None)])
    assert overlay.rrset(b"new\x00", 1) == new
    assert overlay.rrset(b"mx\x00", 15) is None
    assert overlay.rrset(b"www\x00", 1) == BASE.rrset(b"www\x00", 1)
    assert overlay.rrsets_at(b"mx\x00") == []
    assert list(overlay.scan(b"mx\x00", b"nf")) == [new]
    assert overlay.first_owner(b"mx\x00") == b"new\x00"
    assert overlay.first_owner(b"mx\x00", b"new\x00") is None
    assert overlay.first_owner(b"") == b""
    expected = sorted([*(each for each in BASE.scan() if each != gone), new])
    assert list(overlay.scan()) == expected
    assert overlay.origin == ORIGIN


def test_overlays_stack() -> None:
    lower, new = Overlay(BASE), rrset(b"new\x00")
    lower.apply([Change(new.owner, 1, None, new)])
    upper = Overlay(lower)
    upper.apply([Change(new.owner, 1, new, None)])
    assert lower.rrset(b"new\x00", 1) == new
    assert upper.first_owner(b"new\x00", b"new\x00\xff") is None
    assert upper.changes() == [Change(b"new\x00", 1, new, None)]


def test_derived_data_is_that_of_the_version_below() -> None:
    nsec = RRset(b"", rtype_of("NSEC"), 300, pack([ORIGIN + b"\x00\x01\x40"]))
    from dnssecd.core.verify.memoryview import MemoryZoneView

    signed = MemoryZoneView(ORIGIN, zone_view().scan(), [nsec], [])
    overlay = Overlay(signed)
    assert overlay.denial(b"") == overlay.denial_last() == overlay.denial_from(b"") == nsec
    assert overlay.denial_before(b"a") == nsec
    assert list(overlay.denial_scan()) == [nsec]
    assert overlay.rrsigs(b"", 1) is None
    assert overlay.rrsigs_at(b"") == []
    assert list(overlay.rrsig_scan()) == []
