"""Going back in time, from any moment of a roll-over to any earlier one: what of it is noticed."""

from __future__ import annotations

from dataclasses import replace

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
)

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
        f"key {key.tag} (ksk) would no longer be on its way to be revoked",
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
        ((), True, False, (True, 0, 0)),
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
def test_a_further_signer_is_asked_for_when_its_dnskey_had_reached_everybody(
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
    """A stand-by whose only key of a kind is on its way everywhere is not what validators have."""
    keyset = states(running(ksk_zsk()).keyset, role, dnskey=State.RUMOURED)
    keyset = states(keyset, Role.KSK, ds=State.OMNIPRESENT)
    served = frozenset(key.rdata for key in keyset.keys if key.role is not role)
    assert len(not_live(keyset, [LiveServer("ns1", 5, served)])) == 1
