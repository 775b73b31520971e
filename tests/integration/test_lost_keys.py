"""Lost private keys through the real pipeline on a virtual clock: they sign nothing, every version is verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import CDS, DNSKEY, SOA
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import Key
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.lost import shows, unsignable
from dnssecd.core.keys.signed_ahead import signer_mark
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.pipeline.jobs.rekey import rekey
from dnssecd.pipeline.version.keychange import KeyChange
from dnssecd.replacing import replace
from tests.pipeline_zone import ZONE, running_signer
from tests.simulated_zone import DAY, HOUR, SimulatedZone, simulated_zone

LIMIT = 20 * DAY
PAIR = (KeySpec(Role.KSK, 13), KeySpec(Role.ZSK, 13))


@pytest.fixture
def signer() -> Iterator[str]:
    with running_signer() as socket:
        yield socket


def settled(home: Path, signer: str, specs: tuple[KeySpec, ...] = PAIR, **more: Any) -> SimulatedZone:
    zone = simulated_zone(home, signer, RolloverPolicy(specs, **more))
    assert zone.run(10 * DAY, zone.settled)
    assert zone.ds
    return zone


def lose(zone: SimulatedZone, *keys: Key) -> None:
    """Report keys lost as the command does; from now on the key service signs with none of them."""
    for key in sorted(
        keys, key=lambda key: key.role is not Role.ZSK
    ):  # a ZSK first: it would sign what follows
        before = zone.keyset
        after = commands.lost(before, key.ref)
        if shows(before, after) and not unsignable(before, after):
            zone._note(
                "rekey", rekey(zone.zone.db, zone.zone.spec, KeyChange(before, after), zone.zone.tools())
            )
        else:
            zone.tell(lambda keyset, ref=key.ref: commands.lost(keyset, ref))
    gone = {key.key_id for key in keys}
    service = zone.zone.signer
    submit, stream = service.submit, service.sign_stream

    def guarded_submit(origin: bytes, key_id: str, preimages: list[bytes]) -> Any:
        assert key_id not in gone, "a lost key cannot sign"
        return submit(origin, key_id, preimages)

    def guarded_stream(requests: Any) -> Any:
        def checked() -> Any:
            for request in requests:
                assert request[1] not in gone, "a lost key cannot sign"
                yield request

        return stream(checked())

    service.submit, service.sign_stream = guarded_submit, guarded_stream  # type: ignore[method-assign]


def signed_by(zone: SimulatedZone, rtype: int) -> set[int]:
    with zone.zone.db.snapshot() as snapshot:
        held = snapshot.rrsigs(APEX, rtype)
    return set() if held is None else {signer_mark(rdata)[1] for rdata in unpack(held.rdata)}


def finish(zone: SimulatedZone, *gone: Key) -> None:
    assert zone.run(LIMIT, lambda: zone.settled() and not any(zone.keyset.find(key.ref) for key in gone))
    assert zone.ds == zone.ds_wanted
    zone.text = ZONE.replace("192.0.2.1", "192.0.2.77")
    zone.load()
    assert zone.made[-1].kind == "load", "the content can change again"


def test_a_standby_zsk_takes_over_at_once(tmp_path: Path, signer: str) -> None:
    zone = settled(tmp_path, signer, standby_zsk=True)
    old, standby = zone.key(Role.ZSK), zone.key(Role.ZSK, Goal.STANDBY)
    lose(zone, old)
    zone.step()
    assert signed_by(zone, SOA) == {standby.tag}
    zone.text = ZONE.replace("192.0.2.1", "192.0.2.66")
    zone.load()
    finish(zone, old)


def test_a_lost_zsk_without_standby(tmp_path: Path, signer: str) -> None:
    zone = settled(tmp_path, signer)
    old = zone.key(Role.ZSK)
    lose(zone, old)
    zone.step()
    new = zone.key(Role.ZSK)
    assert new.ref != old.ref
    assert signed_by(zone, SOA) == {new.tag}, "only the successor can sign the new SOA"
    changed = zone.zone.load(ZONE.replace("192.0.2.1", "192.0.2.66"))
    assert (changed.result, "is lost" in changed.problems[0].cause) == ("failed", True)
    assert zone.zone.load(ZONE).result in ("unchanged", "published"), "the same content is no change"
    finish(zone, old)


@pytest.mark.parametrize("standby", [False, True])
def test_a_lost_ksk(tmp_path: Path, signer: str, standby: bool) -> None:
    zone = settled(tmp_path, signer, standby_ksk=standby)
    old = zone.key(Role.KSK)
    lose(zone, old)
    zone.step()
    assert signed_by(zone, CDS) == set(), "no key could sign CDS that a parent would believe"
    if standby:
        assert signed_by(zone, DNSKEY) == {zone.key(Role.KSK).tag}, "at once"
    else:
        assert signed_by(zone, DNSKEY) == {old.tag}, "what it signed stays"
        zone.text = ZONE.replace("192.0.2.1", "192.0.2.66")
        zone.load()
        assert zone.zone.resign().result in ("unchanged", "published")
        assert len(zone.ds_wanted) == 1 or zone.run(HOUR)
    finish(zone, old)
    assert signed_by(zone, CDS) == {zone.key(Role.KSK).tag}


def test_a_lost_csk(tmp_path: Path, signer: str) -> None:
    zone = settled(tmp_path, signer, (KeySpec(Role.CSK, 13),))
    old = zone.key(Role.CSK)
    serial = zone.known().serial
    lose(zone, old)
    zone.step()
    assert zone.known().serial == serial, "nothing can be published yet"
    assert zone.run(LIMIT, lambda: len(zone.ds) == 2), "the parent gets the DS of the successor all the same"
    finish(zone, old)


def test_both_keys_lost(tmp_path: Path, signer: str) -> None:
    zone = settled(tmp_path, signer)
    ksk, zsk = zone.key(Role.KSK), zone.key(Role.ZSK)
    lose(zone, ksk, zsk)
    finish(zone, ksk, zsk)


@pytest.mark.parametrize(
    ("roles", "lost"),
    [((Role.KSK, Role.ZSK), Role.ZSK), ((Role.KSK, Role.ZSK), Role.KSK), ((Role.CSK,), Role.CSK)],
)
def test_keys_of_both_algorithms_lost(
    tmp_path: Path, signer: str, roles: tuple[Role, ...], lost: Role
) -> None:
    zone = settled(tmp_path, signer, tuple(KeySpec(role, 13) for role in roles))
    zone.policy = replace(zone.policy, specs=tuple(KeySpec(role, 15) for role in roles))

    def both_published() -> bool:
        known = {key.algorithm for key in zone.keyset.keys if key.dnskey.state is State.OMNIPRESENT}
        return len(known) == 2

    assert zone.run(LIMIT, both_published)
    gone = [key for key in zone.keyset.keys if key.role is lost]
    assert len(gone) == 2
    lose(zone, *gone)
    zone.step()
    if lost is Role.ZSK:
        new = {key.tag for key in zone.keyset.keys if key.role is lost and not key.lost}
        assert (signed_by(zone, SOA), len(new)) == (new, 2), "both come in one version"
    finish(zone, *gone)
    assert {key.algorithm for key in zone.present()} == {15}


def test_a_key_that_is_found_again(tmp_path: Path, signer: str) -> None:
    zone = settled(tmp_path, signer, (KeySpec(Role.CSK, 13),))
    old = zone.key(Role.CSK)
    zone.tell(lambda keyset: commands.lost(keyset, old.ref))
    zone.step()
    before = zone.keyset
    after = commands.found(before, old.ref)
    zone._note("rekey", rekey(zone.zone.db, zone.zone.spec, KeyChange(before, after), zone.zone.tools()))
    assert zone.run(LIMIT, zone.settled)
    assert [key.goal for key in zone.present()] == [Goal.PRESENT], "its rollover goes on as any other"
    assert [key.record(Rec.DNSKEY).state for key in zone.present()] == [State.OMNIPRESENT]


@pytest.mark.parametrize(
    ("roles", "gone"),
    [
        ((Role.CSK,), (Role.CSK,)),
        ((Role.KSK, Role.ZSK), (Role.KSK,)),
        ((Role.KSK, Role.ZSK), (Role.KSK, Role.ZSK)),
    ],
)
@pytest.mark.parametrize("hours", [0, 4, 48])
def test_a_zone_that_becomes_insecure_without_its_keys_is_signed_again(
    tmp_path: Path, signer: str, roles: tuple[Role, ...], gone: tuple[Role, ...], hours: int
) -> None:
    """The way out of a loss (``lost_plan``), with the change of mind at any time on it."""
    zone = settled(tmp_path, signer, tuple(KeySpec(role, 13) for role in roles))
    keys = [zone.key(role) for role in gone]
    zone.policy = replace(zone.policy, signed=False)
    zone.step()
    lose(zone, *keys)
    assert zone.run(hours * HOUR)
    zone.policy = replace(zone.policy, signed=True)
    finish(zone, *keys)
    assert sorted(key.role for key in zone.present()) == sorted(roles)
    assert zone.ds
