"""Key sets into versions: compared with what is stored, committed with what they publish, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.core.signing.denial import DenialParameters
from dnssecd.pipeline.jobs.rekey import rekey, removed, store_keyset
from dnssecd.pipeline.version.committed import count_signatures
from dnssecd.pipeline.version.held_denial import denial_of, in_force
from dnssecd.pipeline.version.keychange import KeyChange, Note
from dnssecd.replacing import replace
from tests.pipeline_zone import running_signer
from tests.simulated_zone import DAY, SimulatedZone, simulated_zone

PAIR = (KeySpec(Role.KSK, 13), KeySpec(Role.ZSK, 13))


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[SimulatedZone]:
    with running_signer() as socket:
        made = simulated_zone(tmp_path, socket, RolloverPolicy(PAIR))
        yield made
        made.zone.close()


def history(zone: SimulatedZone) -> list[str]:
    with zone.zone.db.snapshot() as snapshot:
        return [str(entry["what"]) for entry in snapshot.history(100)]


def test_a_plan_that_was_overtaken_is_not_carried_out(zone: SimulatedZone) -> None:
    known = zone.known()
    zone.tell(lambda keyset: commands.approve(keyset, "zsk:x"))
    late = KeyChange(known.keyset, commands.roll_over(known.keyset, Role.ZSK), (Note("too late"),))
    assert not store_keyset(zone.zone.db, zone.zone.spec, late, zone.now)
    assert rekey(zone.zone.db, zone.zone.spec, late, zone.zone.tools()).result == "unchanged"
    assert zone.keyset.approved == ("zsk:x",)
    assert "too late" not in history(zone)


def test_what_changes_the_published_zone_cannot_be_stored_alone(zone: SimulatedZone) -> None:
    known = zone.known()
    fewer = replace(known.keyset, keys=known.keyset.keys[:1])
    with pytest.raises(ValueError, match="needs a new version"):
        store_keyset(zone.zone.db, zone.zone.spec, KeyChange(known.keyset, fewer), zone.now)
    assert zone.known() == known


def test_notes_and_removals_are_stored_with_the_key_set(zone: SimulatedZone) -> None:
    known = zone.known()
    after = commands.roll_over(known.keyset, Role.ZSK)
    change = KeyChange(known.keyset, after, (Note("noted", "why", "alice"),), ("k1", "k2"))
    assert store_keyset(zone.zone.db, zone.zone.spec, change, zone.now)
    assert zone.known().removals == ("k1", "k2")
    assert "noted" in history(zone)
    removed(zone.zone.db, frozenset({"k1"}))
    assert zone.known().removals == ("k2",)


def test_a_key_set_without_anything_new_to_publish_gets_the_serial_there_is(zone: SimulatedZone) -> None:
    """cds = "never": a DS is submitted, and no version is needed for it."""
    zone.zone.spec = msgspec.structs.replace(zone.zone.spec, cds=False)
    zone.run(2 * DAY)
    serial = zone.known().serial
    ksk = zone.key(Role.KSK)
    assert ksk.ds.visible
    assert ksk.ds.serial == serial == 1


def test_signatures_are_counted_as_a_walk_would_count_them(zone: SimulatedZone) -> None:
    zone.run(3 * DAY)
    zone.policy = replace(zone.policy, specs=(KeySpec(Role.KSK, 15), KeySpec(Role.ZSK, 15)))
    zone.step()
    check_counts(zone)
    mixed = set()
    for _ in range(30):
        zone.run(DAY)
        mixed.add(len(check_counts(zone)))
    assert 2 in mixed, "some time RRsets had signatures of two keys"


def check_counts(zone: SimulatedZone) -> set[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    total = 0
    with zone.zone.db.snapshot() as snapshot:
        for row in snapshot.rrsig_scan():
            if row.covered not in (DNSKEY, CDS, CDNSKEY):
                total += 1
                found.update((rdata[2], int.from_bytes(rdata[16:18])) for rdata in unpack(row.rdata))
    serial, counts = count_signatures(zone.zone.db, zone.keyset.keys)
    assert serial == zone.known().serial
    for count in counts:
        key = zone.keyset.find(count.ref)
        assert key is not None
        made = found[key.algorithm, key.tag]
        assert (count.made, count.missing) == (made, total - made)
    return set(found)


def test_a_held_denial_stays_as_it_is_published(zone: SimulatedZone) -> None:
    spec = msgspec.structs.replace(zone.zone.spec, denial="nsec", hold_denial=True)
    with zone.zone.db.snapshot() as snapshot:
        assert denial_of(snapshot) == DenialParameters("nsec3")
        assert in_force(spec, snapshot, zone.keyset).denial == "nsec3"
        assert (
            in_force(msgspec.structs.replace(spec, hold_denial=False), snapshot, zone.keyset).denial == "nsec"
        )
        optout = msgspec.structs.replace(zone.zone.spec, opt_out=True, hold_denial=True)
        assert in_force(optout, snapshot, zone.keyset).opt_out is False
