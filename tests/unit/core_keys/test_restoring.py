"""Going back in time, from any moment of a roll-over to any earlier one: what of it is noticed."""

from __future__ import annotations

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import Keyset, signing_view
from dnssecd.core.keys.keystate import Role, State
from dnssecd.core.keys.restore_limits import (
    LiveServer,
    foreign,
    goes_back,
    highest,
    keys_back,
    live_keys,
    not_live,
    signers,
    to_be_withdrawn,
)
from dnssecd.daemon.zones.restored_zone import judge_found_ds
from dnssecd.replacing import replace

from .bench import HOUR, Bench, csk, ksk_zsk, policy, running

HALF = 1 << 31


def life(bench: Bench) -> list[Keyset]:
    """Every key set there was until nothing moved any more."""
    seen = [bench.keyset]
    for _ in range(60):
        bench.secondaries_follow()
        bench.parent_follows()
        bench.wait(6 * HOUR)
        if bench.keyset != seen[-1]:
            seen.append(bench.keyset)
    return seen


def rolled(kind: str) -> list[Keyset]:
    bench = running(csk() if kind == "csk" else ksk_zsk())
    if kind == "algorithm":
        bench.policy = policy(ksk_zsk(15))
    else:
        bench.keyset = commands.roll_over(bench.keyset, Role(kind))
    return life(bench)


@pytest.mark.parametrize("kind", ["zsk", "ksk", "csk", "algorithm"])
def test_going_back_is_noticed_and_going_forward_is_none(kind: str) -> None:
    seen = rolled(kind)
    assert len(seen) > 4
    for number, earlier in enumerate(seen):
        for later in seen[number + 1 :]:
            assert keys_back(earlier, later) == []
            back = keys_back(later, earlier)
            if shown(earlier) != shown(later):
                assert back, "what is published would go back"


def shown(keyset: Keyset) -> object:
    view = signing_view(keyset)
    return view.dnskey_rdatas, view.zone_keys, view.dnskey_keys, view.cds


def test_what_people_said_is_not_forgotten() -> None:
    before = running(ksk_zsk()).keyset
    key = before.keys[0]
    after = commands.revoke(commands.compromised(before, key.ref), key.ref)
    assert keys_back(after, before) == [
        f"key {key.tag} (ksk) would no longer be known to be compromised",
        f"key {key.tag} (ksk) would no longer be marked to be revoked",
    ]
    assert keys_back(before, after) == []


def test_keys_that_validators_do_not_have() -> None:
    keyset = running(ksk_zsk()).keyset
    rdatas = frozenset(key.rdata for key in keyset.keys)
    other = frozenset({running(csk()).keyset.keys[0].rdata})
    zsk = next(key for key in keyset.keys if key.role is Role.ZSK)
    good = LiveServer("ns1", 5, rdatas)
    assert {key.role for key in signers(keyset)} == {Role.KSK, Role.ZSK}
    assert not_live(keyset, [good, LiveServer("ns2"), LiveServer("ns3", failure="no answer in time")]) == []
    assert foreign(keyset, [good]) == []
    assert not_live(keyset, [LiveServer("ns1", 5, rdatas - {zsk.rdata})]) == [
        f"key {zsk.tag} (zsk) signs, but ns1 does not have it in its DNSKEY RRset"
    ]
    assert len(not_live(keyset, [LiveServer("ns1", 5, other)])) == 2
    (unknown,) = foreign(keyset, [LiveServer("ns1", 5, rdatas | other)])
    assert "at ns1 is none of the zone's keys" in unknown
    revoked = frozenset((int.from_bytes(r[:2]) | 0x80).to_bytes(2) + r[2:] for r in rdatas)
    assert foreign(keyset, [LiveServer("ns1", 5, revoked)]) == [], "a key is the same with the REVOKE bit"


@pytest.mark.parametrize(
    ("serial", "reference", "back"),
    [
        (5, None, False),
        (5, 5, False),
        (6, 5, False),
        (4, 5, True),
        (1, 2**32 - 1, False),
        (2**32 - 1, 1, True),
        (0, HALF, True),
        (HALF, 0, True),
        (HALF - 1, 0, False),
    ],
)
def test_serials_go_back_as_rfc_1982_has_it(serial: int, reference: int | None, back: bool) -> None:
    assert goes_back(serial, reference) == back


def test_the_highest_serial_of_all() -> None:
    live = [LiveServer("a", 2**32 - 2), LiveServer("b", 3), LiveServer("c")]
    assert highest(live) == 3
    assert highest(live, 7, None) == 7
    assert highest([], None) is None


def test_a_step_that_is_taken_back_and_done_again_is_no_going_back() -> None:
    keyset = rolled("zsk")[-1]
    key = keyset.keys[0]
    again = keyset.with_key(replace(key, dnskey=replace(key.dnskey, step_in=key.dnskey.step_in + 5)))
    assert keys_back(keyset, replace(again, step=keyset.step + 5)) == []


@pytest.mark.parametrize(
    ("keys", "standby", "other_keys", "expected"),
    [
        (None, False, False, (False, 0, 0)),
        (None, True, False, (True, 0, 0)),
        ((), True, False, (True, 2, 0)),
        ("ours", True, False, (False, 0, 0)),
        ("other", False, False, (False, 2, 1)),
        ("other", True, True, (False, 0, 0)),
        ("both", False, False, (False, 0, 1)),
    ],
)
def test_what_speaks_against_publishing_by_the_live_keys(
    keys: str | tuple[()] | None, standby: bool, other_keys: bool, expected: tuple[bool, int, int]
) -> None:
    keyset = running(ksk_zsk()).keyset
    ours = frozenset(key.rdata for key in keyset.keys)
    other = frozenset({b"\x01\x00\x03\x0d" + bytes(64)})
    served = {"ours": ours, "other": other, "both": ours | other, (): frozenset(), None: None}[keys]
    found = live_keys(keyset, [LiveServer("ns1", 1, served)], standby=standby, other_keys=other_keys)
    assert (found.unseen, len(found.apart), len(found.unknown)) == expected
    without = live_keys(None, [LiveServer("ns1", 1, served)], standby=standby, other_keys=other_keys)
    assert (without.apart, without.unknown) == ((), ())


def states(keyset: Keyset, role: Role, **records: State) -> Keyset:
    """The key set with records of one key in other states."""
    key = next(key for key in keyset.keys if key.role is role)
    changed = {name: replace(getattr(key, name), state=state) for name, state in records.items()}
    return keyset.with_key(replace(key, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "asked_for"),
    [(State.HIDDEN, 0), (State.RUMOURED, 0), (State.OMNIPRESENT, 1), (State.UNRETENTIVE, 0)],
)
def test_a_further_signer_is_requested_after_its_dnskey_reached_all_caches(
    state: State, asked_for: int
) -> None:
    """RFC 6781 §4.1.4: a new algorithm's ZSK signs before its DNSKEY comes, the old one's after it went."""
    old, new = running(ksk_zsk()).keyset, running(ksk_zsk(15)).keyset
    zsk = next(key for key in new.keys if key.role is Role.ZSK)
    both = states(replace(new, keys=(zsk,)), Role.ZSK, dnskey=state, zrrsig=State.RUMOURED).keys
    keyset = replace(old, keys=(*old.keys, *both))
    server = LiveServer("ns1", 5, frozenset(key.rdata for key in old.keys))
    assert len(not_live(keyset, [server])) == asked_for


@pytest.mark.parametrize("role", [Role.KSK, Role.ZSK])
def test_one_signer_of_each_kind_has_to_be_live_in_a_secure_zone(role: Role) -> None:
    """A standby whose only key of a kind is in transition everywhere is not what validators have."""
    keyset = states(running(ksk_zsk()).keyset, role, dnskey=State.RUMOURED)
    keyset = states(keyset, Role.KSK, ds=State.OMNIPRESENT)
    served = frozenset(key.rdata for key in keyset.keys if key.role is not role)
    assert len(not_live(keyset, [LiveServer("ns1", 5, served)])) == 1


@pytest.mark.parametrize(
    ("state", "said"),
    [(State.HIDDEN, "the backup has it hidden"), (State.RUMOURED, ""), (State.UNRETENTIVE, "")],
)
def test_a_live_key_that_would_be_withdrawn_at_once_is_noticed(state: State, said: str) -> None:
    """Its signatures are in caches: the backup was made before it was published."""
    keyset = states(running(ksk_zsk()).keyset, Role.ZSK, dnskey=state)
    live = [LiveServer("ns1", 5, frozenset(key.rdata for key in keyset.keys))]
    ahead = live_keys(keyset, live, standby=False, other_keys=False).ahead
    assert bool(ahead) is bool(said)
    assert said in "".join(ahead)
    assert live_keys(keyset, live, standby=False, other_keys=True).ahead == ()


def test_a_key_that_was_revoked_since_is_noticed() -> None:
    keyset = running(ksk_zsk()).keyset
    ksk = next(key for key in keyset.keys if key.role is Role.KSK)
    revoked = (257 | 0x80).to_bytes(2) + ksk.rdata[2:]
    live = [LiveServer("ns1", 5, frozenset({revoked, *(key.rdata for key in keyset.keys if key is not ksk)}))]
    assert "is revoked at ns1" in to_be_withdrawn(keyset, live)[0]


@pytest.mark.parametrize("lost", [False, True])
def test_a_key_whose_signatures_are_being_replaced_has_to_be_live(lost: bool) -> None:
    """Its signatures may be in the restored version: bogus where the DNSKEY RRset of now is cached."""
    states = [s for s in rolled("zsk") if any(k.zrrsig.state is State.UNRETENTIVE for k in s.keys)]
    keyset = next(s for s in states if all(k.dnskey.state is State.OMNIPRESENT for k in s.keys))
    (old,) = (key for key in keyset.keys if key.zrrsig.state is State.UNRETENTIVE)
    keyset = keyset.with_key(replace(old, lost=lost))
    rdatas = frozenset(key.rdata for key in keyset.keys)
    assert not_live(keyset, [LiveServer("ns1", 5, rdatas)]) == []
    (said,) = not_live(keyset, [LiveServer("ns1", 5, rdatas - {old.rdata})])
    assert f"key {old.tag} (zsk)" in said


def test_a_standby_takes_over_an_insecure_zone() -> None:
    keyset = replace(running(ksk_zsk()).keyset, keys=())
    for served, unseen in ((frozenset[bytes](), False), (None, True)):
        assert (
            live_keys(keyset, [LiveServer("ns1", 5, served)], standby=True, other_keys=False).unseen is unseen
        )


def test_a_ds_that_came_after_the_backup_is_rumoured() -> None:
    keyset = states(running(ksk_zsk()).keyset, Role.KSK, ds=State.HIDDEN)
    ksk = next(key for key in keyset.keys if key.role is Role.KSK)
    after = commands.ds_found(keyset, [ksk.rdata], 100)
    assert after.keys[0].ds.state is State.RUMOURED
    assert (after.step, after.keys[0].ds.step_in, after.keys[0].ds.changed) == (keyset.step + 1,) * 2 + (100,)
    assert commands.ds_found(after, [ksk.rdata], 200) == after


@pytest.mark.parametrize(
    ("state", "expected"), [(State.OMNIPRESENT, State.UNRETENTIVE), (State.RUMOURED, State.HIDDEN)]
)
def test_a_ds_that_may_have_been_submitted_since_does_not_count_as_gone(
    state: State, expected: State
) -> None:
    keyset = states(running(ksk_zsk()).keyset, Role.KSK, dnskey=state, krrsig=state, ds=State.HIDDEN)
    assert commands.ds_found(keyset, [], 100).keys[0].ds.state is expected


@pytest.mark.parametrize(
    ("new_version", "standby", "other_keys", "noticed"),
    [(True, False, False, 1), (False, False, False, 0), (True, True, False, 0), (True, False, True, 0)],
)
def test_a_new_version_is_not_asked_of_a_lost_key(
    new_version: bool, standby: bool, other_keys: bool, noticed: int
) -> None:
    """Its SOA would be by a key that no validator has. Without a new version, the zone can wait for the successor."""
    keyset = states(running(ksk_zsk()).keyset, Role.KSK, ds=State.OMNIPRESENT)
    zsk = next(key for key in keyset.keys if key.role is Role.ZSK)
    live = [LiveServer("ns1", 5, frozenset(key.rdata for key in keyset.keys))]
    for keys, number in ((keyset, 0), (commands.lost(keyset, zsk.ref), noticed)):
        found = live_keys(keys, live, standby=standby, other_keys=other_keys, new_version=new_version)
        assert len(found.lost) == number


def test_a_ds_found_at_the_parent_is_of_a_key_that_is_published_everywhere() -> None:
    """Validators may hold that DS, and a DNSKEY RRset without the key."""
    keyset = states(running(ksk_zsk()).keyset, Role.KSK, dnskey=State.RUMOURED, ds=State.HIDDEN)
    ksk = next(key for key in keyset.keys if key.role is Role.KSK)
    assert judge_found_ds("example.", keyset, commands.ds_found(keyset, [], 7)) is None
    refusal = judge_found_ds("example.", keyset, commands.ds_found(keyset, [ksk.rdata], 7))
    assert refusal is not None
    assert f"the DS of key {ksk.tag} after the backup" in refusal.cause
    ready = states(keyset, Role.KSK, dnskey=State.OMNIPRESENT)
    assert judge_found_ds("example.", ready, commands.ds_found(ready, [ksk.rdata], 7)) is None
