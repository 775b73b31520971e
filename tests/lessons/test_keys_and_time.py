"""How zones went dark through keys and time: replayed with the real planner, pipeline, store and verifier."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dns.dnssec
import dns.rdatatype
import msgspec
import pytest

from dnssecd.clock import FakeClock
from dnssecd.core.dns.rrset import pack, unpack
from dnssecd.core.dns.rrtypes import DNSKEY, SOA
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import KeysetError, add_key, new_key, signing_view
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.core.verify import inline_checker, verify_zone
from dnssecd.core.zone.changeset import Change
from dnssecd.daemon.rollover.clock_watch import ClockWatch
from dnssecd.daemon.zones.health_checks import Guard
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.jobs.spec import KeyWish
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.verification import published_expectation
from dnssecd.replacing import replace
from tests.pipeline_zone import ZONE, PipelineZone
from tests.simulated_zone import DAY, HOUR, SimulatedZone, simulated_zone

LIMIT = 200 * DAY


def pair(algorithm: int = 13, bits: int = 0) -> tuple[KeySpec, ...]:
    return (KeySpec(Role.KSK, algorithm, bits=bits), KeySpec(Role.ZSK, algorithm, bits=bits))


def secure(home: Path, signer: str, specs: tuple[KeySpec, ...] | None = None, **more: Any) -> SimulatedZone:
    zone = simulated_zone(home, signer, RolloverPolicy(specs or pair(), **more))
    assert zone.run(10 * DAY, zone.settled)
    return zone


def test_ru_2024_key_tag_collision(tmp_path: Path, signer: str) -> None:
    """No key joins whose tag, with or without the REVOKE bit, another of the zone's keys has."""
    zone = secure(tmp_path, signer)
    key = zone.key(Role.ZSK)
    moved = bytearray(key.public_key)
    moved[0], moved[2], moved[5], moved[7] = moved[2], moved[0], moved[7], moved[5]  # a tag is a sum
    twin = new_key("twin", Role.ZSK, 13, bytes(moved), "local", zone.now)
    assert twin.tag == key.tag
    with pytest.raises(KeysetError, match="generate another"):
        add_key(zone.keyset, twin)


def test_ru_2024_whole_keys_are_matched_never_tags(tmp_path: Path, signer: str) -> None:
    """The parent has a DS with the new KSK's tag, but of another key: the rollover does not continue from that."""
    zone = secure(tmp_path, signer)
    zone.ds_delay = None
    old = zone.key(Role.KSK)
    zone.tell(lambda keyset: commands.roll_over(keyset, Role.KSK))
    assert zone.run(LIMIT, lambda: zone.key(Role.KSK).ds.state is State.RUMOURED)
    new = zone.key(Role.KSK)
    assert new.ref != old.ref
    zone.step()
    zone.ds = tuple(ds[:4] + bytes(reversed(ds[4:])) for ds in zone.ds_wanted)
    assert [int.from_bytes(ds[:2]) for ds in zone.ds] == [new.tag]
    zone.run(30 * DAY)
    assert state_of(zone, new.ref, Rec.DS) is State.RUMOURED
    assert state_of(zone, old.ref, Rec.DNSKEY) is State.OMNIPRESENT
    assert state_of(zone, old.ref, Rec.KRRSIG) is State.OMNIPRESENT
    zone.ds = zone.ds_wanted
    assert zone.run(LIMIT, lambda: state_of(zone, new.ref, Rec.DS) is State.OMNIPRESENT)


def test_nz_2023_old_ksk_retired_while_its_ds_was_cached(tmp_path: Path, signer: str) -> None:
    """The DS TTL observed at the parent (5 days) counts, not the policy's (1 day)."""
    zone = secure(tmp_path, signer, parent_ds_ttl=DAY)
    zone.ttl_ds = 5 * DAY
    old = zone.key(Role.KSK)
    zone.tell(lambda keyset: commands.roll_over(keyset, Role.KSK))
    assert zone.run(
        LIMIT, lambda: zone.ds == zone.ds_wanted and zone.key(Role.KSK).ds.state is State.RUMOURED
    )
    changed_at = zone.now
    assert zone.run(LIMIT, lambda: state_of(zone, old.ref, Rec.DNSKEY) is not State.OMNIPRESENT)
    assert zone.now >= changed_at + 5 * DAY


def state_of(zone: SimulatedZone, ref: str, rec: Rec) -> State:
    key = zone.keyset.find(ref)
    assert key is not None
    return key.record(rec).state


def test_gov_2013_signed_with_one_algorithm_while_the_ds_named_two(tmp_path: Path, signer: str) -> None:
    """At every moment of an algorithm rollover all RRsets have every algorithm of the DNSKEY set and of the DS."""
    zone = secure(tmp_path, signer, pair(8, 2048))
    zone.policy = replace(zone.policy, specs=pair(13))
    seen: set[frozenset[int]] = set()

    def checked() -> bool:
        named = frozenset(ds[2] for ds in zone.ds) | dnskey_algorithms(zone)
        seen.add(named)
        assert all(named <= made for made in signature_algorithms(zone))
        return zone.settled() and {key.algorithm for key in zone.present()} == {13}

    assert zone.run(LIMIT, checked)
    assert frozenset({8, 13}) in seen, "there was a time with both"


@pytest.mark.parametrize("covered", ["SOA", "A", "DNSKEY", "NSEC3PARAM"])
def test_gov_2013_a_set_without_one_of_the_algorithms_stops_at_the_verifier(
    covered: str, zone: PipelineZone
) -> None:
    """Not the planner alone: whatever made it so, an RRset that one algorithm is missing from is not published."""
    both = tuple(KeyWish(role, algorithm, "local") for role in ("ksk", "zsk") for algorithm in (13, 15))
    zone.spec = msgspec.structs.replace(zone.spec, keys=both, denial="nsec3")
    assert zone.load(ZONE).result == "published"
    assert faults(zone) == []
    with zone.db.write() as transaction:
        rrtype = int(dns.rdatatype.from_text(covered))
        old = next(row for row in transaction.rrsig_scan() if row.covered == rrtype)
        left = [rdata for rdata in unpack(old.rdata) if rdata[2] != 13]
        assert {rdata[2] for rdata in left} == {15}
        transaction.put_rrsigs([(old, old._replace(rdata=pack(left)), zone.now + 7 * DAY)])
        transaction.commit_if(transaction.generation)
    assert faults(zone) == ["algorithm-missing"]


def dnskey_algorithms(zone: SimulatedZone) -> frozenset[int]:
    with zone.zone.db.snapshot() as snapshot:
        dnskey = snapshot.rrset(b"", DNSKEY)
    assert dnskey is not None
    return frozenset(rdata[3] for rdata in unpack(dnskey.rdata))


def signature_algorithms(zone: SimulatedZone) -> list[frozenset[int]]:
    """The algorithms each RRset of zone data is signed with."""
    with zone.zone.db.snapshot() as snapshot:
        rows = list(snapshot.rrsig_scan())
    return [frozenset(rdata[2] for rdata in unpack(row.rdata)) for row in rows if row.covered != DNSKEY]


def test_fj_2022_signed_with_a_key_the_parent_did_not_know(tmp_path: Path, signer: str) -> None:
    """The parent does not act for a year: the key whose DS it has continues signing the DNSKEY RRset."""
    zone = secure(tmp_path, signer)
    zone.ds_delay = None
    old = zone.key(Role.KSK)
    zone.tell(lambda keyset: commands.compromised(keyset, old.ref))
    zone.run(400 * DAY)
    assert state_of(zone, old.ref, Rec.KRRSIG) is State.OMNIPRESENT
    assert zone.plan is not None
    waits = [blocker for blocker in zone.plan.blockers if blocker.rec is Rec.DS and blocker.missing]
    assert any("wanted" not in each.seen and each.whom == "parent" for b in waits for each in b.missing)


def test_slack_2021_unsigned_with_the_ds_still_cached(tmp_path: Path, signer: str) -> None:
    """Going insecure is locked until the DS is gone at the parent and nobody can hold it any more."""
    zone = secure(tmp_path, signer)
    zone.ds_delay = None
    zone.policy = replace(zone.policy, signed=False)
    zone.run(100 * DAY)
    assert dnskey_algorithms(zone) == {13}, "the parent still has the DS"
    zone.ds, gone_at = (), zone.now
    zone.ds_wanted = ()
    assert zone.run(LIMIT, lambda: not zone.present())
    assert zone.now >= gone_at + zone.ttl_ds


@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
@pytest.mark.parametrize("name", ["*.wild.example.", "c.example."])
def test_slack_2021_wrong_bitmap_at_a_wildcard_or_empty_non_terminal(
    denial: str, name: str, zone: PipelineZone
) -> None:
    """One type too many at a wildcard, or at a name that exists only by those below it, does not pass the verifier.

    NSEC has no record at an empty non-terminal: there, one that is made up does not pass.
    """
    zone.spec = msgspec.structs.replace(zone.spec, denial=denial)
    assert zone.load(ZONE).result == "published"
    assert faults(zone) == []
    wanted = denial_owner(denial, name)
    with zone.db.write() as transaction:
        rows = {rrset.owner: rrset for rrset in transaction.denial_scan()}
        old = rows.get(wanted)
        assert (old is None) == (denial == "nsec" and name == "c.example.")
        model = old or next(iter(rows.values()))
        (rdata,) = unpack(model.rdata)
        new = model._replace(owner=wanted, rdata=pack([one_type_more(rdata)]))
        transaction.apply_denial([Change(wanted, model.rtype, old, new)])
        transaction.commit_if(transaction.generation)
    assert {"bitmap-wrong"} & {*faults(zone)} if old else faults(zone)


def denial_owner(denial: str, name: str) -> bytes:
    """The owner key of the NSEC or NSEC3 that belongs to a name of example."""
    if denial == "nsec3":
        return dns.dnssec.nsec3_hash(name, None, 0, "SHA1").lower().encode() + b"\0"
    labels = name.removesuffix(".example.").split(".")
    return b"".join(label.encode() + b"\0" for label in reversed(labels))


def one_type_more(rdata: bytes) -> bytes:
    """The RDATA with TYPE65280 in a window of its own at the end of the bitmap (RFC 4034 section 4.1.2)."""
    return rdata + b"\xff\x01\x80"


def faults(zone: PipelineZone) -> list[str]:
    with zone.db.snapshot() as snapshot:
        keyset = state.keyset_from(snapshot.state(state.KEYSET))
        assert keyset is not None
        wanted = published_expectation(zone.spec, signing_view(keyset), snapshot.serial, zone.now)
        return [fault.code for fault in verify_zone(snapshot, wanted, 20, inline_checker)]


def test_ripe_2023_one_long_ttl_rejects_the_input_and_stops_no_refreshing(zone: PipelineZone) -> None:
    assert zone.load(ZONE).result == "published"
    bad = zone.load(ZONE + "long 864000 IN A 192.0.2.9\n" + "longer 5184000 IN A 192.0.2.9\n")
    assert (bad.result, bad.problems[0].event) == ("rejected", "ttl-rejected")
    serial = zone.serial()
    assert bad.next_due is not None
    zone.now = bad.next_due + HOUR
    renewed = zone.resign()
    assert renewed.result == "published"
    assert renewed.serial != serial
    assert renewed.earliest_expiration is not None
    assert bad.earliest_expiration is not None
    assert renewed.earliest_expiration > bad.earliest_expiration, "the zone-wide earliest is what is watched"


def test_ripe_2023_the_alert_looks_at_the_whole_zone(zone: PipelineZone, tmp_path: Path) -> None:
    """An edit renews the SOA's RRSIG; those of all else expire, and it is the first of them that is told of."""
    first = zone.load(ZONE)
    assert first.next_due is not None
    zone.now = first.next_due - HOUR
    edited = zone.load(ZONE + "more IN A 192.0.2.9\n")
    earliest = edited.earliest_expiration
    assert edited.result == "published"
    assert earliest == first.earliest_expiration
    refresh = earliest - first.next_due
    clock = FakeClock(earliest - 0.4 * refresh)
    assert expiration(zone, SOA) - clock.now() > refresh, "who watches the SOA sees nothing"
    events = EventCore(tmp_path / "events.sqlite", clock)
    front = FrontZone(SimpleNamespace(name="example."), zone.spec, None, [], [], None)  # type: ignore[arg-type]
    front.earliest_expiration, front.refresh_s = earliest, refresh
    guard = Guard({"example.": front}, events, Metrics(), clock, tmp_path)
    guard.look()
    assert events.is_firing("runway-low", "example.")
    front.earliest_expiration = int(clock.now()) + refresh
    guard.look()
    assert not events.is_firing("runway-low", "example.")
    events.close()


def expiration(zone: PipelineZone, covered: int) -> int:
    """When the first RRSIG over a type's RRsets expires, epoch seconds."""
    with zone.db.snapshot() as snapshot:
        rows = [row for row in snapshot.rrsig_scan() if row.covered == covered]
    return min(int.from_bytes(rdata[8:12]) for row in rows for rdata in unpack(row.rdata))


def test_powerdns_serial_not_bumped_when_rrsigs_were_refreshed(zone: PipelineZone) -> None:
    """Any change of published octets raises the serial, so that secondaries transfer it."""
    published = zone.load(ZONE)
    assert published.next_due is not None
    before = octets(zone)
    zone.now = published.next_due + HOUR
    renewed = zone.resign()
    assert octets(zone) != before
    assert renewed.serial == 1 + (published.serial or 0)


def octets(zone: PipelineZone) -> list[bytes]:
    with zone.db.snapshot() as snapshot:
        return [row.rdata for row in snapshot.rrsig_scan()]


def test_the_clock_a_year_ahead_publishes_nothing_that_is_not_yet_valid(tmp_path: Path) -> None:
    clock = FakeClock()
    events = EventCore(tmp_path / "events.sqlite", clock)
    watch = ClockWatch(
        clock, tmp_path / "clock", 300, events, lambda: [], lambda stepped: None, lambda: False
    )
    watch.begin(0.0)
    clock.step(365 * DAY)
    assert watch.held()
    events.close()
