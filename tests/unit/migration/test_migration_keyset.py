"""BIND's key files become keys with states, and those a key set that never claims more than is known."""

from __future__ import annotations

from base64 import b64encode

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import Keyset, ds_rdata, published
from dnssecd.core.keys.keystate import RECORDS, Goal, Rec, Role, State
from dnssecd.migration.bind import parse_key, with_roles
from dnssecd.migration.foreign import ForeignError, ForeignKey, Held, Stated, adopted_keyset, is_gone
from dnssecd.replacing import replace
from tests.unit.core_keys.bench import APEX, DAY, HOUR, Bench, running

NOW = 1_795_500_000
ZONE = text_to_wire("example.")
PUBLIC = bytes(range(64))
OMNI, RUMOURED, UNRETENTIVE, HIDDEN = (
    State.OMNIPRESENT, State.RUMOURED, State.UNRETENTIVE, State.HIDDEN,
)  # fmt: skip

KEY = """; This is a key-signing key, keyid 1, for example.
; Created: 20260101000000 (Thu Jan  1 00:00:00 2026)
; Publish: 20260102000000 (Fri Jan  2 00:00:00 2026)
; Activate: 20260103000000 (Sat Jan  3 00:00:00 2026)
"""
STATE = """; This is the state of key 1, for example.
Algorithm: 13
Length: 256
Lifetime: 7776000
KSK: yes
ZSK: no
Generated: 20260101000000 (Thu Jan  1 00:00:00 2026)
Published: 20260102000000 (Fri Jan  2 00:00:00 2026)
Active: 20260103000000 (Sat Jan  3 00:00:00 2026)
Retired: 20270103000000 (Sun Jan  3 00:00:00 2027)
DSPublish: 20260105000000 (Mon Jan  5 00:00:00 2026)
DNSKEYChange: 20260104000000 (Sun Jan  4 00:00:00 2026)
KRRSIGChange: 20260104000000 (Sun Jan  4 00:00:00 2026)
DSChange: 20260106000000 (Tue Jan  6 00:00:00 2026)
DNSKEYState: omnipresent
KRRSIGState: omnipresent
ZRRSIGState: NA
DSState: rumoured
GoalState: omnipresent
"""


def record(flags: int = 257, ttl: str = "3600 ", owner: str = "example.") -> str:
    return f"{owner} {ttl}IN DNSKEY {flags} 3 13 {b64encode(PUBLIC).decode()[:40]} {b64encode(PUBLIC).decode()[40:]}\n"


def jan(day: int) -> int:
    return 1_767_225_600 + (day - 1) * DAY


def test_bind_tells_roles_times_and_states() -> None:
    key = parse_key(KEY + record(), STATE, ZONE, "K")
    assert (key.role, key.flags, key.algorithm, key.public_key, key.bits) == (Role.KSK, 257, 13, PUBLIC, 0)
    assert (key.created, key.publish, key.active, key.ds_publish) == (jan(1), jan(2), jan(3), jan(5))
    assert (key.inactive, key.goal) == (jan(1) + 367 * DAY, Goal.PRESENT)
    assert key.states == {
        Rec.DNSKEY: Stated(OMNI, jan(4)),
        Rec.KRRSIG: Stated(OMNI, jan(4)),
        Rec.DS: Stated(RUMOURED, jan(6)),
    }
    csk = parse_key(KEY + record(ttl=""), STATE.replace("ZSK: no", "ZSK: yes"), ZONE, "K")
    assert csk.role is Role.CSK
    gone = STATE.replace("omnipresent", "hidden").replace("rumoured", "hidden")
    assert is_gone(parse_key(KEY + record(), gone, ZONE, "K"), NOW)


def test_without_state_file_times_and_flags_tell_what_they_can() -> None:
    ksk = parse_key(KEY + record(), None, ZONE, "K1")
    zsk = parse_key(KEY + record(256), None, ZONE, "K2")
    assert [key.role for key in with_roles([ksk, zsk])] == [Role.KSK, Role.ZSK]
    assert [key.role for key in with_roles([ksk])] == [Role.CSK]
    assert (ksk.active, ksk.states, ksk.goal) == (jan(3), {}, None)
    retired = parse_key(KEY.replace("Activate", "Inactive") + record(256), None, ZONE, "K")
    (key,) = adopt([retired], None).keys
    assert (key.goal, key.zrrsig.state, key.dnskey.state) == (Goal.ABSENT, UNRETENTIVE, RUMOURED)


@pytest.mark.parametrize(
    ("key", "state", "said"),
    [
        ("", None, "not one DNSKEY"),
        (record() + record(), None, "not one DNSKEY"),
        (record(owner="other."), None, "the key belongs to other."),
        (record(385), None, "revoked"),
        (record(1), None, "not a zone key"),
        (record(256), STATE, "do not match the role"),
        (record(), STATE.replace("DSState: rumoured", "DSState: lost"), "'lost' is not known"),
        (record(), STATE.replace("20260104", "2026"), "is not a time"),
        (record(), STATE.replace("KSK: yes", "KSK: no"), "neither KSK nor ZSK"),
        (record().replace("AAEC", "A*EC"), None, "not a DNSKEY record"),
    ],
)
def test_what_is_wrong_with_key_files_is_said(key: str, state: str | None, said: str) -> None:
    with pytest.raises(ForeignError, match=said):
        parse_key(key, state, ZONE, "K")


def adopt(keys: list[ForeignKey], at_parent: frozenset[bytes] | None, apex: bytes = ZONE) -> Keyset:
    held = {key.rdata: Held(f"id{number}", "local") for number, key in enumerate(keys)}
    return adopted_keyset(apex, keys, held, frozenset(held), at_parent, NOW)


def key(role: Role, *states: State | None, **more: object) -> ForeignKey:
    flags = 256 if role is Role.ZSK else 257
    stated = {
        rec: Stated(state, NOW - DAY)
        for rec, state in zip(RECORDS[role], states, strict=False)
        if state is not None
    }
    return ForeignKey(ZONE, role, flags, 13, PUBLIC, states=stated, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stated", "goal", "seen", "wanted"),
    [
        (OMNI, Goal.PRESENT, True, RUMOURED),
        (OMNI, Goal.PRESENT, None, RUMOURED),
        (RUMOURED, Goal.PRESENT, False, RUMOURED),
        (HIDDEN, Goal.PRESENT, False, HIDDEN),
        (HIDDEN, Goal.PRESENT, True, RUMOURED),
        (HIDDEN, Goal.PRESENT, None, UNRETENTIVE),
        (HIDDEN, Goal.ABSENT, True, UNRETENTIVE),
        (None, Goal.PRESENT, True, RUMOURED),
        (None, Goal.PRESENT, False, UNRETENTIVE),
        (UNRETENTIVE, Goal.ABSENT, True, UNRETENTIVE),
    ],
)
def test_a_ds_is_never_omnipresent_or_hidden_without_evidence(
    stated: State | None, goal: Goal, seen: bool | None, wanted: State
) -> None:
    ksk = key(Role.KSK, OMNI, OMNI, stated, goal=goal)
    at_parent = None if seen is None else frozenset([ksk.rdata] if seen else [])
    assert adopt([ksk], at_parent).keys[0].ds.state is wanted


def test_what_is_not_stated_is_rumoured_from_now_on_if_it_is_served() -> None:
    (found,) = adopt([key(Role.ZSK)], None).keys
    assert [(r.state, r.changed) for r in (found.dnskey, found.zrrsig)] == [(RUMOURED, NOW)] * 2
    assert found.active == NOW, "its lifetime counts from the day it is known"
    other = key(Role.ZSK)
    held = {other.rdata: Held("id", "local")}
    (unseen,) = adopted_keyset(ZONE, [other], held, frozenset(), None, NOW).keys
    assert (unseen.dnskey.state, unseen.active) == (HIDDEN, None)


def test_keys_that_cannot_be_those_of_the_zone_are_refused() -> None:
    held = {key(Role.ZSK).rdata: Held("id", "local")}
    with pytest.raises(ForeignError, match="no such DNSKEY"):
        adopted_keyset(ZONE, [key(Role.ZSK, OMNI)], held, frozenset(), None, NOW)
    with pytest.raises(ForeignError, match="another zone"):
        adopted_keyset(text_to_wire("other."), [key(Role.ZSK)], held, frozenset(held), None, NOW)
    with pytest.raises(ForeignError, match="already"):
        adopt([key(Role.ZSK, OMNI), key(Role.ZSK, OMNI)], None)


# A signer that keeps the same states, caught in the middle of a rollover


def foreign(bench: Bench) -> list[ForeignKey]:
    """The keys of a bench as another signer would list them."""
    return [
        ForeignKey(
            APEX, k.role, k.flags, k.algorithm, k.public_key, created=k.created, publish=k.announced, active=k.active,
            states={rec: Stated(k.record(rec).state, k.record(rec).changed) for rec in k.records}, goal=k.goal,
        )
        for k in bench.keyset.keys
    ]  # fmt: skip


def moved(bench: Bench) -> None:
    """Have the zone come over, with what secondaries and parent serve as it is."""
    keys = foreign(bench)
    held = {
        key.rdata: Held(own.key_id, own.keystore) for key, own in zip(keys, bench.keyset.keys, strict=True)
    }
    served = frozenset(key.rdata for key in bench.keyset.keys if key.dnskey.visible)
    ds = {one for sight in bench.evidence.parents for one in sight.ds or ()}
    at_parent = frozenset(key.rdata for key in keys if ds_rdata(APEX, key.rdata) in ds)
    adopted = adopted_keyset(APEX, keys, held, served, at_parent, bench.now)
    for before in bench.keyset.keys:
        after = adopted.find(before.ref)
        assert after is not None
        for rec in before.records:
            was, now = before.record(rec).state, after.record(rec).state
            assert now is was or now in (RUMOURED, UNRETENTIVE), (before.role, rec, was, now)
    bench.serial += 1
    bench.keyset = published(adopted, bench.serial, bench.now)
    bench.evidence = replace(bench.evidence, serial=bench.serial, committed=bench.now)


@pytest.mark.parametrize("hours", [0, 1, 3, 13, 30, 60, 90, 200])
@pytest.mark.parametrize("role", [Role.ZSK, Role.KSK])
def test_a_roll_over_under_way_is_ended_here(role: Role, hours: int) -> None:
    bench = running()
    old = bench.key(role)
    bench.keyset = commands.roll_over(bench.keyset, role)
    bench.step()
    for _ in range(hours):
        bench.secondaries_follow()
        bench.parent_follows()
        bench.wait(HOUR)
    moved(bench)
    before = {key.ref for key in bench.keyset.keys}
    bench.settle(rounds=60)
    assert {key.ref for key in bench.keyset.keys} <= before, "no roll-over begins"
    assert bench.keyset.find(old.ref) is None, "that which was under way ends"
    for kept in bench.keyset.keys:
        assert {kept.record(rec).state for rec in kept.records} == {OMNI}


def test_nothing_is_withdrawn_before_it_was_seen_here() -> None:
    """Just after the move no DS is proven: whatever a rollover was about to withdraw stays for now."""
    bench = running()
    bench.keyset = commands.roll_over(bench.keyset, Role.KSK)
    bench.step()
    for _ in range(20):
        bench.secondaries_follow()
        bench.parent_follows()
        bench.wait(HOUR)
    shown = {key.ref for key in bench.keyset.keys if key.dnskey.visible}
    assert len(shown) == 3
    moved(bench)
    bench.step()
    assert {key.ref for key in bench.keyset.keys if key.dnskey.visible} == shown
