"""Every kind of roll-over through the real pipeline on a virtual clock: each version passes the verifier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dnssecd.core.dns.rrset import unpack
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import DELETE_CDS
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.replacing import replace
from tests.pipeline_zone import running_signer
from tests.simulated_zone import DAY, SimulatedZone, simulated_zone

LIMIT = 120 * DAY


@pytest.fixture
def signer() -> Iterator[str]:
    with running_signer() as socket:
        yield socket


def pair(algorithm: int = 13, bits: int = 0) -> tuple[KeySpec, ...]:
    return (KeySpec(Role.KSK, algorithm, bits=bits), KeySpec(Role.ZSK, algorithm, bits=bits))


def csk(algorithm: int = 13) -> tuple[KeySpec, ...]:
    return (KeySpec(Role.CSK, algorithm),)


def settled(home: Path, signer: str, specs: tuple[KeySpec, ...], **more: Any) -> SimulatedZone:
    """A zone that is signed and secure, all records omnipresent."""
    zone = simulated_zone(home, signer, RolloverPolicy(specs, **more))
    assert zone.run(10 * DAY, zone.settled)
    assert not zone.policy.parent or zone.ds
    return zone


def finish(zone: SimulatedZone) -> None:
    """Let everything happen that is under way; the parent has just the DS of the keys in use at the end."""
    before = zone.keyset
    zone.step()
    assert zone.keyset != before, "nothing began"
    assert zone.run(LIMIT, zone.settled)
    assert zone.ds == zone.ds_wanted


@pytest.mark.parametrize("role", [Role.KSK, Role.ZSK, Role.CSK])
def test_roll_over_by_command(tmp_path: Path, signer: str, role: Role) -> None:
    zone = settled(tmp_path, signer, csk() if role is Role.CSK else pair())
    old = zone.key(role)
    zone.tell(lambda keyset: commands.roll_over(keyset, role))
    finish(zone)
    assert zone.key(role).tag != old.tag
    assert old.tag not in {key.tag for key in zone.present()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pair(8, 2048), pair(13)),
        (pair(13), pair(15)),
        (pair(15), pair(13)),
        (pair(8, 2048), pair(8, 3072)),
        (pair(13), csk(13)),
        (csk(13), pair(13)),
        (csk(13), pair(15)),
        (pair(13), csk(15)),
    ],
    ids=str,
)
def test_a_changed_policy_becomes_a_roll_over(
    tmp_path: Path, signer: str, before: tuple[KeySpec, ...], after: tuple[KeySpec, ...]
) -> None:
    zone = settled(tmp_path, signer, before)
    zone.policy = replace(zone.policy, specs=after)
    finish(zone)
    assert {(key.role, key.algorithm) for key in zone.present()} == {(s.role, s.algorithm) for s in after}


@pytest.mark.parametrize("role", [Role.KSK, Role.ZSK, Role.CSK])
def test_a_compromised_key_goes(tmp_path: Path, signer: str, role: Role) -> None:
    zone = settled(tmp_path, signer, csk() if role is Role.CSK else pair())
    old = zone.key(role)
    zone.tell(lambda keyset: commands.compromised(keyset, old.ref))
    finish(zone)
    assert old.tag not in {key.tag for key in zone.present()}


def test_a_stand_by_ksk_comes_and_takes_over(tmp_path: Path, signer: str) -> None:
    zone = settled(tmp_path, signer, pair())
    zone.policy = replace(zone.policy, standby_ksk=True)
    finish(zone)
    standby = zone.key(Role.KSK, Goal.STANDBY)
    assert standby.ds.state is State.OMNIPRESENT
    assert standby.dnskey.state is State.HIDDEN
    zone.tell(lambda keyset: commands.compromised(keyset, zone.key(Role.KSK).ref))
    finish(zone)
    assert zone.key(Role.KSK).tag == standby.tag


def test_rfc5011_revokes_what_validators_trusted(tmp_path: Path, signer: str) -> None:
    zone = settled(tmp_path, signer, pair(), rfc5011=True)
    old = zone.key(Role.KSK)
    zone.tell(lambda keyset: commands.revoke(keyset, old.ref))
    zone.step()
    assert zone.run(LIMIT, lambda: any(key.revoked for key in zone.present()))
    revoked = next(key for key in zone.present() if key.revoked)
    assert revoked.tag != old.tag
    assert zone.run(LIMIT, zone.settled)
    assert zone.run(LIMIT, lambda: not any(key.revoked for key in zone.present()))
    assert zone.run(LIMIT, zone.settled)


def test_going_insecure_and_secure_again(tmp_path: Path, signer: str) -> None:
    zone = settled(tmp_path, signer, pair())
    zone.ds_delay = 3 * DAY
    zone.policy = replace(zone.policy, signed=False)
    zone.step()
    assert zone.key(Role.KSK).ds.state is State.UNRETENTIVE
    assert cds(zone) == [DELETE_CDS]
    assert zone.run(LIMIT, lambda: not zone.present())
    assert dnssec_types(zone) == set()
    gone = next(made.at for made in reversed(zone.made) if made.kind == "rekey")
    assert gone >= zone.ds_asked + zone.ds_delay + zone.ttl_ds, "unsigned while a DS could be cached"
    zone.run(10 * DAY)
    assert zone.keyset.keys == ()
    zone.text += "more IN A 192.0.2.77\n"
    zone.load()
    assert dnssec_types(zone) == set()
    zone.policy = replace(zone.policy, signed=True)
    zone.ds_delay = 3600
    finish(zone)
    assert zone.ds
    assert {48, 50, 51} <= dnssec_types(zone)


def cds(zone: SimulatedZone) -> list[bytes]:
    with zone.zone.db.snapshot() as snapshot:
        found = snapshot.rrset(b"", 59)
    return [] if found is None else unpack(found.rdata)


def dnssec_types(zone: SimulatedZone) -> set[int]:
    """The types a signer adds that the zone has (46 stands for any RRSIG)."""
    with zone.zone.db.snapshot() as snapshot:
        types = {rrset.rtype for rrset in (*snapshot.scan(), *snapshot.denial_scan())}
        types |= {46 for _ in snapshot.rrsig_scan()}
    return types & {46, 47, 48, 50, 51, 59, 60}


def test_a_zone_that_is_to_be_insecure_from_the_start_is_not_signed(tmp_path: Path, signer: str) -> None:
    zone = simulated_zone(tmp_path, signer, RolloverPolicy(pair(), signed=False), signed=False)
    zone.run(5 * DAY)
    assert zone.made[0].signatures == 0
    assert dnssec_types(zone) == set()


def test_an_island_of_trust_publishes_no_cds(tmp_path: Path, signer: str) -> None:
    zone = settled_island(tmp_path, signer)
    zone.tell(lambda keyset: commands.roll_over(keyset, Role.ZSK))
    zone.step()
    assert zone.run(LIMIT, lambda: len([key for key in zone.present() if key.role is Role.ZSK]) == 1)


def settled_island(home: Path, signer: str) -> SimulatedZone:
    zone = simulated_zone(home, signer, RolloverPolicy(pair(), parent=False))
    zone.run(2 * DAY)
    assert zone.key(Role.ZSK).record(Rec.ZRRSIG).state is State.OMNIPRESENT
    return zone


def test_private_keys_are_destroyed_when_no_zone_can_need_them(tmp_path: Path, signer: str) -> None:
    zone = settled(tmp_path, signer, pair())
    old = zone.key(Role.ZSK)
    zone.tell(lambda keyset: commands.roll_over(keyset, Role.ZSK))
    finish(zone)
    assert zone.run(30 * DAY, lambda: bool(zone.known().removals))
    assert zone.known().removals == (old.key_id,)
    assert zone.keyset.find(old.ref) is None
