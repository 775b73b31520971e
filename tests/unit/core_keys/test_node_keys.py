"""Keys of each node's own: who joins the key set, who may take a zone over, and what a take-over makes of it."""

from __future__ import annotations

import hashlib

import pytest

from dnssecd.core.keys.foreign_keys import remove_foreign
from dnssecd.core.keys.keyset import Key, Keyset, KeysetError, add_key, new_key, signing_view
from dnssecd.core.keys.keystate import Goal, Rec, RecordState, Role, State
from dnssecd.core.keys.node_keys import (
    HeldKey,
    NodeKey,
    choose_own,
    follow_nodes,
    hand_over,
    leave_nodes,
    unsaved,
    wants_hand_over,
)
from dnssecd.core.keys.requests import compromised, lost, retire
from dnssecd.core.keys.rules import RULES, broken, may_be_held
from dnssecd.core.keys.types import KeySpec
from dnssecd.replacing import replace

NOW = 1_700_000_000
OMNI = RecordState(State.OMNIPRESENT, NOW, first_in=1, step_in=1)
SPECS = KeySpec(Role.KSK, 13), KeySpec(Role.ZSK, 13)


def public(name: str) -> bytes:
    return hashlib.shake_256(name.encode()).digest(64)


def announced(name: str) -> NodeKey:
    flags = 257 if name.startswith("ksk") else 256
    return NodeKey(Role(name[:3]), flags.to_bytes(2) + b"\x03\x0d" + public(name))


B = announced("ksk of b"), announced("zsk of b")
HELD = {key.rdata: HeldKey(f"b {key.role.value}", "local", 0) for key in B}


def owners() -> Keyset:
    """The key set of a secure zone of node a, which is alone."""
    keyset = Keyset(b"\x01z\x00", step=5, node="a")
    for role in (Role.KSK, Role.ZSK):
        keyset = add_key(keyset, new_key(f"a {role.value}", role, 13, public(f"{role} of a"), "local", NOW))
    for key in keyset.keys:
        for rec in key.records:
            key = key.with_record(rec, OMNI)
        keyset = keyset.with_key(replace(key, active=NOW))
    return keyset


def joined(*announcements: NodeKey) -> Keyset:
    """With the keys of node b in the key set, not published yet."""
    keyset, refused = follow_nodes(owners(), "a", {"b": announcements or B}, ("a", "b"), NOW)
    assert not refused
    return keyset


def settled(keyset: Keyset, *recs: Rec) -> Keyset:
    """With these records of node b's keys everywhere."""
    for key in keyset.keys:
        if key.of_node:
            for rec in recs:
                key = key.with_record(rec, OMNI) if rec in key.records else key
            keyset = keyset.with_key(key)
    return keyset


def of_b(keyset: Keyset) -> list[Key]:
    return [key for key in keyset.keys if key.signer == "node:b"]


def test_announced_keys_join_and_sign_nothing() -> None:
    keyset = joined()
    assert [(key.role, key.goal) for key in of_b(keyset)] == [
        (Role.KSK, Goal.PRESENT),
        (Role.ZSK, Goal.PRESENT),
    ]
    view = signing_view(settled(keyset, Rec.DNSKEY, Rec.DS))
    assert len(view.dnskey_rdatas) == 4
    assert len(view.cds) == len(view.cdnskey) == 2
    assert {key.key_id for key in (*view.dnskey_keys, *view.zone_keys, *view.cds_keys)} == {"a ksk", "a zsk"}


def test_the_name_of_the_owner_is_noted_and_only_configured_nodes_join() -> None:
    keyset, refused = follow_nodes(replace(owners(), node=""), "a", {"thief": B}, ("a", "b"), NOW)
    assert (keyset, refused) == (owners(), [])


def test_a_key_that_its_node_no_longer_announces_leaves_if_the_others_can_sign() -> None:
    new = announced("zsk new")
    both = joined(*B, new)
    after, _ = follow_nodes(both, "a", {"b": (B[0], new)}, ("a", "b"), NOW)
    assert [key.goal for key in of_b(after)] == [Goal.PRESENT, Goal.ABSENT, Goal.PRESENT]
    for few in ((), B[:1], (announced("zsk other"),)):
        after, _ = follow_nodes(joined(), "a", {"b": few}, ("a", "b"), NOW)
        assert all(key.goal is Goal.PRESENT for key in of_b(after)), "what is left could not sign the zone"


def test_the_keys_of_a_node_that_was_removed_leave() -> None:
    after, _ = follow_nodes(joined(), "a", {"b": B}, ("a",), NOW)
    assert {key.goal for key in of_b(after)} == {Goal.ABSENT}
    assert leave_nodes(owners(), NOW).node == ""
    assert leave_nodes(joined(), NOW).node == "a", "not before they are gone"


def test_keys_that_left_and_keys_that_clash_are_refused() -> None:
    keyset = joined()
    gone = replace(keyset, keys=keyset.keys[:2], past=(of_b(keyset)[0].key_id.removeprefix("foreign-"),))
    _, refused = follow_nodes(gone, "a", {"b": B}, ("a", "b"), NOW)
    assert refused == ["node b: it announces a key that left the zone; it makes another"]
    _, refused = follow_nodes(
        owners(), "a", {"b": (NodeKey(Role.ZSK, owners().keys[1].rdata),)}, ("a", "b"), NOW
    )
    assert "is a key of this zone here already" in refused[0]


@pytest.mark.parametrize(
    ("recs", "why"),
    [
        ((), "not all validators have its DNSKEY yet"),
        ((Rec.DNSKEY,), "not all validators have its DS yet"),
        ((Rec.DS,), "not all validators have its DNSKEY yet"),
    ],
)
def test_no_node_takes_over_before_validators_have_its_keys(recs: tuple[Rec, ...], why: str) -> None:
    with pytest.raises(KeysetError, match=why):
        hand_over(settled(joined(), *recs), "b", HELD, NOW)


def test_no_node_takes_over_with_keys_that_it_does_not_hold() -> None:
    keyset = settled(joined(), Rec.DNSKEY, Rec.DS)
    with pytest.raises(KeysetError, match="the key service of this node does not hold it"):
        hand_over(keyset, "b", {}, NOW)
    with pytest.raises(KeysetError, match="the zone has no KSK of node c of algorithm 13 yet"):
        hand_over(keyset, "c", HELD, NOW)


def test_a_take_over_signs_with_other_keys_and_keeps_what_is_published() -> None:
    before = settled(joined(), Rec.DNSKEY, Rec.DS)
    assert wants_hand_over(before, "b")
    after = hand_over(before, "b", HELD, NOW)
    assert not wants_hand_over(after, "b")
    old, new = signing_view(before), signing_view(after)
    assert (old.dnskey_rdatas, old.cds, old.cdnskey) == (new.dnskey_rdatas, new.cds, new.cdnskey)
    assert [key.key_id for key in new.dnskey_keys] == ["b ksk"]
    assert [key.key_id for key in new.zone_keys] == ["b zsk"]
    assert [key.tag for key in new.retiring_keys] == [key.tag for key in old.zone_keys]
    back = hand_over(after, "a", {key.rdata: HeldKey(key.key_id, "local", 0) for key in before.keys}, NOW)
    assert [key.key_id for key in signing_view(back).zone_keys] == ["a zsk"], "at once, if need be"


def test_a_node_with_another_name_signs_on() -> None:
    held = {key.rdata: HeldKey(key.key_id, "local", 0) for key in owners().keys}
    assert hand_over(owners(), "new", held, NOW) == replace(owners(), node="new")


def test_a_node_replaces_its_keys_one_after_the_other() -> None:
    keyset = settled(joined(), Rec.DNSKEY, Rec.DS)
    assert choose_own(keyset, "b", SPECS, HELD, NOW).lacking == ()
    ksk, zsk = of_b(keyset)
    choice = choose_own(retire(keyset, ksk.ref), "b", SPECS, HELD, NOW)
    assert choice.lacking == SPECS[:1]
    assert choice.rdatas == set(HELD), "the old one stays meanwhile"

    new = announced("ksk new")
    held = {**HELD, new.rdata: HeldKey("n", "local", 0)}
    waiting, _ = follow_nodes(retire(keyset, ksk.ref), "a", {"b": (*B, new)}, ("a", "b"), NOW)
    assert choose_own(waiting, "b", SPECS, held, NOW).rdatas == {*HELD, new.rdata}
    assert choose_own(settled(waiting, Rec.DNSKEY, Rec.DS), "b", SPECS, held, NOW).rdatas == {
        zsk.rdata,
        new.rdata,
    }

    ends = (replace(SPECS[0], lifetime=60), SPECS[1])
    assert choose_own(keyset, "b", ends, HELD, NOW + 59).lacking == ()
    assert choose_own(keyset, "b", ends, HELD, NOW + 60).lacking == ends[:1]


def test_a_compromised_key_of_a_node_leaves_at_once() -> None:
    keyset = settled(joined(), Rec.DNSKEY, Rec.DS)
    ksk, zsk = of_b(keyset)
    after, refused = follow_nodes(compromised(keyset, ksk.ref), "a", {"b": B}, ("a", "b"), NOW)
    assert not refused
    assert [key.goal for key in of_b(after)] == [Goal.ABSENT, Goal.PRESENT]
    choice = choose_own(after, "b", SPECS, HELD, NOW)
    assert (choice.rdatas, choice.lacking) == ({zsk.rdata}, SPECS[:1])


def test_a_key_is_not_announced_without_a_backup_where_the_policy_requires_one() -> None:
    wanted = {key.rdata: HELD[key.rdata].key_id for key in B}
    assert unsaved(owners(), wanted, ()) == set(HELD)
    assert unsaved(owners(), wanted, {"b ksk"}) == {B[1].rdata}
    assert unsaved(owners(), wanted, {"b ksk", "b zsk"}) == frozenset()
    assert unsaved(joined(), wanted, ()) == frozenset(), "what the zone has already stays"
    assert unsaved(follow_nodes(joined(), "a", {}, ("a",), NOW)[0], wanted, ()) == set(HELD), "but it left"
    for keyset in (compromised(owners(), "a zsk"), lost(owners(), "a ksk")):
        assert unsaved(keyset, wanted, ()) == frozenset(), "a successor cannot wait"


def with_ksk(keyset: Keyset, name: str, dnskey: RecordState, krrsig: RecordState, ds: RecordState) -> Keyset:
    """With a KSK more of node a."""
    key = new_key(name, Role.KSK, 13, public(name), "local", NOW)
    for rec, record in ((Rec.DNSKEY, dnskey), (Rec.KRRSIG, krrsig), (Rec.DS, ds)):
        key = key.with_record(rec, record)
    return add_key(keyset, key)


@pytest.mark.parametrize(("since", "beside"), [(5, True), (3, False)])
def test_a_signature_that_stands_beside_one_of_a_key_of_all_validators_is_marked(
    since: int, beside: bool
) -> None:
    """No validator depends on it, though neither signature is everywhere; not so if it was there before the other."""
    keyset = settled(joined(), Rec.DNSKEY, Rec.DS)
    keyset = keyset.with_key(keyset.keys[0].with_record(Rec.KRRSIG, RecordState(State.RUMOURED, NOW, 4, 4)))
    fresh = RecordState(State.RUMOURED, NOW, since, since)
    after = hand_over(with_ksk(keyset, "fresh", fresh, fresh, RecordState()), "b", HELD, NOW)
    assert [key.krrsig.beside for key in after.keys if key.krrsig.state is State.UNRETENTIVE] == [
        False,
        beside,
    ]


def test_a_signature_that_stands_beside_one_of_a_key_that_is_in_its_sets_is_marked() -> None:
    """The first key's DS is everywhere, its DNSKEY only in the sets that it signed; it is not marked by itself."""
    keyset, mine = settled(joined(), Rec.DNSKEY, Rec.DS), RecordState(State.RUMOURED, NOW, 4, 4)
    first = keyset.keys[0].with_record(Rec.KRRSIG, mine).with_record(Rec.DNSKEY, mine)
    before = RecordState(State.UNRETENTIVE, NOW, 1, 1, 4, full=True)
    keyset = with_ksk(keyset.with_key(first), "before", before, before, OMNI)
    fresh = RecordState(State.RUMOURED, NOW, 5, 5)
    after = hand_over(with_ksk(keyset, "fresh", fresh, fresh, RecordState()), "b", HELD, NOW)
    marked = {key.rdata: key.krrsig.beside for key in after.keys if may_be_held(key.krrsig)}
    assert [marked[rdata] for rdata in (first.rdata, after.keys[-1].rdata)] == [False, True]


@pytest.mark.parametrize("held", [True, False])
def test_a_lost_key_lets_others_sign_in_turn_only_while_its_signature_is_held(held: bool) -> None:
    """Else a key would leave while CDS that it alone signed are held."""
    keyset, gone = owners(), RecordState(State.UNRETENTIVE, NOW, 1, 1, 20, full=True)
    ksk = keyset.keys[0]
    keyset = keyset.with_key(ksk.with_record(Rec.DNSKEY, gone).with_record(Rec.KRRSIG, gone))
    keyset = with_ksk(keyset, "successor", OMNI, RecordState(State.RUMOURED, NOW, 19, 19), OMNI)
    ended = RecordState(State.UNRETENTIVE, NOW, 1, 1, 19, full=True) if held else RecordState()
    keyset = lost(with_ksk(keyset, "lost", OMNI, ended, OMNI), "lost")
    rule = broken(keyset, RULES)
    assert (rule is None) is held


def test_remove_foreign_leaves_the_keys_of_nodes() -> None:
    with pytest.raises(KeysetError, match="no such foreign key"):
        remove_foreign(joined(), NOW, tag=of_b(joined())[0].tag)


def test_a_csk_that_is_being_replaced_signs_no_data_beside_the_zsk() -> None:
    """One key of an algorithm signs the data: the planner stops the old one only as the new one begins."""
    csk = NodeKey(Role.CSK, (257).to_bytes(2) + b"\x03\x0d" + public("csk of b"))
    zsk = announced("zsk of b")
    keyset = settled(joined(csk, zsk), Rec.DNSKEY, Rec.DS)
    held = {key.rdata: HeldKey(f"b {key.role.value}", "local", 0) for key in (csk, zsk)}
    for key in keyset.keys:
        if key.rdata == csk.rdata:
            keyset = keyset.with_key(replace(key, goal=Goal.ABSENT))
    after = hand_over(keyset, "b", held, NOW)
    signs = {
        (key.role, rec) for key in after.keys for rec in (Rec.KRRSIG, Rec.ZRRSIG) if key.record(rec).visible
    }
    assert signs == {(Role.CSK, Rec.KRRSIG), (Role.ZSK, Rec.ZRRSIG)}
