"""Other signers of a zone: which keys can join, what waits for whom, and in which order a signer leaves."""

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import SignerSight
from dnssecd.core.keys.foreign_keys import (
    FOREIGN_MAX,
    add_foreign,
    follow_input,
    published_at_once,
    remove_foreign,
)
from dnssecd.core.keys.keyset import (
    REVOKE,
    Key,
    Keyset,
    KeysetError,
    all_tags,
    initial_keyset,
    key_tag,
    new_key,
    signing_view,
)
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.types import RemoveKey
from dnssecd.replacing import replace

from .bench import APEX, DAY, HOUR, Bench, policy, running

NS = "ns.other.example."


def rdata(flags: int = 256, algorithm: int = 13, fill: int = 1) -> bytes:
    return flags.to_bytes(2) + bytes((3, algorithm)) + bytes([fill]) * 64


KSK, ZSK = rdata(257, fill=2), rdata(256, fill=3)


def with_other(bench: Bench) -> Bench:
    for each in (KSK, ZSK):
        bench.keyset = add_foreign(bench.keyset, each, "other", bench.now)
    bench.evidence = replace(bench.evidence, signer_ns=(("other", (NS,)),))
    see(bench)
    return bench


def see(bench: Bench, *ours: Key, theirs: tuple[bytes, ...] = (KSK, ZSK)) -> None:
    """A look at the other signer's server: its keys, and these of ours."""
    before = dict(bench.evidence.signers[0].dnskeys or ()) if bench.evidence.signers else {}
    served = (*theirs, *(key.rdata for key in ours))
    keys = tuple((each, before.get(each, bench.now)) for each in served)
    sight = SignerSight("192.0.2.9:53", "other", keys, HOUR, bench.now)
    bench.evidence = replace(bench.evidence, signers=(sight,))


def set_ns(bench: Bench, *, there: bool) -> None:
    names = ("ns.ours.example.", NS) if there else ("ns.ours.example.",)
    parents = tuple(replace(sight, ns=names, ns_ttl=HOUR, at=bench.now) for sight in bench.evidence.parents)
    bench.evidence = replace(bench.evidence, parents=parents, ns=names)


def foreign(bench: Bench, role: Role) -> Key:
    return next(key for key in bench.keyset.keys if key.foreign and key.role is role)


def ours(bench: Bench, role: Role) -> Key:
    return next(key for key in reversed(bench.keyset.keys) if not key.foreign and key.role is role)


def follow(bench: Bench, times: int = 12, gap: int = 6 * HOUR, ns: bool | None = None) -> None:
    for _ in range(times):
        bench.secondaries_follow()
        bench.parent_follows()
        if ns is not None:
            set_ns(bench, there=ns)
        bench.wait(gap)


def joined() -> Bench:
    bench = with_other(running())
    see(bench, ours(bench, Role.ZSK))
    follow(bench, 30, ns=True)
    assert foreign(bench, Role.KSK).ds.state is State.OMNIPRESENT
    return bench


def test_a_joining_signer_is_published_first_and_gets_its_ds_when_it_has_our_key() -> None:
    bench = with_other(running())
    follow(bench)
    assert foreign(bench, Role.ZSK).dnskey.state is State.OMNIPRESENT
    assert foreign(bench, Role.KSK).ds.state is State.HIDDEN
    assert {KSK, ZSK} <= set(signing_view(bench.keyset).dnskey_rdatas)
    assert len(signing_view(bench.keyset).cds) == 1
    assert "signers-exchanged" in bench.rules()
    see(bench, ours(bench, Role.ZSK))
    bench.step()
    assert foreign(bench, Role.KSK).ds.state is State.HIDDEN, "its DNSKEY set without ours is still cached"
    bench.wait(2 * HOUR)
    assert len(signing_view(bench.keyset).cds) == 2
    assert not {key.key_id for key in signing_view(bench.keyset).zone_keys} & {
        key.key_id for key in bench.keyset.keys if key.foreign
    }
    follow(bench, ns=False)
    assert "signer-ns" in bench.rules()
    follow(bench, 1, ns=True)
    assert "signer-ns" not in bench.rules()


def test_without_a_server_to_look_at_nothing_is_asked_of_the_parent() -> None:
    bench = with_other(running())
    bench.evidence = replace(bench.evidence, signers=())
    follow(bench)
    assert foreign(bench, Role.KSK).ds.state is State.HIDDEN
    (blocker,) = [b for b in bench.step().blockers if b.rule == "signers-exchanged"]
    assert "other_signers" in blocker.missing[0].wanted


def test_our_new_zsk_signs_when_the_other_signer_has_it() -> None:
    bench = joined()
    old = ours(bench, Role.ZSK)
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    follow(bench)
    new = ours(bench, Role.ZSK)
    assert new.ref != old.ref
    assert new.dnskey.state is State.OMNIPRESENT
    assert new.zrrsig.state is State.HIDDEN
    assert "signers-have-key" in bench.rules()
    see(bench, old, new)
    follow(bench)
    assert bench.state(new, Rec.ZRRSIG) is State.OMNIPRESENT


def test_no_other_algorithm_while_another_signer_is_there() -> None:
    bench = joined()
    bench.policy = policy((*policy().specs,), signed=True)
    bench.policy = replace(
        bench.policy, specs=tuple(replace(spec, algorithm=15) for spec in bench.policy.specs)
    )
    follow(bench)
    assert {key.algorithm for key in bench.keyset.keys if key.dnskey.visible or key.zrrsig.visible} == {13}
    assert any("RFC 8901" in blocker.detail for blocker in bench.step().blockers)


def test_a_signer_leaves_when_its_ns_are_gone_and_its_ds_goes_last() -> None:
    bench = joined()
    bench.keyset = remove_foreign(bench.keyset, bench.now, signer="other")
    follow(bench, ns=True)
    assert foreign(bench, Role.ZSK).dnskey.state is State.OMNIPRESENT
    assert foreign(bench, Role.KSK).ds.state is State.OMNIPRESENT
    assert "signer-left" in bench.rules()
    set_ns(bench, there=False)
    bench.step()
    assert foreign(bench, Role.ZSK).dnskey.visible, "what its servers answered is cached"
    seen: list[str] = []
    for _ in range(130):
        follow(bench, 1, HOUR, ns=False)
        for role, rec in ((Role.ZSK, Rec.DNSKEY), (Role.KSK, Rec.DS), (Role.KSK, Rec.DNSKEY)):
            word = f"{role.value} {rec.value}"
            keys = [key for key in bench.keyset.keys if key.foreign and key.role is role]
            if word not in seen and all(not key.record(rec).visible for key in keys):
                seen.append(word)
    assert seen == ["zsk dnskey", "ksk ds", "ksk dnskey"]
    bench.wait(30 * DAY)
    assert not any(key.foreign for key in bench.keyset.keys)
    assert not any(isinstance(effect, RemoveKey) for effect in bench.effects), "no private key was here"


def test_ns_that_come_back_begin_the_wait_again() -> None:
    bench = joined()
    bench.keyset = remove_foreign(bench.keyset, bench.now, signer="other")
    follow(bench, 1, ns=False)
    assert foreign(bench, Role.ZSK).left is not None
    follow(bench, 1, ns=True)
    assert foreign(bench, Role.ZSK).left is None


def test_a_persons_word_stands_for_ns_that_cannot_be_seen() -> None:
    bench = joined()
    bench.evidence = replace(bench.evidence, signer_ns=(), ns=())
    bench.keyset = remove_foreign(bench.keyset, bench.now, signer="other")
    follow(bench)
    assert foreign(bench, Role.ZSK).dnskey.visible
    bench.keyset = remove_foreign(bench.keyset, bench.now, signer="other", ns_gone=True)
    follow(bench, 20)
    assert not foreign(bench, Role.ZSK).dnskey.visible


def test_one_key_of_a_signer_stays_while_its_servers_have_it() -> None:
    bench = joined()
    new = rdata(256, fill=7)
    bench.keyset = add_foreign(bench.keyset, new, "other", bench.now)
    bench.keyset = remove_foreign(bench.keyset, bench.now, signer="other", tag=key_tag(ZSK))
    see(bench, ours(bench, Role.ZSK), theirs=(KSK, ZSK, new))
    follow(bench, ns=True)
    assert ZSK in signing_view(bench.keyset).dnskey_rdatas
    see(bench, ours(bench, Role.ZSK), theirs=(KSK, new))
    follow(bench, ns=True)
    assert ZSK not in signing_view(bench.keyset).dnskey_rdatas
    assert new in signing_view(bench.keyset).dnskey_rdatas


def newcomer() -> Bench:
    """The other signer has the zone, and its DS is at the parent; we begin with its keys in our DNSKEY RRset."""
    bench = Bench(policy())
    bench.step()
    keys = tuple(
        new_key(f"k{n}", role, 13, bytes([40 + n]) * 64, "local", bench.now)
        for n, role in enumerate((Role.KSK, Role.ZSK))
    )
    keyset, refused = follow_input(initial_keyset(APEX, keys, bench.now), (KSK, ZSK), bench.now)
    assert not refused
    bench.keyset = published_at_once(keyset, bench.now)
    bench.commit()
    bench.evidence = replace(bench.evidence, signer_ns=(("input", ()),))
    return bench


def test_a_look_from_before_a_key_is_asked_to_leave_shows_nothing() -> None:
    """The signer may have begun to use it since: it leaves after its servers were seen without it, looked at later."""
    bench, new = joined(), rdata(256, fill=7)
    bench.keyset = add_foreign(bench.keyset, new, "other", bench.now)
    follow(bench, 8, ns=True)
    assert new in signing_view(bench.keyset).dnskey_rdatas
    bench.keyset = remove_foreign(bench.keyset, bench.now, signer="other", tag=key_tag(new))
    follow(bench, 60, ns=True)
    assert new in signing_view(bench.keyset).dnskey_rdatas
    see(bench, ours(bench, Role.ZSK))
    follow(bench, 60, ns=True)
    assert new not in signing_view(bench.keyset).dnskey_rdatas


def test_we_join_a_zone_that_another_signer_has() -> None:
    bench = newcomer()
    their_ksk = foreign(bench, Role.KSK)
    assert ZSK in signing_view(bench.keyset).dnskey_rdatas
    for _ in range(10):
        bench.secondaries_follow()
        bench.parent_serves(their_ksk)
        bench.wait(6 * HOUR)
    assert foreign(bench, Role.KSK).ds.state is State.OMNIPRESENT
    assert ours(bench, Role.KSK).ds.state is State.HIDDEN, "they do not have our ZSK yet"
    sight = SignerSight(
        "s",
        "input",
        tuple((each, bench.now) for each in (KSK, ZSK, ours(bench, Role.ZSK).rdata)),
        HOUR,
        bench.now,
    )
    bench.evidence = replace(bench.evidence, signers=(sight,))
    bench.wait(2 * HOUR)
    assert ours(bench, Role.KSK).ds.state is State.RUMOURED
    assert len(signing_view(bench.keyset).cds) == 2
    follow(bench)
    assert ours(bench, Role.KSK).ds.state is State.OMNIPRESENT


def test_the_input_is_followed() -> None:
    bench = running()
    keyset, refused = follow_input(bench.keyset, (KSK, ours(bench, Role.ZSK).rdata), bench.now)
    assert [key.signer for key in keyset.keys if key.foreign] == ["input"]
    assert not refused
    assert follow_input(keyset, (KSK,), bench.now)[0] == keyset
    gone, _ = follow_input(keyset, (), bench.now)
    assert remove_foreign(keyset, bench.now, signer="input") == gone
    _, refused = follow_input(keyset, (KSK, rdata(256, 15)), bench.now)
    assert len(refused) == 1


def colliding(keyset: Keyset, revoked: bool) -> bytes:
    """A DNSKEY with a tag that our KSK has, with the REVOKE bit or without it."""
    tag = sorted(all_tags(keyset.keys[0]))[0]
    for low in range(1 << 16):
        made = rdata(256, fill=9)[:-2] + low.to_bytes(2)
        flags = REVOKE if revoked else 0
        if key_tag((256 | flags).to_bytes(2) + made[2:]) == tag:
            return made
    raise AssertionError


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (b"", "malformed"),
        (b"\x01\x00\x02\x0d" + b"k" * 64, "malformed"),
        (rdata(0), "not a zone key"),
        (rdata(257 | REVOKE), "is revoked"),
        (rdata(256, 15), "same algorithms"),
    ],
)
def test_keys_that_cannot_join(made: bytes, why: str) -> None:
    with pytest.raises(KeysetError, match=why):
        add_foreign(running().keyset, made, "other", 1)


@pytest.mark.parametrize("revoked", [False, True])
def test_key_tags_do_not_clash(revoked: bool) -> None:
    keyset = running().keyset
    with pytest.raises(KeysetError, match="tag_range"):
        add_foreign(keyset, colliding(keyset, revoked), "other", 1)


def test_our_own_key_is_not_foreign_and_there_is_an_end_to_keys() -> None:
    bench = running()
    with pytest.raises(KeysetError, match="a key of this zone here"):
        add_foreign(bench.keyset, ours(bench, Role.ZSK).rdata, "other", 1)
    keyset = bench.keyset
    for n in range(FOREIGN_MAX):
        keyset = add_foreign(keyset, rdata(256, fill=100 + n), "other", 1)
    with pytest.raises(KeysetError, match="remove one first"):
        add_foreign(keyset, rdata(256, fill=99), "other", 1)


def test_commands_on_our_keys_refuse_foreign_ones() -> None:
    bench = joined()
    key = foreign(bench, Role.KSK)
    for command in (commands.retire, commands.revoke, commands.compromised, commands.lost):
        with pytest.raises(KeysetError, match="remove-foreign"):
            command(bench.keyset, key.ref)
    with pytest.raises(KeysetError, match="no such foreign key"):
        remove_foreign(bench.keyset, 1, signer="none")


def test_where_the_parents_ns_ttl_is_not_seen_a_signer_leaves_two_days_later() -> None:
    bench = joined()
    blind = tuple(replace(sight, ns=None, ns_ttl=0) for sight in bench.evidence.parents)
    bench.evidence = replace(bench.evidence, signer_ns=(), ns=(), parents=blind)
    bench.keyset = remove_foreign(bench.keyset, bench.now, signer="other", ns_gone=True)
    follow(bench, times=12)
    assert foreign(bench, Role.ZSK).dnskey.visible
    follow(bench, times=4)
    assert not foreign(bench, Role.ZSK).dnskey.visible


def test_cds_is_signed_by_a_zsk_too_which_the_other_signers_dnskey_rrset_has() -> None:
    alone = running()
    view = signing_view(alone.keyset)
    assert view.cds_keys == view.dnskey_keys
    bench = joined()
    view = signing_view(bench.keyset)
    assert set(view.cds_keys) == {*view.dnskey_keys, *view.zone_keys}
    assert len(view.cds_keys) == 2


def test_when_the_last_key_of_the_others_is_forgotten_only_the_ksk_signs_cds_again() -> None:
    """Time alone changes who signs CDS then: that needs a version, or every plan after it would be refused."""
    bench = joined()
    bench.keyset = remove_foreign(bench.keyset, bench.now, signer="other")
    follow(bench, 130, HOUR, ns=False)
    assert [key.dnskey.state for key in bench.keyset.keys if key.foreign] == [State.HIDDEN] * 2
    view = signing_view(bench.keyset)
    assert view.cds_keys == view.dnskey_keys
    assert bench.signed_cds == view.cds_keys, "the version published last is signed so"
