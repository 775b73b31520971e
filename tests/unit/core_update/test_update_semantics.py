"""RFC 2136 §3.4: what the update section does to a zone, and what it never does."""

from __future__ import annotations

import time

import pytest

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.update.draft import WKS, Draft
from dnssecd.core.update.types import NOERROR, NOTZONE, REFUSED, soa_serial
from dnssecd.core.verify.memoryview import MemoryZoneView
from tests.unit.core_update.build import (
    NONE,
    ORIGIN,
    RR,
    add,
    delete,
    delete_rr,
    exists,
    rdata_of,
    rtype_of,
    wire_name,
    zone_view,
)
from tests.unit.core_update.carry import BASE, Carried, update

SOA_TEXT = "ns1.other. host.other. {} 3600 600 86400 300"


def _nothing(done: Carried) -> None:
    assert done.rcode == NOERROR
    assert done.result.is_noop
    assert not done.removed
    assert not done.added


def _frozen(done: Carried, words: str) -> None:
    """A refusal that an operator is to hear of: the reason has these words."""
    _refused(done)
    assert words in done.result.reason
    assert done.result.notable


def _refused(done: Carried, rcode: int = REFUSED) -> None:
    assert done.rcode == rcode
    assert done.result.is_noop
    assert done.result.reason


# Additions and deletions


def test_add_a_name() -> None:
    done = update(add("new", "A", "192.0.2.7"))
    assert done.added == {"new.example. 300 A 192.0.2.7"}
    assert not done.removed
    assert done.result.owners_delta == 1


def test_add_to_an_rrset() -> None:
    done = update(add("www", "A", "192.0.2.3"))
    assert done.added == {"www.example. 300 A 192.0.2.3"}
    assert done.result.owners_delta == 0


def test_a_new_rrs_ttl_applies_to_the_whole_rrset() -> None:
    done = update(add("www", "A", "192.0.2.3", ttl=60))
    assert done.added == {f"www.example. 60 A 192.0.2.{n}" for n in (1, 2, 3)}
    assert done.removed == {f"www.example. 300 A 192.0.2.{n}" for n in (1, 2)}


def test_an_rr_that_is_there_with_another_ttl_changes_the_ttl() -> None:
    done = update(add("www", "A", "192.0.2.1", ttl=60))
    assert done.added == {f"www.example. 60 A 192.0.2.{n}" for n in (1, 2)}


def test_delete_an_rrset() -> None:
    assert update(delete("www", "A")).removed == {f"www.example. 300 A 192.0.2.{n}" for n in (1, 2)}


def test_delete_a_name() -> None:
    done = update(delete("www"))
    assert len(done.removed) == 3
    assert done.result.owners_delta == -1


def test_delete_one_rr() -> None:
    assert update(delete_rr("www", "A", "192.0.2.1")).removed == {"www.example. 300 A 192.0.2.1"}


def test_delete_the_last_rr_of_a_name() -> None:
    done = update(delete_rr("MX", "MX", "10 MAIL.example."))
    assert done.removed == {"mx.example. 300 MX 10 mail.example."}
    assert done.result.owners_delta == -1


def test_wildcard_owners_are_literal() -> None:
    _nothing(update(delete("x.wild", "A")))
    assert update(delete("*.wild", "A")).removed == {"*.wild.example. 300 A 192.0.2.9"}
    _nothing(update(delete("*.www")))


def test_in_order_within_one_message() -> None:
    _nothing(update(add("new", "A", "192.0.2.7"), delete("new")))
    assert update(delete("www"), add("www", "A", "192.0.2.9")).added == {"www.example. 300 A 192.0.2.9"}
    assert update(delete_rr("new", "A", "192.0.2.7"), add("new", "A", "192.0.2.7")).added


@pytest.mark.parametrize(
    "rr",
    [
        add("www", "A", "192.0.2.1"),
        add("WWW", "A", "192.0.2.1"),
        add("mx", "MX", "10 MAIL.example."),
        delete("nowhere"),
        delete("nowhere", "A"),
        delete("www", "AAAA"),
        delete_rr("www", "A", "192.0.2.3"),
        delete_rr("nowhere", "A", "192.0.2.1"),
        delete("@", "DS"),
    ],
    ids=str,
)
def test_noop_is_noerror_and_changes_nothing(rr: RR) -> None:
    _nothing(update(rr))


def test_case_counts_where_the_canonical_form_keeps_it() -> None:
    """SVCB and all types since RFC 4034: RRs that differ in case are two, to validators and to named."""
    zone = zone_view(f"@ 60 SOA {SOA_TEXT.format(1)}\n@ 60 NS a.\nx 60 SVCB 1 svc.example. alpn=h2")
    assert update(add("x", "SVCB", "1 SVC.Example. alpn=h2", ttl=60), zone=zone).added
    _nothing(update(delete_rr("x", "SVCB", "1 SVC.Example. alpn=h2"), zone=zone))


def test_nothing_to_do_is_noerror() -> None:
    _nothing(update())


def test_retransmission_is_idempotent() -> None:
    updates = [add("new", "A", "192.0.2.7"), delete_rr("www", "A", "192.0.2.1"), delete("mx")]
    first = update(*updates)
    zone = MemoryZoneView(ORIGIN, _after(BASE, first), (), ())
    _nothing(update(*updates, zone=zone))


def _after(zone: MemoryZoneView, done: Carried) -> list[RRset]:
    content = {rrset[:2]: rrset for rrset in zone.scan()}
    for owner, rtype, _, new in done.result.changes:
        content.pop((owner, rtype), None)
        if new is not None:
            content[owner, rtype] = new
    return list(content.values())


def test_changes_are_net_and_ordered() -> None:
    done = update(
        add("b", "A", "192.0.2.1"), add("a", "TXT", '"x"'), add("a", "A", "192.0.2.1"),
        add("c", "A", "192.0.2.1"), delete("c"), add("@", "TXT", '"more"'),
    )  # fmt: skip
    places = [(change.owner, change.rtype) for change in done.result.changes]
    assert places == [(b"", 16), (b"a\x00", 1), (b"a\x00", 16), (b"b\x00", 1)]
    assert all(change.old == BASE.rrset(change.owner, change.rtype) for change in done.result.changes)


# All or nothing


def test_99_good_and_1_bad_change_nothing() -> None:
    good = [add(f"n{number}", "A", "192.0.2.1") for number in range(99)]
    _refused(update(*good, add("x", "RRSIG", "A 13 1 60 20300101000000 20250101000000 1 example. AAAA")))
    _refused(update(*good, add("host.other.", "A", "192.0.2.1")), NOTZONE)
    assert len(update(*good).added) == 99


def test_a_failing_prerequisite_stops_all() -> None:
    done = update(add("new", "A", "192.0.2.7"), when=[exists("www", "A"), exists("nowhere")])
    assert done.rcode != NOERROR
    assert not done.added


@pytest.mark.parametrize("name", ["host.other.", "badexample.", ".", "ample."])
def test_a_name_out_of_zone_is_notzone(name: str) -> None:
    _refused(update(add(name, "A", "192.0.2.1")), NOTZONE)
    _refused(update(delete(name)), NOTZONE)


# Apex


@pytest.mark.parametrize("rr", [delete("@"), delete("@", "NS"), delete("@", "SOA")], ids=str)
def test_soa_and_ns_survive_deletes_of_rrsets(rr: RR) -> None:
    done = update(rr)
    assert done.rcode == NOERROR
    assert not [line for line in done.removed if " SOA " in line or " NS " in line]


def test_delete_all_at_the_apex_takes_the_rest() -> None:
    assert update(delete("@")).removed == {'example. 300 TXT "apex"'}


def test_soa_survives_delete_of_its_rr() -> None:
    _nothing(update(delete_rr("@", "SOA", SOA_TEXT.format(10))))


def test_the_last_ns_survives() -> None:
    done = update(delete_rr("@", "NS", "ns1.other."), delete_rr("@", "NS", "NS2.other."))
    assert done.removed == {"example. 3600 NS ns1.other."}


def test_ns_may_be_replaced_by_adding_first() -> None:
    done = update(
        add("@", "NS", "ns3.other.", ttl=3600),
        delete_rr("@", "NS", "ns1.other."),
        delete_rr("@", "NS", "ns2.other."),
    )
    assert done.added == {"example. 3600 NS ns3.other."}
    assert done.removed == {"example. 3600 NS ns1.other.", "example. 3600 NS ns2.other."}


def test_ns_below_the_apex_is_ordinary() -> None:
    done = update(delete_rr("sub", "NS", "ns.sub.example."))
    assert any(" NS " in line for line in done.removed)


@pytest.mark.parametrize("serial", [9, 10, 0, (10 + 2**31) % 2**32, (11 + 2**31) % 2**32, 2**32 - 1])
def test_soa_lower_or_equal_is_ignored(serial: int) -> None:
    done = update(add("@", "SOA", SOA_TEXT.format(serial), ttl=60))
    _nothing(done)
    assert done.result.ignored


@pytest.mark.parametrize("serial", [11, 4000, 10 + 2**16])
def test_soa_above_replaces(serial: int) -> None:
    done = update(add("@", "SOA", SOA_TEXT.format(serial), ttl=60))
    assert done.result.soa is not None
    assert soa_serial(done.result.soa) == serial
    assert done.result.soa.ttl == 60
    assert not done.result.changes
    assert not done.result.is_noop


@pytest.mark.parametrize("serial", [11 + 2**16, 2_026_000_000, 9 + 2**31])
def test_a_serial_far_ahead_does_not_count_and_is_noted(serial: int) -> None:
    """Two such steps would lead the serial round: 1, 2^31, 2^32 - 1, and a secondary at 1 sees an older one."""
    done = update(add("@", "SOA", SOA_TEXT.format(serial), ttl=60))
    assert done.result.soa is not None
    assert soa_serial(done.result.soa) == 11
    assert done.result.soa.ttl == 60
    assert f"serial {serial} is too far after 10" in done.result.ignored[0]


def test_the_farthest_serial_is_policy() -> None:
    done = update(add("@", "SOA", SOA_TEXT.format(13)), add("@", "SOA", SOA_TEXT.format(15)), serial_max=14)
    assert done.result.soa is not None
    assert soa_serial(done.result.soa) == 14, "13 counts, 15 does not"


@pytest.mark.parametrize(
    ("timers", "words"),
    [("3600 600 4199 300", "expire"), ("3600 600 0 300", "expire"), ("0 600 86400 300", "refresh and retry")],
)
def test_soa_timers_that_darken_the_zone_are_refused(timers: str, words: str) -> None:
    done = update(add("@", "SOA", f"ns1.other. host.other. 11 {timers}"))
    _refused(done)
    assert words in done.result.reason
    assert done.result.notable
    zone = zone_view(f"@ 60 SOA ns1.other. host.other. 10 {timers}\n@ 60 NS a.")
    assert update(add("@", "SOA", f"ns1.other. host.other. 11 {timers}", ttl=60), zone=zone).result.soa


@pytest.mark.parametrize(
    ("ttl", "minimum", "words"), [(0, 300, "TTL"), (300, 0, "0"), (90_000, 90_000, "day")]
)
def test_soa_times_that_are_hardly_meant_are_noted(ttl: int, minimum: int, words: str) -> None:
    done = update(add("@", "SOA", f"ns1.other. host.other. 11 3600 600 86400 {minimum}", ttl=ttl))
    assert done.result.soa is not None
    assert words in done.result.ignored[0]


def test_soa_serial_wraps() -> None:
    zone = zone_view(f"@ 60 SOA {SOA_TEXT.format(2**32 - 1)}\n@ 60 NS a.")
    assert update(add("@", "SOA", SOA_TEXT.format(1)), zone=zone).result.soa is not None


def test_of_two_soas_the_later_serial_stays() -> None:
    done = update(add("@", "SOA", SOA_TEXT.format(20)), add("@", "SOA", SOA_TEXT.format(15)))
    assert done.result.soa is not None
    assert soa_serial(done.result.soa) == 20


def test_soa_below_the_apex_is_ignored() -> None:
    _nothing(update(add("www", "SOA", SOA_TEXT.format(20))))


def test_the_soa_is_no_content_change() -> None:
    done = update(add("@", "SOA", SOA_TEXT.format(20)), add("www", "A", "192.0.2.3"))
    assert [change.rtype for change in done.result.changes] == [1]
    assert done.result.soa is not None
    assert done.result.soa.rtype == SOA


# CNAME, DNAME


def test_cname_beside_other_data_is_ignored() -> None:
    done = update(add("www", "CNAME", "a.example."))
    _nothing(done)
    assert "www.example." in done.result.ignored[0]
    _nothing(update(add("@", "CNAME", "a.example.")))


@pytest.mark.parametrize("mnemonic", ["A", "NS", "TXT", "DS", "DNAME"])
def test_other_data_beside_a_cname_is_ignored(mnemonic: str) -> None:
    text = {"A": "192.0.2.1", "NS": "a.", "TXT": '"x"', "DS": "1 13 2 " + "00" * 32, "DNAME": "a."}[mnemonic]
    _nothing(update(add("alias", mnemonic, text)))


def test_cname_on_cname_replaces() -> None:
    done = update(add("alias", "CNAME", "other.example."))
    assert done.added == {"alias.example. 300 CNAME other.example."}
    assert done.removed == {"alias.example. 300 CNAME www.example."}


def test_cname_after_the_other_data_went() -> None:
    done = update(delete("www"), add("www", "CNAME", "a.example."))
    assert done.added == {"www.example. 300 CNAME a.example."}
    done = update(delete("alias", "CNAME"), add("alias", "A", "192.0.2.1"))
    assert done.added == {"alias.example. 300 A 192.0.2.1"}


def test_key_may_stand_beside_a_cname_where_no_secondary_is_knot() -> None:
    key, alias = add("alias", "KEY", "512 3 8 AQPS"), add("mx", "CNAME", "a.")
    assert update(key, knot_secondaries=False).added
    _frozen(update(key), "Knot")
    _frozen(update(delete("mx"), add("mx", "KEY", "512 3 8 AQPS"), alias), "Knot")
    zone = MemoryZoneView(ORIGIN, _after(BASE, update(key, knot_secondaries=False)), (), ())
    assert update(add("alias", "CNAME", "b."), zone=zone).added, "it is no worse than before"


def test_dname_is_one() -> None:
    done = update(add("d", "DNAME", "a."), add("d", "DNAME", "b."))
    assert done.added == {"d.example. 300 DNAME b."}


def test_dname_above_names_and_at_the_apex() -> None:
    for at in ("sub", "@", "wild"):
        assert update(add(at, "DNAME", "other."), knot_secondaries=False).added
        _frozen(update(add(at, "DNAME", "other.")), "Knot")
    assert update(add("mx", "DNAME", "other.")).added
    lone = zone_view(f"@ 60 SOA {SOA_TEXT.format(1)}\n@ 60 NS a.")
    assert update(add("@", "DNAME", "other."), zone=lone).added


def test_names_below_a_dname_and_delegations_beside_it() -> None:
    zone = MemoryZoneView(ORIGIN, _after(BASE, update(add("d", "DNAME", "other."))), (), ())
    _frozen(update(add("a.d", "A", "192.0.2.1"), zone=zone), "Knot")
    _frozen(update(add("d", "NS", "a."), zone=zone), "Knot")
    hidden = update(add("b.a.d", "A", "192.0.2.1"), zone=zone, knot_secondaries=False)
    assert hidden.added
    assert hidden.result.ignored == ("b.a.d.example. A is hidden by the DNAME at d.example.",)
    assert update(delete("d", "DNAME"), add("a.d", "A", "192.0.2.1"), zone=zone).added


def test_wks_is_replaced_by_address_and_protocol() -> None:
    zone = zone_view(
        f"@ 60 SOA {SOA_TEXT.format(1)}\n@ 60 NS a.\nw 60 WKS 192.0.2.1 6 25\nw 60 WKS 192.0.2.1 17 53"
    )
    done = update(add("w", "WKS", "192.0.2.1 6 80", ttl=60), zone=zone)
    assert done.removed == {"w.example. 60 WKS 192.0.2.1 6 25"}
    ports = [add("w", "WKS", f"192.0.2.1 6 {port}", ttl=60) for port in (80, 81, 25, 82)]
    done = update(*ports, add("w", "WKS", "192.0.2.2 6 25", ttl=60), zone=zone)
    assert done.removed == {"w.example. 60 WKS 192.0.2.1 6 25"}
    assert done.added == {"w.example. 60 WKS 192.0.2.1 6 82", "w.example. 60 WKS 192.0.2.2 6 25"}


def test_thousands_of_wks_records_cost_no_more_than_others() -> None:
    draft = Draft(zone_view(f"@ 60 SOA {SOA_TEXT.format(1)}\n@ 60 NS a.\n"))
    started = time.process_time()
    for number in range(20_000):
        draft.add(b"w\x00", WKS, 60, number.to_bytes(4, "big") + b"\x06\x00")
    assert time.process_time() - started < 3, "the cost grows with the square"
    assert len(draft.rdatas(b"w\x00", WKS)) == 20_000


def test_a_second_resinfo_takes_the_place_of_the_first() -> None:
    """named as a secondary ends a transfer that holds two."""
    zone = zone_view(f"@ 60 SOA {SOA_TEXT.format(1)}\n@ 60 NS a.\n")
    one, other = (RR(wire_name("r"), 261, 1, 60, b"\x03" + text) for text in (b"a=1", b"b=2"))
    (change,) = update(one, other, zone=zone).result.changes
    assert change.new is not None
    assert change.new.rdata == pack([b"\x03b=2"])


@pytest.mark.parametrize("mnemonic", ["NS", "DNAME"])
def test_ns_and_dname_at_a_wildcard_are_ignored(mnemonic: str) -> None:
    """named as a secondary drops a transfer that holds an NS RRset at a wildcard."""
    _nothing(update(add("*.w", mnemonic, "a.")))
    _nothing(update(add("*", mnemonic, "a.")))
    assert update(add("x.*.w", mnemonic, "a.")).added


# DNSSEC types


@pytest.mark.parametrize(
    ("mnemonic", "text"),
    [
        ("NSEC", "example. A RRSIG NSEC"),
        ("NSEC3", "1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A"),
        ("RRSIG", "A 13 1 60 20300101000000 20250101000000 1 example. AAAA"),
    ],
)
@pytest.mark.parametrize("name", ["@", "www"])
def test_nsec_nsec3_rrsig_are_refused(mnemonic: str, text: str, name: str) -> None:
    _refused(update(add(name, mnemonic, text)))
    _refused(update(delete(name, mnemonic)))
    _refused(update(delete_rr(name, mnemonic, text)))


APEX_TYPES = [
    ("DNSKEY", "257 3 13 AAAA"),
    ("CDS", "1 13 2 " + "00" * 32),
    ("CDNSKEY", "257 3 13 AAAA"),
    ("NSEC3PARAM", "1 0 0 -"),
    ("ZONEMD", "1 1 1 " + "00" * 48),
]


@pytest.mark.parametrize(("mnemonic", "text"), APEX_TYPES)
def test_the_signers_own_at_the_apex_is_refused(mnemonic: str, text: str) -> None:
    _refused(update(add("@", mnemonic, text)))
    _refused(update(delete("@", mnemonic)))
    _refused(update(delete_rr("@", mnemonic, text)))


@pytest.mark.parametrize(("mnemonic", "text"), APEX_TYPES)
def test_the_signers_own_survives_delete_all_at_the_apex(mnemonic: str, text: str) -> None:
    rtype = rtype_of(mnemonic)
    own = RRset(b"", rtype, 3600, pack([rdata_of(mnemonic, text)]))
    zone = MemoryZoneView(ORIGIN, [*BASE.scan(), own], (), ())
    assert update(delete("@"), zone=zone).removed == {'example. 300 TXT "apex"'}


@pytest.mark.parametrize(("mnemonic", "text"), APEX_TYPES)
def test_below_the_apex_they_are_refused_but_can_be_deleted(mnemonic: str, text: str) -> None:
    _refused(update(add("www", mnemonic, text)))
    _refused(update(add("_dsboot.www", mnemonic, text)))
    stray = RRset(b"www\x00", rtype_of(mnemonic), 3600, pack([rdata_of(mnemonic, text)]))
    zone = MemoryZoneView(ORIGIN, sorted([*BASE.scan(), stray]), (), ())
    assert update(delete("www", mnemonic), zone=zone).removed


@pytest.mark.parametrize(("mnemonic", "text"), APEX_TYPES)
def test_cds_and_cdnskey_are_taken_at_signalling_names(mnemonic: str, text: str) -> None:
    """RFC 9615: a parent's way to trust the first CDS of a child, published by its DNS operator."""
    done = update(add("_dsboot.child.test._signal.ns1", mnemonic, text))
    assert bool(done.added) == (mnemonic in ("CDS", "CDNSKEY"))


def test_what_is_refused_at_the_apex_is_policy() -> None:
    from dnssecd.core.update.types import UpdatePolicy
    from tests.unit.core_update.build import EVERYTHING

    lenient = UpdatePolicy(EVERYTHING, apex_refused=frozenset({rtype_of("DNSKEY")}))
    assert update(add("@", "CDS", APEX_TYPES[1][1]), policy=lenient).added


DS = "2 13 2 " + "BB" * 32


def test_ds_at_a_delegation_is_taken() -> None:
    done = update(add("sub", "DS", DS, ttl=3600))
    assert len(done.added) == 1
    assert " DS " in next(iter(done.added))


def test_ds_at_the_apex_is_ignored() -> None:
    done = update(add("@", "DS", DS))
    _nothing(done)
    assert done.result.ignored


def test_ds_with_its_delegation_in_any_order() -> None:
    for rrs in ([add("n", "NS", "a."), add("n", "DS", DS)], [add("n", "DS", DS), add("n", "NS", "a.")]):
        assert len(update(*rrs).added) == 2


def test_ds_without_a_delegation_does_not_stay() -> None:
    _nothing(update(add("www", "DS", DS)))


def test_ds_goes_with_its_delegation() -> None:
    done = update(delete("sub", "NS"))
    assert {line.split()[2] for line in done.removed} == {"NS", "DS"}
    done = update(delete_rr("sub", "NS", "ns.sub.example."), add("sub", "A", "192.0.2.1"))
    assert {line.split()[2] for line in done.removed} == {"NS", "DS"}


def test_ds_stays_when_the_name_servers_are_replaced() -> None:
    done = update(delete("sub", "NS"), add("sub", "NS", "a.", ttl=3600))
    assert {line.split()[2] for line in done.removed} == {"NS"}


# Structure: what is a question of the denial chain elsewhere is plain content here


def test_glue_freed_and_occluded() -> None:
    assert len(update(delete("sub")).removed) == 2
    assert update(add("www", "NS", "ns.www.example."), add("ns.www", "A", "192.0.2.1")).rcode == NOERROR


# Bounds


def test_ttl_above_the_bound_is_refused() -> None:
    _refused(update(add("new", "A", "192.0.2.1", ttl=2**31)))
    _refused(update(add("new", "A", "192.0.2.1", ttl=86401), ttl_max=86400))
    assert update(add("new", "A", "192.0.2.1", ttl=2**31 - 1)).added
    assert update(add("new", "A", "192.0.2.1", ttl=86400), ttl_max=86400).added


def test_an_rrset_that_fits_in_no_message_is_refused() -> None:
    big = [add("big", "TXT", " ".join(f'"{number:03}{"x" * 240}"' for number in range(60)))]
    big += [rr._replace(rdata=rr.rdata + bytes([4]) + b"%4d" % number) for rr in big for number in range(3)]
    assert update(*big[:3]).added
    zone = MemoryZoneView(ORIGIN, _after(BASE, update(*big[:3])), (), ())
    _refused(update(big[0]._replace(rdata=big[0].rdata[:-1] + b"z"), big[3], zone=zone))


def test_rrs_per_rrset_and_types_per_name_are_bounded() -> None:
    _refused(update(add("www", "A", "192.0.2.3"), rrs_per_rrset_max=2))
    assert update(delete_rr("www", "A", "192.0.2.1"), rrs_per_rrset_max=1).removed
    many = [add("t", f"TYPE{number}", r"\# 0") for number in range(1000, 1050)]
    _frozen(update(*many), "update_types_max")
    assert update(*many, types_per_name_max=50).added
    assert update(*many[:49]).added
    servers = [add("_ldap", "SRV", f"0 0 389 dc{number}.x.") for number in range(101)]
    _frozen(update(*servers), "update_records_max")
    assert update(*servers[:100]).added
    assert update(*servers, rrs_per_rrset_max=101).added


def test_a_signed_form_that_validators_cannot_check_is_refused() -> None:
    owner = ".".join(["x" * 60] * 3 + ["y" * 40])
    long = [add(owner, "A", f"10.0.{number // 250}.{number % 250}") for number in range(300)]
    _frozen(update(*long[:266], rrs_per_rrset_max=1000), "validators")
    assert update(*long[:265], rrs_per_rrset_max=1000).added


def _deep(labels: int, number: int = 0) -> str:
    return "a." * labels + f"n{number}"


def test_names_that_come_and_go_are_bounded_with_their_empty_non_terminals() -> None:
    one = add(_deep(9), "TXT", '"x"')
    _frozen(update(one, names_changed_max=9), "update_names_max")
    grown = update(one, names_changed_max=10)
    assert grown.added
    assert grown.result.names == 10
    assert update(one, add(_deep(4), "TXT", '"x"'), names_changed_max=10).added, "each is counted once"
    zone = MemoryZoneView(ORIGIN, _after(BASE, grown), (), ())
    _frozen(update(delete(_deep(9)), zone=zone, names_changed_max=9), "update_names_max")
    assert update(delete(_deep(9)), zone=zone, names_changed_max=10).removed
    assert update(add(_deep(5), "TXT", '"x"'), zone=zone, names_changed_max=1).added, "it was there, empty"
    both = [delete(_deep(9)), add(_deep(5), "TXT", '"x"')]
    assert update(*both, zone=zone, names_changed_max=5).added, "five labels go, one name comes"
    _frozen(update(*both, zone=zone, names_changed_max=4), "update_names_max")


def test_the_default_bound_on_names_stops_a_small_dear_message() -> None:
    """120 TXT at names of 113 labels would make 13,560 names, each with NSEC3 and RRSIG, of 30 kB."""
    _frozen(update(*[add(_deep(110, number), "TXT", '"x"') for number in range(120)]), "update_names_max")
    assert update(*[add(f"n{number}", "TXT", '"x"') for number in range(900)]).added


def test_what_a_cut_hides_or_uncovers_is_bounded_too() -> None:
    names = [add(f"n{number}.cut", "A", "192.0.2.1") for number in range(5)]
    zone = MemoryZoneView(ORIGIN, _after(BASE, update(*names)), (), ())
    _frozen(update(add("cut", "NS", "a."), zone=zone, names_changed_max=5), "update_names_max")
    hidden = update(add("cut", "NS", "a."), zone=zone, names_changed_max=6)
    assert hidden.added
    zone = MemoryZoneView(ORIGIN, _after(zone, hidden), (), ())
    _frozen(update(delete("cut", "NS"), zone=zone, names_changed_max=5), "update_names_max")
    assert update(delete("cut", "NS"), zone=zone, names_changed_max=6).removed


def test_a_new_ttl_for_the_whole_chain_counts_all_names() -> None:
    shorter = add("@", "SOA", "ns1.other. host.other. 11 3600 600 86400 60")
    _frozen(update(shorter, names_changed_max=5), "update_names_max")
    assert update(shorter).result.soa is not None
    same = add("@", "SOA", "ns1.other. host.other. 11 3600 600 86401 300", ttl=300)
    assert update(same, names_changed_max=0).result.soa is not None


@pytest.mark.parametrize(
    ("mnemonic", "text"), [("DS", "1 13 2 " + "AB" * 32), ("DNSKEY", "256 3 13 " + "A" * 86 + "==")]
)
def test_a_delegation_that_hides_what_may_not_be_served_stays(mnemonic: str, text: str) -> None:
    """Uncovered, a DS without delegation or a DNSKEY below the apex would fail the verification of the version."""
    occluded = RRset(b"sub\x00k\x00", rtype_of(mnemonic), 300, pack([rdata_of(mnemonic, text)]))
    zone = MemoryZoneView(ORIGIN, sorted([*BASE.scan(), occluded]), (), ())
    _frozen(update(delete("sub", "NS"), zone=zone), f"k.sub.example. {mnemonic}")
    assert update(delete("sub", "NS"), delete("k.sub"), zone=zone).removed
    assert update(delete("sub", "NS"), add("sub", "DNAME", "a."), zone=zone, knot_secondaries=False).removed


def test_what_a_delegation_hides_is_noted() -> None:
    def noted(*updates: RR) -> list[str]:
        return list(update(*updates).result.ignored)

    assert noted(add("_acme-challenge.sub", "TXT", '"x"')) == [
        "_acme-challenge.sub.example. TXT is hidden by the delegation at sub.example."
    ]
    assert noted(add("sub", "TXT", '"x"')) == ["sub.example. TXT is hidden by the delegation there"]
    assert noted(add("www", "NS", "a.")) == ["www.example. TXT is hidden by the delegation there"]
    assert noted(add("ns2.sub", "AAAA", "2001:db8::1"), add("sub", "NS", "ns2.sub.example.")) == []
    assert noted(add("mx", "NS", "a."), add("mx", "DS", DS)) == [
        "mx.example. MX is hidden by the delegation there"
    ]
    assert noted(add("www", "DS", DS)) == ["www.example. DS not added: no delegation is at the name"]


def test_a_name_that_takes_a_wildcards_address_away_is_noted() -> None:
    wild = [
        RRset(key, rtype_of("A"), 300, pack([bytes(4)])) for key in (b"*\x00", b"shop\x00", b"sub\x00*\x00")
    ]
    below = RRset(b"shop\x00_tcp\x00_443\x00", rtype_of("TXT"), 300, pack([b"\x01x"]))
    zone = MemoryZoneView(ORIGIN, sorted([*BASE.scan(), *wild, below]), (), ())

    def noted(*updates: RR) -> list[str]:
        return list(update(*updates, zone=zone).result.ignored)

    text = "{}.example.: it exists without an address, so *.example. gives none to it and to names below it"
    assert noted(add("_443._tcp.new", "TXT", '"x"')) == [text.format("new")]
    assert noted(add("_acme-challenge.new", "TXT", '"x"'), add("new", "A", "192.0.2.9")) == []
    assert noted(add("new", "TXT", '"x"')) == [text.format("new")]
    assert noted(add("_acme-challenge.www", "TXT", '"x"')) == [], "www has an address"
    assert noted(add("_dmarc", "TXT", '"x"')) == []
    assert noted(delete("shop", "A")) == [text.format("shop")]
    assert noted(delete("shop", "A"), delete("_443._tcp.shop")) == [], "it is gone"
    assert list(update(add("_443._tcp.new", "TXT", '"x"')).result.ignored) == []


def test_names_that_are_hardly_meant_are_noted() -> None:
    def noted(*updates: RR) -> list[str]:
        return list(update(*updates).result.ignored)

    (note,) = noted(add("mail", "MX", "10 192.0.2.1.example."))
    assert note.startswith("mail.example. MX: the target 192.0.2.1.example. is an address")
    (note,) = noted(add("", "MX", "10 mail.example.example."))
    assert note.startswith("example. MX: the target mail.example.example. repeats the zone's name")
    (note,) = noted(add("m\\195\\188ller", "A", "192.0.2.1"))
    assert "octets over 127" in note
    (note,) = noted(add("", "SOA", "ns1.other. me@host.other. 11 3600 600 86400 300"))
    assert "the mailbox me\\@host.other. has an @" in note
    assert noted(add("mail", "MX", "10 mail.example."), add("x", "SRV", "0 0 1 www.example.")) == []


def test_a_name_server_of_the_zone_keeps_an_address() -> None:
    text = f"@ 60 SOA {SOA_TEXT.format(1)}\n@ 60 NS ns.example.\nns 60 A 192.0.2.1\nns 60 AAAA 2001:db8::1"
    zone = zone_view(text)
    assert update(delete("ns", "A"), zone=zone).removed
    _frozen(update(delete("ns"), zone=zone), "name server ns.example. has no address")
    _frozen(update(add("@", "NS", "ns2.example."), zone=zone), "name server ns2.example. has no address")
    assert update(add("@", "NS", "ns2.example."), zone=zone, allow_missing_glue=True).added
    assert update(add("@", "NS", "ns2.example."), add("ns2", "A", "192.0.2.2"), zone=zone).added
    assert update(delete("ns"), add("ns", "A", "192.0.2.3"), zone=zone).added
    assert update(add("@", "NS", "ns.sub.example."), add("sub", "NS", "a."), zone=zone).added
    lost = update(delete_rr("ns.sub", "A", "192.0.2.53"))
    _frozen(lost, "sub.example. NS: name server ns.sub.example. has no address")
    bare = zone_view(f"@ 60 SOA {SOA_TEXT.format(1)}\n@ 60 NS ns.example.")
    assert update(add("www", "A", "192.0.2.1"), zone=bare).added, "it is no worse than before"


def test_ignored_rrs_are_reported_but_not_without_limit() -> None:
    done = update(*[add("@", "DS", f"{number} 13 2 {'00' * 32}") for number in range(100)])
    assert 0 < len(done.result.ignored) <= 20
    assert key_to_text(b"", ORIGIN) in done.result.ignored[0]


def test_a_view_is_not_changed() -> None:
    before = list(BASE.scan())
    update(
        add("www", "A", "192.0.2.3", ttl=1), delete("mx"), RR(ORIGIN, 16, NONE, 0, rdata_of("TXT", '"apex"'))
    )
    assert list(BASE.scan()) == before
